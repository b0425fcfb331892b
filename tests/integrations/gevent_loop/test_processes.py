"""Signals, children and forks."""

from __future__ import annotations

from tests.integrations.gevent_loop import ENV, run_gevent
from tests.support import running_python


def test_signals_end_the_sleep_at_once() -> None:
    """Twenty signals, each measured from the kill to the callback: below 50 ms.

    A third of them has to be, for the machine may be busy; with a tick of 300 ms a sixth would.
    """
    result = run_gevent("""
        import os, signal, time, gevent
        from gevent.event import Event
        sent, late, arrived = [0.0], [], Event()
        def handler():
            late.append(time.monotonic() - sent[0])
            arrived.set()
        gevent.signal_handler(signal.SIGUSR1, handler)
        def kill():
            time.sleep(0.02)  # the main thread sleeps in the loop by then
            sent[0] = time.monotonic()
            os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(20):
            arrived.clear()
            gevent.get_hub().threadpool.spawn(kill)
            assert arrived.wait(30)
        print(len(late), sorted(late)[6] < 0.05)
    """)
    assert result.stdout == "20 True\n"


def test_signals_from_outside() -> None:
    program = """
        import signal, gevent
        def main():
            gevent.sleep(60)
        # A moment later: an interrupt where gevent starts the handler becomes an AttributeError.
        later, say = gevent.get_hub().loop.run_callback, lambda: print('handled', flush=True)
        gevent.signal_handler(signal.SIGUSR1, later, say)
        signal.signal(signal.SIGUSR2, lambda *args: print('python', flush=True))
        print('ready', flush=True)
        try:
            gevent.spawn(main).join()
        except KeyboardInterrupt:
            print('interrupted', flush=True)
    """
    import signal

    with running_python(program, greenify=False, env=ENV) as child:
        assert child.readline() == "ready"
        child.send_signal(signal.SIGUSR1)
        assert child.readline() == "handled"
        child.send_signal(signal.SIGUSR2)
        assert child.readline() == "python"
        child.send_signal(signal.SIGINT)
        assert child.readline() == "interrupted"
        assert child.wait() == 0


def test_a_users_wakeup_descriptor_does_not_take_the_hubs_away() -> None:
    result = run_gevent("""
        import os, signal, time, gevent
        gevent.sleep(0.001)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        class Woken(Exception):
            pass
        def handler(number, frame):
            raise Woken
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            gevent.sleep(60)
        except Woken:
            print(os.read(reader, 9) == bytes([signal.SIGALRM]))
    """)
    assert result.stdout == "True\n"


def test_a_stopped_signal_watcher_gives_the_handler_back() -> None:
    result = run_gevent("""
        import signal, gevent
        loop = gevent.get_hub().loop
        before = signal.getsignal(signal.SIGINT)
        watchers = [loop.signal(signal.SIGINT) for _ in range(2)]
        for watcher in watchers: watcher.start(print)
        print(signal.getsignal(signal.SIGINT) == before)
        for watcher in watchers: watcher.close()
        print(signal.getsignal(signal.SIGINT) == before)
        try:
            loop.signal(1000)
        except ValueError as exc:
            print(exc)
    """)
    assert result.stdout.splitlines() == ["False", "True", "illegal signal number: 1000"]


def test_child_watchers() -> None:
    result = run_gevent(
        """
        import os, gevent
        loop = gevent.get_hub().loop
        seen = []
        def ended(watcher):
            seen.append((watcher.pid == watcher.rpid, os.waitstatus_to_exitcode(watcher.rstatus)))
            watcher.stop()
        pid = os.fork()
        if not pid:
            os._exit(7)
        watchers = [loop.child(pid), loop.child(pid)]
        for watcher in watchers:
            watcher.start(ended, watcher)
        gevent.wait()
        print(seen)
        try:
            gevent.core.loop(default=False).child(pid)
        except TypeError as exc:
            print(exc)
        pid = os.fork()
        if not pid:
            os._exit(3)
        any_child = loop.child(0)
        any_child.start(lambda: (print(any_child.rpid == pid, any_child.rstatus >> 8), any_child.stop()))
        gevent.wait()
    """.replace("import os, gevent\n", "import os, gevent, gevent.core\n")
    )
    assert result.stdout.splitlines() == [
        "[(True, 7), (True, 7)]",
        "child watchers are only available on the default loop",
        "True 3",
    ]


def test_stopped_children() -> None:
    result = run_gevent("""
        import os, signal, gevent
        loop = gevent.get_hub().loop
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writer); os.read(reader, 1); os._exit(0)
        watcher = loop.child(pid, trace=1)
        seen = []
        def changed():
            status = watcher.rstatus
            if os.WIFSTOPPED(status):
                seen.append('stopped'); os.kill(pid, signal.SIGCONT)
            elif os.WIFCONTINUED(status):
                seen.append('continued'); os.close(writer)
            else:
                seen.append(os.waitstatus_to_exitcode(status)); watcher.stop()
        watcher.start(changed)
        os.kill(pid, signal.SIGSTOP)
        gevent.wait()
        print(seen)
    """)
    assert result.stdout == "['stopped', 'continued', 0]\n"


def test_many_subprocesses() -> None:
    result = run_gevent("""
        from gevent import monkey; monkey.patch_all()
        import gevent, os, signal, subprocess, sys
        def run(n):
            return subprocess.run(['sh', '-c', f'echo {n}; exit {n}'], stdout=subprocess.PIPE)
        done = [g.get() for g in [gevent.spawn(run, n) for n in range(10)]]
        print([(p.returncode, p.stdout) == (n, b'%d\\n' % n) for n, p in enumerate(done)].count(True))
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        print(subprocess.call(['sh', '-c', 'exit 4']))
    """)
    assert result.stdout == "10\n4\n"


def test_fork() -> None:
    """The child goes on with everything that the parent waited for, and neither takes the other's events."""
    result = run_gevent("""
        from gevent import monkey; monkey.patch_all()
        import os, gevent, greenify
        from gevent import socket
        a, b = socket.socketpair()
        loop = gevent.get_hub().loop
        forks = []
        watcher = loop.fork(ref=False); watcher.start(lambda: forks.append(os.getpid()))
        def reads():
            return b.recv(10)
        reading = gevent.spawn(reads)
        gevent.sleep(0.001)
        out, into = os.pipe()
        pid = os.fork()
        if not pid:
            gevent.sleep(0.001); gevent.sleep(0.001)
            c, d = socket.socketpair()
            other = gevent.spawn(d.recv, 10)
            gevent.sleep(0)
            c.send(b'child')
            task = greenify.spawn(lambda: gevent.sleep(0.001)); task.join()
            os.write(into, b'%r %r' % (other.get(), forks == [os.getpid()]))
            os._exit(0)
        os.waitpid(pid, 0)
        print(os.read(out, 99))
        a.send(b'parent')
        print(reading.get(), forks)
    """)
    assert result.stdout.splitlines() == ["b\"b'child' True\"", "b'parent' []"]


def test_a_greenlet_forks() -> None:
    result = run_gevent("""
        from gevent import monkey; monkey.patch_all()
        import os, gevent
        def forks():
            pid = os.fork()
            if not pid:
                gevent.sleep(0.001)
                gevent.spawn(gevent.sleep, 0.001).join()
                os._exit(5)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(gevent.spawn(forks).get())
    """)
    assert result.stdout == "5\n"
