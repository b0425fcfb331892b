"""The watchers, against the contract that gevent's cores share."""

from __future__ import annotations

import pytest

from tests.integrations.gevent_loop import run_gevent

PRELUDE = """
import os, time, signal, gevent, gevent.core
from gevent import core
loop = core.loop(default=False)
order = []
"""


def run(code: str) -> list[str]:
    import textwrap

    return run_gevent(PRELUDE + textwrap.dedent(code)).stdout.splitlines()


class TestTimer:
    def test_never_early_and_in_order(self) -> None:
        lines = run("""
            begun = time.monotonic()
            for after in (0.02, 0.0005, 0.005, 0.0, 0.01):
                t = loop.timer(after)
                t.start(lambda after=after: order.append((after, time.monotonic() - begun >= after)))
            loop.run()
            print([after for after, _ in order], all(late for _, late in order))
        """)
        assert lines == ["[0.0, 0.0005, 0.005, 0.01, 0.02] True"]

    def test_below_a_millisecond(self) -> None:
        """A hundred in a row: each rounded to a whole millisecond would take 100 ms at least."""
        lines = run("""
            timer = loop.timer(0.0002)
            def again():
                order.append(1)
                if len(order) < 100:
                    timer.start(again)
            best = 1.0
            for attempt in range(20):
                del order[:]
                begun = time.monotonic()
                timer.start(again)
                loop.run()
                best = min(best, time.monotonic() - begun)
            print(len(order), 0.02 <= best < 0.08)
        """)
        assert lines == ["100 True"]

    def test_inactive_before_its_callback(self) -> None:
        lines = run("""
            timer = loop.timer(0.0001)
            timer.start(lambda: print(timer.active, timer.pending, timer.callback is not None))
            print(timer.active)
            loop.run()
            print(timer.active, timer.callback, timer.args)
        """)
        assert lines == ["True", "False False True", "False None None"]

    def test_repeats(self) -> None:
        lines = run("""
            timer = loop.timer(0.001, repeat=0.002)
            begun = time.monotonic()
            def tick():
                order.append(time.monotonic() - begun)
                if len(order) == 4:
                    timer.stop()
            timer.start(tick)
            loop.run()
            print(all(seen >= 0.001 + n * 0.002 for n, seen in enumerate(order)), len(order))
        """)
        assert lines == ["True 4"]

    def test_again(self) -> None:
        lines = run("""
            timer = loop.timer(60, repeat=0.002)
            begun = time.monotonic()
            timer.start(print, 'not this one')
            timer.again(lambda: (order.append(time.monotonic() - begun), timer.stop()))
            loop.run()
            print(0.002 <= order[0] < 30)
            once = loop.timer(60)
            once.start(print)
            once.again(print)
            print(once.active)
        """)
        assert lines == ["True", "False"]

    def test_update(self) -> None:
        lines = run("""
            before = loop.now()
            time.sleep(0.01)
            print(loop.now() == before)
            timer = loop.timer(1)
            timer.start(print, update=False)
            print(abs(timer.at - before - 1) < 1e-6)
            loop.update_now()
            print(loop.now() >= before + 0.01)
        """)
        assert lines == ["True", "True", "True"]


class TestIo:
    def test_fires_as_long_as_the_condition_holds(self) -> None:
        lines = run("""
            reader, writer = os.pipe()
            os.write(writer, b'abc')
            watcher = loop.io(reader, 1)
            def readable():
                order.append(os.read(reader, 1))
                if len(order) == 3:
                    watcher.stop()
            watcher.start(readable)
            loop.run()
            print(order)
        """)
        assert lines == ["[b'a', b'b', b'c']"]

    def test_several_watchers_on_one_descriptor(self) -> None:
        lines = run("""
            import socket
            a, b = socket.socketpair()
            b.send(b'x')
            watchers = [loop.io(a.fileno(), events) for events in (1, 2, 3, 1)]
            def seen(events, n):
                order.append((n, events))
                watchers[n].stop()
            for n, watcher in enumerate(watchers):
                watcher.start(seen, n, pass_events=True)
            loop.run()
            print(sorted(order))
            order.clear()
            a.recv(1)
            watchers[0].start(seen, 0, pass_events=True)
            watchers[1].start(seen, 1, pass_events=True)
            loop.run(once=True)
            print(order, watchers[0].active)
        """)
        assert lines == ["[(0, 1), (1, 2), (2, 3), (3, 1)]", "[(1, 2)] True"]

    def test_stays_armed_across_waits(self) -> None:
        lines = run("""
            from gevent import socket
            calls = []
            default = gevent.get_hub().loop
            for name in ('_register', '_unregister', '_reduce'):
                def counted(*args, name=name, method=getattr(type(default), name)):
                    calls.append(name)
                    return method(*args)
                setattr(type(default), name, counted)
            a, b = socket.socketpair()
            def echo():
                for _ in range(500):
                    b.send(b.recv(1))
            server = gevent.spawn(echo)
            for _ in range(500):
                a.send(b'x'); a.recv(1)
            server.join()
            print(len(calls) <= 6, calls if len(calls) > 6 else '')
        """)
        assert lines[0].startswith("True")

    def test_closed_underneath(self) -> None:
        lines = run("""
            import socket
            a, b = socket.socketpair()
            watcher = loop.io(a.fileno(), 1)
            watcher.start(order.append, 'old')
            loop.run(nowait=True)
            os.close(a.fileno())
            loop.run(nowait=True)
            reader, writer = os.pipe()
            print(reader == a.detach())
            fresh = loop.io(reader, 1)
            fresh.start(order.append, 'new')
            watcher.close()
            os.write(writer, b'x')
            loop.run(once=True)
            print(order)
            fresh.close()
            loop.run()
        """)
        assert lines == ["True", "['new']"]

    def test_closed_underneath_while_a_duplicate_lives(self) -> None:
        """The kernel goes on reporting a file under a number that is not its own any more."""
        lines = run("""
            import socket
            a, b = socket.socketpair()
            watcher = loop.io(a.fileno(), 1)
            watcher.start(order.append, 'old')
            loop.run(nowait=True)
            kept = a.dup()
            os.close(a.detach())
            watcher.stop()
            b.send(b'x')
            timer = loop.timer(0.01); timer.start(order.append, 'timer')
            before = loop.iteration
            loop.run()
            print(order, loop.iteration - before < 20)
        """)
        assert lines == ["['timer'] True"]

    def test_not_open(self) -> None:
        lines = run("""
            try:
                loop.io(12345, 1)
            except OSError as exc:
                print(exc.errno)
            try:
                loop.io(-1, 1)
            except ValueError as exc:
                print(exc)
            try:
                loop.io(0, 4)
            except ValueError as exc:
                print(exc)
            reader, writer = os.pipe()
            watcher = loop.io(reader, 1)
            os.close(reader)
            watcher.start(order.append, pass_events=True)
            watcher.start(lambda events: order.append(events < 0), pass_events=True)
            loop.run(once=True)
            print(order, watcher.active)
        """)
        assert lines == [
            "9",
            "fd must be non-negative: -1",
            "illegal event mask: 4",
            "[True] False",
        ]

    def test_regular_files_are_always_ready(self) -> None:
        lines = run("""
            import tempfile
            with tempfile.TemporaryFile() as file:
                watcher = loop.io(file.fileno(), 3)
                def ready(events):
                    order.append(events)
                    if len(order) == 3:
                        watcher.stop()
                watcher.start(ready, pass_events=True)
                loop.run()
                watcher.close()
            print(order)
        """)
        assert lines == ["[3, 3, 3]"]

    def test_closing_fd(self) -> None:
        lines = run("""
            reader, writer = os.pipe()
            watcher = loop.io(reader, 1)
            print(loop.closing_fd(reader))
            watcher.start(lambda: (order.append('told'), watcher.stop()))
            print(loop.closing_fd(reader))
            loop.run()
            print(order)
        """)
        assert lines == ["False", "True", "['told']"]

    def test_the_kernel_queue_is_closed_by_somebody(self) -> None:
        lines = run("""
            reader, writer = os.pipe()
            watcher = loop.io(reader, 1)
            watcher.start(lambda: (order.append(os.read(reader, 1)), watcher.stop()))
            os.close(loop.fileno())
            timer = loop.timer(0.001); timer.start(os.write, writer, b'x')
            loop.run()
            print(order)
        """)
        assert lines == ["[b'x']"]


class TestOrder:
    def test_of_one_iteration(self) -> None:
        lines = run("""
            reader, writer = os.pipe(); os.write(writer, b'x')
            watchers = {'io': loop.io(reader, 1), 'timer': loop.timer(0), 'prepare': loop.prepare(),
                        'check': loop.check(), 'idle': loop.idle(), 'async': loop.async_()}
            for name, watcher in watchers.items():
                watcher.start(order.append, name)
            watchers['async'].send()
            loop.run_callback(order.append, 'callback')
            loop.run(once=True)
            print(order)
        """)
        assert lines == ["['callback', 'prepare', 'timer', 'async', 'io', 'check']"]

    def test_priorities(self) -> None:
        lines = run("""
            watchers = [loop.timer(0, priority=p) for p in (0, -2, 2, 1, -1)]
            for watcher in watchers:
                watcher.start(order.append, watcher.priority)
            loop.run(once=True)
            print(order, loop.MAXPRI, loop.MINPRI)
            started = loop.timer(1); started.start(print)
            try:
                started.priority = 1
            except AttributeError:
                print('not while active')
        """)
        assert lines == ["[2, 1, 0, -1, -2] 2 -2", "not while active"]

    def test_a_descriptor_comes_before_the_time_out(self) -> None:
        """gevent's time-outs have a low priority: who is ready in time does not time out."""
        lines = run("""
            reader, writer = os.pipe(); os.write(writer, b'x')
            timeout = loop.timer(0, priority=-1)
            watcher = loop.io(reader, 1)
            watcher.start(lambda: (order.append('ready'), timeout.stop(), watcher.stop()))
            timeout.start(order.append, 'timed out')
            loop.run()
            print(order)
        """)
        assert lines == ["['ready']"]

    def test_idle_yields_to_others(self) -> None:
        lines = run("""
            idle = loop.idle(); check = loop.check(); timer = loop.timer(0)
            idle.start(lambda: (order.append('idle'), idle.stop()))
            timer.start(order.append, 'timer')
            loop.run()
            print(order)
        """)
        assert lines == ["['timer', 'idle']"]

    def test_check_and_prepare_do_not_keep_the_loop_awake(self) -> None:
        lines = run("""
            prepare, check = loop.prepare(ref=False), loop.check(ref=False)
            prepare.start(order.append, 'p'); check.start(order.append, 'c')
            timer = loop.timer(0.05); timer.start(lambda: None)
            loop.run()
            print(len(order) <= 6, order[:2])
            prepare.close(); check.close()
        """)
        assert lines == ["True ['p', 'c']"]


class TestOthers:
    def test_async_from_a_thread(self) -> None:
        lines = run("""
            import threading
            watcher = loop.async_()
            watcher.start(lambda: (order.append(threading.current_thread().name), watcher.stop()))
            thread = threading.Thread(target=watcher.send_ignoring_arg, args=('ignored',))
            timer = loop.timer(0.01); timer.start(thread.start)
            loop.run()
            thread.join()
            print(order)
        """)
        assert lines == ["['MainThread']"]

    def test_stat(self, tmp_path: object) -> None:
        lines = run(f"""
            path = {str(tmp_path)!r} + '/watched'
            watcher = loop.stat(path, 0.01)
            def changed():
                order.append((watcher.prev and watcher.prev.st_size, watcher.attr and watcher.attr.st_size))
                if len(order) == 1:
                    open(path, 'w').write('longer')
                elif len(order) == 2:
                    os.unlink(path)
                else:
                    watcher.stop()
            print(watcher.attr, watcher.prev, watcher.path == path, watcher.interval)
            watcher.start(changed)
            print(watcher.interval > 0.1)
            open(path, 'w').write('x')
            loop.run()
            print(order)
        """)
        assert lines == ["None None True 0.01", "True", "[(None, 1), (1, 6), (6, None)]"]

    def test_ref(self) -> None:
        lines = run("""
            timer = loop.timer(60, ref=False)
            timer.start(print)
            loop.run()
            print('over', loop.activecnt)
            timer.ref = True
            print(loop.activecnt)
            timer.stop()
            print(loop.activecnt)
            loop.ref(); print(loop.activecnt); loop.unref()
        """)
        assert lines == ["over 0", "1", "0", "1"]

    def test_the_program_may_forget_them(self) -> None:
        lines = run("""
            import gc
            reader, writer = os.pipe()
            loop.io(reader, 1).start(lambda: order.append('io') or loop.break_())
            loop.signal(signal.SIGUSR1).start(lambda: order.append('signal') or os.write(writer, b'x'))
            loop.timer(0.001).start(lambda: order.append('timer') or os.kill(os.getpid(), signal.SIGUSR1))
            gc.collect()
            loop.run()
            print(order)
        """)
        assert lines == ["['timer', 'signal', 'io']"]

    def test_errors_reach_the_handler(self) -> None:
        lines = run("""
            seen = []
            def handler(context, kind, value, tb):
                seen.append((context is timer, kind.__name__))
            loop.error_handler = handler
            timer = loop.timer(0)
            timer.start(lambda: 1 / 0)
            loop.run_callback(lambda: [][1])
            loop.run()
            print(seen)
        """)
        assert lines == ["[(False, 'IndexError'), (True, 'ZeroDivisionError')]"]

    def test_destroyed(self) -> None:
        lines = run("""
            timer = loop.timer(1)
            io = loop.io(0, 1)
            print(bool(loop.ptr), loop.destroy(), loop.destroy(), loop.ptr, loop._format(), loop.fileno())
            for operation in (loop.run, lambda: timer.start(print), lambda: io.start(print), loop.reinit):
                try:
                    operation()
                except ValueError as exc:
                    print('destroyed' in str(exc))
        """)
        assert lines == ["True True None None destroyed None", *["True"] * 4]

    def test_one_loop_runs_inside_of_another(self) -> None:
        lines = run("""
            inner = core.loop(default=False)
            def nested():
                order.append('outer')
                timer = inner.timer(0.002); timer.start(order.append, 'inner')
                inner.run()
                again = loop.timer(0.001); again.start(order.append, 'the same')
                loop.run(once=True)
            timer = loop.timer(0.001); timer.start(nested)
            after = loop.timer(0.05); after.start(order.append, 'after')
            loop.run()
            print(order)
            # And beside gevent's hub, which stands still meanwhile.
            ticks = []
            def ticker():
                while True:
                    gevent.sleep(0.001); ticks.append(1)
            g = gevent.spawn(ticker)
            gevent.sleep(0.01)
            before, begun = len(ticks), time.process_time()
            timer = inner.timer(0.3); timer.start(lambda: None)
            inner.run()
            print(len(ticks) == before, time.process_time() - begun < 0.2)
            gevent.sleep(0.01)
            print(len(ticks) > before)
        """)
        assert lines == ["['outer', 'inner', 'the same', 'after']", "True True", "True"]

    def test_destroyed_by_another_thread(self) -> None:
        lines = run("""
            import threading
            timer = loop.timer(0.001); timer.start(lambda: None)
            loop.run()
            fd = loop.fileno()
            thread = threading.Thread(target=loop.destroy); thread.start(); thread.join()
            other = core.loop(default=False)
            timer = other.timer(0.001); timer.start(order.append, 1)
            other.run()
            try:
                os.fstat(fd)
                print(fd == other.fileno())
            except OSError:
                print(True)
            print(order)
        """)
        assert lines == ["True", "[1]"]

    def test_nothing_is_left_open(self) -> None:
        lines = run("""
            loop.destroy()
            count = lambda: len(os.listdir('/proc/self/fd'))
            def cycle():
                other = core.loop(default=False)
                timer = other.timer(0); timer.start(lambda: None)
                other.run(); other.destroy()
            cycle()
            before = count()
            for _ in range(20):
                cycle()
            print(count() - before)
        """)
        assert lines == ["0"]

    def test_descriptions(self) -> None:
        lines = run("""
            timer = loop.timer(1); timer.start(print, 'x')
            print(repr(timer).startswith('<timer at'), 'active' in repr(timer), 'after=1' in repr(timer))
            print(loop.debug() == [repr(timer)], 'ref=1' in loop._format())
            print(core._events_to_str(3), repr(core.EVENTS), core.supported_backends())
        """)
        assert lines == ["True True True", "True True", "READ|WRITE gevent.core.EVENTS ['default']"]


@pytest.mark.parametrize("flags", ["'select'", "['epoll', 'poll']", "4", "None"])
def test_flags_of_libev_are_accepted(flags: str) -> None:
    assert run(f"print(core.loop({flags}, default=False).backend)") == ["default"]


def test_unknown_flags_are_not() -> None:
    lines = run("""
        for flags in (['poll', 'blabla'], object()):
            try:
                core.loop(flags, default=False)
            except (TypeError, ValueError) as exc:
                print(type(exc).__name__)
    """)
    assert lines == ["ValueError", "TypeError"]
