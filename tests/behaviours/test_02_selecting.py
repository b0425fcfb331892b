"""2. Every kind of select cooperates, on everything that the kernel lets one wait for."""

from __future__ import annotations

import textwrap

import pytest

from tests.behaviours.scenario import ALL, BOTH, check
from tests.support import Mode

# Each kind as one function: which of `reading` and `writing` are ready within `timeout` seconds.
SET_UP = """
import os, select, selectors, socket, sys, time

def by_select(reading, writing, timeout=None):
    r, w, _ = select.select(reading, writing, [], timeout)
    return set(r), set(w)

def by_poll(reading, writing, timeout=None):
    poll, by_fd = select.poll(), {}
    for thing in {*reading, *writing}:
        events = select.POLLIN * (thing in reading) | select.POLLOUT * (thing in writing)
        poll.register(thing, events)
        by_fd[thing if isinstance(thing, int) else thing.fileno()] = thing
    found = poll.poll(None if timeout is None else timeout * 1000)
    return ({by_fd[fd] for fd, e in found if e & (select.POLLIN | select.POLLHUP)},
            {by_fd[fd] for fd, e in found if e & select.POLLOUT})

def by_epoll(reading, writing, timeout=None):
    by_fd = {}
    with select.epoll() as epoll:
        for thing in {*reading, *writing}:
            epoll.register(thing, select.EPOLLIN * (thing in reading) | select.EPOLLOUT * (thing in writing))
            by_fd[thing if isinstance(thing, int) else thing.fileno()] = thing
        found = epoll.poll(timeout)
    return ({by_fd[fd] for fd, e in found if e & (select.EPOLLIN | select.EPOLLHUP)},
            {by_fd[fd] for fd, e in found if e & select.EPOLLOUT})

def by_selector(kind):
    def wait(reading, writing, timeout=None):
        with kind() as selector:
            for thing in {*reading, *writing}:
                selector.register(
                    thing, selectors.EVENT_READ * (thing in reading) | selectors.EVENT_WRITE * (thing in writing))
            found = selector.select(timeout)
        return ({key.fileobj for key, e in found if e & selectors.EVENT_READ},
                {key.fileobj for key, e in found if e & selectors.EVENT_WRITE})
    return wait

wait = {
    "select": by_select, "poll": by_poll, "epoll": by_epoll,
    "DefaultSelector": by_selector(selectors.DefaultSelector),
    "SelectSelector": by_selector(selectors.SelectSelector),
    "PollSelector": by_selector(selectors.PollSelector),
    "EpollSelector": by_selector(selectors.EpollSelector),
}[sys.argv[1]]
"""
KINDS = pytest.mark.parametrize(
    "kind",
    [
        "select",
        "poll",
        "epoll",
        "DefaultSelector",
        "SelectSelector",
        "PollSelector",
        "EpollSelector",
    ],
)


@KINDS
class TestEveryKind:
    @ALL
    def test_waits_and_reports(self, kind: str, mode: Mode) -> None:
        """It waits while the others run, reports what is ready and nothing else, and minds its time-out."""
        code = """
        one, other = socket.socketpair()
        r, w = os.pipe()
        about_to = threading.Event()
        def watch(*args):
            about_to.set()
            return wait(*args)
        for wake, ready in ((lambda: other.send(b"x"), {one}), (lambda: os.write(w, b"x"), {r})):
            about_to.clear()
            watcher = Call(watch, [one, r], [])
            about_to.wait()
            assert Call(lambda: "others run").result() == "others run"
            wake()
            assert watcher.result() == (ready, set())
            one.recv(1) if one in ready else os.read(r, 1)
        assert wait([one, r], [], 0) == (set(), set())
        start = time.monotonic()
        assert wait([one, r], [], 0.02) == (set(), set())
        assert time.monotonic() - start >= 0.019
        assert wait([one, r], [one, w], 30) == (set(), {one, w})
        other.send(b"x")
        assert wait([one], [one], 30) == ({one}, {one})

        # Full, then room.
        one.setblocking(False)
        try:
            while True:
                one.send(bytes(1 << 16))
        except BlockingIOError:
            pass
        about_to.clear()
        watcher = Call(watch, [], [one])
        about_to.wait()
        assert wait([], [one], 0) == (set(), set())
        other.setblocking(False)
        while watcher.is_alive():
            try:
                other.recv(1 << 20)
            except BlockingIOError:
                pass  # all of it: the thread is about to end
            watcher.join(0.001)
        assert watcher.result() == (set(), {one})

        # The other end hangs up.
        about_to.clear()
        watcher = Call(watch, [r], [])
        about_to.wait()
        os.close(w)
        assert watcher.result() == ({r}, set())
        one.close(), other.close(), os.close(r)
        """
        check(SET_UP + textwrap.dedent(code), mode, kind)

    @BOTH
    def test_two_threads_on_one_descriptor(self, kind: str, mode: Mode) -> None:
        """Both are told; a third one that reads and a fourth one that writes do not mind them."""
        code = """
        one, other = socket.socketpair()
        inside = threading.Semaphore(0)
        def watch():
            inside.release()
            return wait([one], [])
        watchers = [Call(watch) for _ in range(2)]
        for _ in watchers:
            inside.acquire()
        one.sendall(b"out")
        assert other.recv(10) == b"out"
        other.sendall(b"in")
        assert [watcher.result() for watcher in watchers] == [({one}, set())] * 2
        reader, writer = Call(one.recv, 10), Call(wait, [], [one])
        assert reader.result() == b"in" and writer.result() == (set(), {one})
        one.close(), other.close()
        """
        check(SET_UP + textwrap.dedent(code), mode, kind)

    @BOTH
    def test_many_threads(self, kind: str, mode: Mode) -> None:
        code = """
        pairs = [socket.socketpair() for _ in range(50)]
        watchers = [Call(wait, [one], []) for one, _ in pairs]
        for _, other in pairs:
            other.send(b"x")
        assert [watcher.result() for watcher in watchers] == [({one}, set()) for one, _ in pairs]
        for one, other in pairs:
            one.close(), other.close()
        """
        check(SET_UP + textwrap.dedent(code), mode, kind)

    @BOTH
    def test_regular_files(self, kind: str, mode: Mode) -> None:
        """Always ready for select and poll; epoll refuses them."""
        code = """
        import tempfile
        with tempfile.TemporaryFile() as file:
            try:
                print(wait([file], [file], 5) == ({file}, {file}))
            except PermissionError as exc:
                print(type(exc).__name__)
        """
        refused = kind in ("epoll", "EpollSelector", "DefaultSelector")
        expected = "PermissionError\n" if refused else "True\n"
        assert check(SET_UP + textwrap.dedent(code), mode, kind) == expected


class TestSpecialThings:
    @BOTH
    def test_out_of_band_data(self, mode: Mode) -> None:
        code = """
        import select, selectors, socket
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            peer, _ = server.accept()
        def by_select():
            return select.select([], [], [client], 30)[2] == [client]
        def by_poll():
            poll = select.poll()
            poll.register(client, select.POLLPRI)
            return poll.poll(30000) == [(client.fileno(), select.POLLPRI)]
        def by_epoll():
            with select.epoll() as epoll:
                epoll.register(client, select.EPOLLPRI)
                return epoll.poll(30) == [(client.fileno(), select.EPOLLPRI)]
        for wait in (by_select, by_poll, by_epoll):
            inside = threading.Event()
            def watch():
                inside.set()
                return wait()
            watcher = Call(watch)
            inside.wait()
            # Ordinary data is not what they wait for.
            peer.send(b"x")
            assert client.recv(1) == b"x"
            peer.send(b"!", socket.MSG_OOB)
            assert watcher.result() is True
            assert client.recv(1, socket.MSG_OOB) == b"!"
        client.close(), peer.close()
        """
        check(code, mode)

    @BOTH
    def test_epoll_in_a_selector(self, mode: Mode) -> None:
        """Also in an epoll, in a poll, in a select; each as deep as the next."""
        code = """
        import select, selectors, socket
        one, other = socket.socketpair()
        inner, outer = select.epoll(), select.epoll()
        inner.register(one, select.EPOLLIN)
        outer.register(inner, select.EPOLLIN)
        def by_selector():
            with selectors.DefaultSelector() as selector:
                selector.register(outer, selectors.EVENT_READ)
                return [key.fileobj for key, _ in selector.select(30)] == [outer]
        def by_poll():
            poll = select.poll()
            poll.register(outer, select.POLLIN)
            return poll.poll(30000) == [(outer.fileno(), select.POLLIN)]
        for wait in (
            by_selector, by_poll, lambda: select.select([outer], [], [], 30)[0] == [outer],
            lambda: outer.poll(30) == [(inner.fileno(), select.EPOLLIN)],
        ):
            inside = threading.Event()
            def watch():
                inside.set()
                return wait()
            watcher = Call(watch)
            inside.wait()
            other.send(b"x")
            assert watcher.result() is True
            assert inner.poll(0) == [(one.fileno(), select.EPOLLIN)]
            one.recv(1)
            assert inner.poll(0) == [] and outer.poll(0) == []
        for thing in (inner, outer, one, other):
            thing.close()
        """
        check(code, mode)

    @BOTH
    def test_epoll_shared_by_threads(self, mode: Mode) -> None:
        """One waits while another changes what is waited for; modes of the kernel stay the kernel's."""
        code = """
        import select, socket
        one, other = socket.socketpair()
        with select.epoll() as epoll:
            inside = threading.Event()
            def watch():
                inside.set()
                return epoll.poll(30)
            watcher = Call(watch)
            inside.wait()
            epoll.register(one, 0)
            other.send(b"x")
            epoll.modify(one, select.EPOLLIN | select.EPOLLET)
            assert watcher.result() == [(one.fileno(), select.EPOLLIN)]
            assert epoll.poll(0) == []  # edge-triggered
            epoll.modify(one, select.EPOLLIN | select.EPOLLONESHOT)
            assert epoll.poll(0) == [(one.fileno(), select.EPOLLIN)]
            assert epoll.poll(0) == []
            epoll.modify(one, select.EPOLLIN)
            waiters = [Call(epoll.poll, 30) for _ in range(3)]
            assert all(waiter.result() == [(one.fileno(), select.EPOLLIN)] for waiter in waiters)
            epoll.unregister(one)
            assert epoll.poll(0.001) == []
        one.close(), other.close()
        """
        check(code, mode)

    @BOTH
    def test_selector_woken_by_another_thread(self, mode: Mode) -> None:
        """The pattern of every event loop: a pair of sockets to wake it, registered for good."""
        code = """
        import selectors, socket
        from collections import deque
        wake_reader, waker = socket.socketpair()
        wake_reader.setblocking(False)
        calls, done = deque(), []
        with selectors.DefaultSelector() as selector:
            selector.register(wake_reader, selectors.EVENT_READ)
            def loop():
                while True:
                    for key, _ in selector.select():
                        key.fileobj.recv(100)
                    while calls:
                        call = calls.popleft()
                        if call is None:
                            return
                        call()
            running = Call(loop)
            def submit(number):
                answered = threading.Event()
                calls.append(lambda: (done.append(number), answered.set()))
                waker.send(b"x")
                assert answered.wait(30)
            for submitter in [Call(submit, number) for number in range(50)]:
                submitter.result()
            calls.append(None)
            waker.send(b"x")
            running.result()
        assert sorted(done) == list(range(50))
        wake_reader.close(), waker.close()
        """
        check(code, mode)
