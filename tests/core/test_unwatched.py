"""Descriptors that the kernel queue has no room for: who waits for them goes on as with threads."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.core.run import run
from tests.green.programs import both_modes
from tests.green.programs import run as run_program
from tests.support import Mode

# More than epoll takes of one open file.
MANY = """
    import os, resource, select, socket, threading, warnings
    from collections import Counter

    warnings.simplefilter("ignore", ResourceWarning)  # the sockets are open to the end

    N = 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    ours, theirs = socket.socketpair()
    copies = [os.dup(ours.fileno()) for _ in range(N)]
    results = Counter()
    counting = threading.Lock()
    waiting = threading.Semaphore(0)

    def attempt(function, *args):
        waiting.release()
        try:
            result = function(*args)
        except OSError as exc:
            result = type(exc)
        with counting:
            results[result] += 1

    def asleep(thread):
        with open(f"/proc/self/task/{thread.native_id}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def start(function, *args):
        threads = [threading.Thread(target=attempt, args=(function, *each)) for each in zip(*args)]
        for thread in threads:
            thread.start()
        for _ in threads:
            waiting.acquire()
        return threads
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of epoll's")
@both_modes
class TestManyOfOneFile:
    def test_reading(self, mode: Mode) -> None:
        program(
            """
            threads = start(os.read, copies, [1] * N)
            theirs.sendall(b"x" * N)
            for thread in threads:
                thread.join()
            assert results == {b"x": N}, results
            """,
            mode,
        )

    def test_receiving_and_time_outs(self, mode: Mode) -> None:
        program(
            """
            sockets = [socket.socket(fileno=copy) for copy in copies]
            threads = start(socket.socket.recv, sockets, [1] * N)
            theirs.sendall(b"x" * (N - 10))
            theirs.shutdown(socket.SHUT_WR)
            for thread in threads:
                thread.join()
            assert results == {b"x": N - 10, b"": 10}, results

            results.clear()
            ours, theirs = socket.socketpair()
            sockets = [socket.socket(fileno=os.dup(ours.fileno())) for _ in range(N)]
            for each in sockets:
                each.settimeout(0.2)
            for thread in start(socket.socket.recv, sockets, [1] * N):
                thread.join()
            assert results == {TimeoutError: N}, results
            """,
            mode,
        )

    def test_writing(self, mode: Mode) -> None:
        program(
            """
            ours.setblocking(False)
            full = 0
            try:
                while True:
                    full += ours.send(b"x" * 65536)
            except BlockingIOError:
                ours.setblocking(True)
            threads = start(os.write, copies, [b"y"] * N)
            got = 0
            while got < full + N:
                got += len(theirs.recv(1 << 20))
            for thread in threads:
                thread.join()
            assert results == {1: N}, results
            """,
            mode,
        )

    def test_closing_what_a_full_queue_polls(self, mode: Mode) -> None:
        program(
            """
            polled = copies[:100]  # as many as epoll takes three queues deep
            poll = select.poll()
            for copy in polled:
                poll.register(copy, select.POLLIN)
            found = []
            thread = threading.Thread(target=lambda: found.extend(poll.poll()))
            thread.start()
            while not PATCHED and asleep(thread) != "S":
                pass
            time.sleep(0)  # a green thread waits when it has had its turn
            for copy in polled[:3]:
                os.close(copy)
            theirs.sendall(b"x")
            thread.join()
            expected = [select.POLLNVAL] * 3 + [select.POLLIN] * 97
            assert sorted(found) == list(zip(polled, expected)), found[:5]
            """,
            mode,
        )

    def test_what_stays_open_is_watched_when_there_is_room_again(self, mode: Mode) -> None:
        program(
            """
            readers = [socket.socket(fileno=copy) for copy in copies]
            threads = start(socket.socket.recv, readers, [1] * N)
            theirs.sendall(b"x" * N)
            for thread in threads:
                thread.join()
            last = readers.pop()
            while readers:
                readers.pop().close()
            (thread,) = start(last.recv, [1])
            theirs.sendall(b"z")
            thread.join()
            assert results == {b"x": N, b"z": 1}, results
            """,
            mode,
        )


def program(code: str, mode: Mode) -> None:
    run_program(with_many(code), mode)


def with_many(code: str) -> str:
    return MANY + textwrap.indent(textwrap.dedent(code), "    ")


@pytest.mark.parametrize("error", ["ENOSPC", "EINVAL", "ELOOP"])
def test_a_queue_that_is_full_for_a_while(error: str) -> None:
    # The number of descriptors that all of a user's queues may have is the system's: it is not changed here.
    run(
        """
        import errno, os, sys, threading, time
        import greenify
        from greenify import core

        greenify.patch_all()
        hub = core.get_hub()
        queue = hub.descriptors.queue
        refused = []

        class Full:
            def __getattr__(self, name):
                return getattr(queue, name)

            def register(self, fd, mask):
                if fd in pair and room.locked():
                    refused.append(fd)
                    raise OSError(getattr(errno, sys.argv[1]), "full")
                queue.register(fd, mask)

        room = threading.Lock()
        room.acquire()
        pair = os.pipe()
        hub.descriptors.queue = Full()
        got = []
        reader = threading.Thread(target=lambda: got.append(os.read(pair[0], 1)))
        reader.start()
        while len(refused) < 3:  # it is asked for room again
            time.sleep(0.005)
        assert hub.descriptors.by_fd[pair[0]] in hub.descriptors.unwatched
        os.write(pair[1], b"1")
        reader.join()

        waiter = threading.Thread(target=lambda: got.append(os.read(pair[0], 1)))
        waiter.start()
        room.release()
        while hub.descriptors.by_fd[pair[0]] in hub.descriptors.unwatched:
            time.sleep(0.005)
        os.write(pair[1], b"2")
        waiter.join()
        assert got == [b"1", b"2"], got
        hub.descriptors.queue = queue
        """,
        error,
    )
