"""gevent's greenlets and greenify's tasks in one OS thread."""

from __future__ import annotations

import pytest

from tests.integrations.gevent_loop import run_gevent


@pytest.mark.smoke
def test_each_waits_for_the_other() -> None:
    result = run_gevent("""
        import gevent, greenify
        from gevent.event import Event
        began, event, order = Event(), Event(), []
        def waits_for_gevent():
            began.set()
            event.wait()
            order.append('task')
            return 1
        task = greenify.spawn(waits_for_gevent)
        def sets():
            began.wait()
            order.append('set')
            event.set()
        def waits_for_task():
            assert task.join()
            order.append('joined')
        gevent.joinall([gevent.spawn(waits_for_task), gevent.spawn(sets)], raise_error=True)
        print(order, task.result)
    """)
    assert result.stdout == "['set', 'task', 'joined'] 1\n"


def test_greenlets_go_on_while_main_waits_in_greenify() -> None:
    result = run_gevent("""
        import gevent, greenify
        ticks = []
        def ticker():
            for _ in range(5):
                gevent.sleep(0.001)
                ticks.append(1)
            done.set()
        done = greenify.Event()
        gevent.spawn(ticker)
        assert done.wait(30)
        print(len(ticks))
    """)
    assert result.stdout == "5\n"


def test_tasks_go_on_while_main_waits_in_gevent() -> None:
    result = run_gevent("""
        import gevent, greenify
        from gevent.event import Event
        done, ticks = Event(), []
        def ticker():
            for _ in range(5):
                greenify.sleep(0.001)
                ticks.append(1)
            done.set()
        greenify.spawn(ticker)
        assert done.wait(30)
        print(len(ticks))
    """)
    assert result.stdout == "5\n"


def test_neither_starves_the_other() -> None:
    """Each side spins on its own sleep(0) until the other has had its turns."""
    result = run_gevent("""
        import gevent, greenify
        turns = {'greenlet': 0, 'task': 0}
        def greenlet():
            while turns['task'] < 10:
                turns['greenlet'] += 1
                gevent.sleep(0)
        def task():
            while turns['greenlet'] < 10:
                turns['task'] += 1
                greenify.sleep(0)
            turns['task'] = 10
        g, t = gevent.spawn(greenlet), greenify.spawn(task)
        g.join(); t.join()
        print(turns['greenlet'] >= 10, turns['task'] >= 10)
    """)
    assert result.stdout == "True True\n"


def test_core_wait_in_a_greenlet_of_gevent() -> None:
    result = run_gevent("""
        import os, time, gevent
        from greenify import core
        reader, writer = os.pipe()
        def waits():
            assert core.wait(reader, False, time.monotonic() + 30)
            return os.read(reader, 9)
        waiting = gevent.spawn(waits)
        gevent.sleep(0)
        os.write(writer, b'news')
        print(waiting.get())
        print(gevent.spawn(core.wait, reader, False, time.monotonic() + 0.01).get())
        def closes():
            try:
                core.wait(reader, False)
            except OSError as exc:
                return exc.errno
        waiting = gevent.spawn(closes)
        gevent.sleep(0)
        core.forget(reader); os.close(reader)
        print(waiting.get())
    """)
    assert result.stdout.splitlines() == ["b'news'", "False", "9"]


def test_time_outs_and_kills_reach_into_the_other() -> None:
    result = run_gevent("""
        import gevent, greenify
        def waits():
            try:
                with gevent.Timeout(0.01):
                    greenify.sleep(60)
            except gevent.Timeout:
                return 'timed out'
        print(gevent.spawn(waits).get())
        with gevent.Timeout(0.01, False):
            greenify.sleep(60)
            print('not reached')
        killed = gevent.spawn(greenify.sleep, 60)
        gevent.sleep(0.001)
        killed.kill()
        print(killed.dead, repr(killed.value))
        def task():
            try:
                with greenify.Timeout(0.01):
                    gevent.sleep(60)
            except (greenify.Timeout, TimeoutError):
                return 'timed out'
        t = greenify.spawn(task); t.join(); print(t.result)
    """)
    lines = result.stdout.splitlines()
    assert lines == ["timed out", "True GreenletExit()", "timed out"]


def test_loop_exit() -> None:
    """Raised when nobody is left who could end the wait, and not a moment before."""
    result = run_gevent("""
        import gevent, greenify
        from gevent.event import Event
        from gevent.exceptions import LoopExit
        event = Event()
        try:
            event.wait()
        except LoopExit:
            print('nobody left')
        task = greenify.spawn(lambda: (greenify.sleep(0.01), event.set()))
        print(event.wait(), gevent.wait())
        gevent.spawn(gevent.sleep, 0.001)
        greenify.sleep(0.02)
        print('main in greenify')
    """)
    assert result.stdout.splitlines() == ["nobody left", "True True", "main in greenify"]


def test_nothing_ticks_while_both_are_idle() -> None:
    result = run_gevent("""
        import time, gevent, greenify
        from gevent.event import Event
        never = Event()
        gevent.spawn(never.wait)
        reader = gevent.spawn(greenify.sleep, 60)
        gevent.sleep(0.01)
        loop = gevent.get_hub().loop
        before = loop.iteration
        gevent.sleep(0.7)
        print(loop.iteration - before <= 3, time.process_time() < 5)
        reader.kill()
    """)
    assert result.stdout == "True True\n"


def test_hubs_of_other_threads() -> None:
    result = run_gevent("""
        import gevent, greenify, threading
        from gevent.event import Event
        def thread(number, results):
            task = greenify.core.get_hub()
            event = Event()
            gevent.spawn_later(0.001, event.set)
            def waits():
                event.wait(); greenify.sleep(0.001); return number
            results.append(gevent.spawn(waits).get())
            gevent.get_hub().destroy()
        results = []
        threads = [threading.Thread(target=thread, args=(n, results)) for n in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        print(sorted(results))
    """)
    assert result.stdout == "[0, 1, 2, 3]\n"


def test_threadpool_and_threadsafe_callbacks() -> None:
    result = run_gevent(
        """
        import gevent, threading
        print(gevent.get_hub().threadpool.map(lambda n: n * 2, range(50)) == [n * 2 for n in range(50)])
        loop, seen = gevent.get_hub().loop, []
        done = gevent.event.Event()
        def from_thread():
            for n in range(100):
                loop.run_callback_threadsafe(seen.append, n)
            loop.run_callback_threadsafe(done.set)
        thread = threading.Thread(target=from_thread); thread.start()
        with gevent.Timeout(30):
            keep = gevent.spawn_later(60, print)
            done.wait()
            keep.kill()
        print(seen == list(range(100)))
    """.replace("import gevent, threading", "import gevent, gevent.event, threading")
    )
    assert result.stdout == "True\nTrue\n"
