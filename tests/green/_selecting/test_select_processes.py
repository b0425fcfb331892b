"""Cooperative select, poll and epoll in processes of their own: signals, forks, limits, the patch."""

from __future__ import annotations

from tests.support import run_python


def test_without_a_free_descriptor() -> None:
    run_python(
        """
        import os, resource, select
        from greenify import core
        from greenify.green import select as green
        from greenify.task import spawn

        core.sleep(0)
        r, w = os.pipe()
        other, _ = os.pipe()
        epoll = green.epoll()
        epoll.register(r, select.EPOLLIN)
        poll = green.poll()
        poll.register(r, select.POLLIN)
        poll.register(other, select.POLLIN)
        resource.setrlimit(resource.RLIMIT_NOFILE, (epoll.fileno() + 1,) * 2)
        try:
            os.dup(r)
        except OSError:
            pass
        else:
            raise AssertionError("there was a free descriptor")
        tasks = [spawn(green.select, [r], [], []), spawn(poll.poll), spawn(epoll.poll, 20)]
        assert green.select([r, other], [], [], 0.05) == ([], [], [])
        os.write(w, b"x")
        for task in tasks:
            assert task.join(20)
        assert [task.result for task in tasks] == [([r], [], []), [(r, 1)], [(r, 1)]]
        """,
        greenify=False,
        check=True,
    )


def test_signals() -> None:
    run_python(
        """
        import os, select, signal, time
        from greenify import core
        from greenify.core.signals import MainHandler
        from greenify.green import select as green
        from greenify.task import spawn

        r, w = os.pipe()
        spare, _ = os.pipe()
        poll = green.poll()
        poll.register(r, select.POLLIN)
        epoll = green.epoll()
        epoll.register(r, select.EPOLLIN)
        waits = [
            lambda seconds: green.select([r], [], [], seconds)[0],
            lambda seconds: green.select([r, spare], [], [], seconds)[0],
            lambda seconds: poll.poll(seconds * 1000),
            lambda seconds: epoll.poll(seconds),
        ]
        calls = []

        class Alarm(OSError):
            pass

        def note(*args):
            calls.append(args)

        def fail(*args):
            raise Alarm(24, "not the kernel's")  # EMFILE

        for others in (False, True):
            for wait in waits:
                # A handler that returns does not end the wait (PEP 475).
                signal.signal(signal.SIGALRM, MainHandler(note))
                signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
                if others:
                    tasks = [spawn(core.sleep, 0.1), spawn(wait, 0.1)]
                start = time.monotonic()
                assert wait(0.05) == []
                assert time.monotonic() - start >= 0.05
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert calls
                calls.clear()
                # One that raises does, and the object stays usable.
                if others:
                    for task in tasks:
                        assert task.join(10)
                signal.signal(signal.SIGALRM, MainHandler(fail))
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                try:
                    wait(20)
                except Alarm:
                    pass
                else:
                    raise AssertionError("no alarm")
                os.write(w, b"x")
                assert wait(20)
                os.read(r, 1)
        """,
        greenify=False,
        check=True,
    )


def test_fork() -> None:
    run_python(
        """
        import os, select, sys
        from greenify import core
        from greenify.green import select as green
        from greenify.task import spawn

        def count_queues():
            links = []
            for name in os.listdir("/proc/self/fd"):
                try:
                    links.append(os.readlink("/proc/self/fd/" + name))
                except FileNotFoundError:
                    pass  # the descriptor of listdir itself
            return links.count("anon_inode:[eventpoll]")

        def look(name):
            # In child and parent: nothing of the other's is touched.
            r, w = os.pipe()
            task = spawn(green.select, [r, epoll], [], [], 20)
            polling = spawn(poll.poll, 20)
            core.sleep(0.01)
            os.write(w, name)
            assert task.join(20) and task.result == ([r], [], []), task.result
            assert polling.join(20) and polling.result == [], polling.result
            os.close(r)
            os.close(w)

        shared, shared_w = os.pipe()
        poll = green.poll()
        poll.register(shared, select.POLLIN)
        epoll = green.epoll()
        epoll.register(shared, select.EPOLLIN)
        waiting = [
            spawn(green.select, [shared], [], []),
            spawn(green.select, [shared, epoll], [], []),
            spawn(epoll.poll),
        ]
        look(b"before")
        queues = count_queues()
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                try:
                    look(b"child")
                    look(b"child")
                    # The parent's queues are closed; the child has as many of its own.
                    assert count_queues() == queues
                    # Its epoll object is the parent's too, as ever.
                    child = green.epoll()
                    child.register(shared, select.EPOLLIN)
                    assert child.poll(0.01) == epoll.poll(0.01) == []
                    os._exit(0)
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                    os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0
            look(b"parent")
        assert all(task.alive for task in waiting)
        os.write(shared_w, b"x")
        for task in waiting:
            assert task.join(20)
        assert waiting[0].result == ([shared], [], [])
        assert set(waiting[1].result[0]) <= {shared, epoll}
        assert waiting[2].result == [(shared, 1)]
        """,
        greenify=False,
        check=True,
    )


def test_selectors_from_before_the_patch() -> None:
    run_python(
        """
        import os, select, selectors, threading, time
        from select import epoll, poll, select as choose
        from selectors import DefaultSelector, EpollSelector, PollSelector, SelectSelector

        class OldLoop:
            choose = select.select
            make = select.poll

        class OldSelector(selectors.PollSelector):
            _selector_cls = select.poll

        kinds = [SelectSelector, PollSelector, EpollSelector, DefaultSelector, OldSelector]
        before = [kind() for kind in kinds]
        r, w = os.pipe()
        for selector in before[::2]:
            selector.register(r, selectors.EVENT_READ)

        import greenify
        greenify.patch_all()

        for selector in before[1::2]:
            selector.register(r, selectors.EVENT_READ)
        after = [kind() for kind in kinds[:-1]]
        for selector in after:
            selector.register(r, selectors.EVENT_READ)

        def by_poll(make):
            poll = make()
            poll.register(r, select.POLLIN)
            return poll.poll(20000)

        def by_epoll():
            with epoll() as queue:
                queue.register(r, select.EPOLLIN)
                return queue.poll(20)

        ways = [selector.select for selector in before + after] + [
            lambda: choose([r], [], [], 20)[0],
            lambda: select.select([r], [], [])[0],
            lambda: by_poll(poll),
            lambda: by_poll(select.poll),
            by_epoll,
        ]
        found = []
        threads = [threading.Thread(target=lambda way=way: found.append(way())) for way in ways]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        assert not found
        os.write(w, b"x")
        for thread in threads:
            thread.join(20)
        assert len(found) == len(ways) and all(found), found
        assert isinstance(before[0], SelectSelector) and selectors.DefaultSelector is DefaultSelector
        for selector in before + after:
            selector.close()

        greenify.restore()
        assert type(select.poll()).__module__ == "select"
        with selectors.PollSelector() as selector:
            assert type(selector._selector).__module__ == "select"
        """,
        greenify=False,
        check=True,
    )
