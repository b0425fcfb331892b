"""Nobody waits for what is there: data, the end, errors, however they come and whoever looked first.

The reader skips system calls that the kernel's last answer makes superfluous, and the kernel reports each
change once.  These are the ways in which that could go wrong.
"""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode


@both_modes
def test_end_right_after_the_data(mode: Mode) -> None:
    run(
        """
    for make in (tcp_pair, socket.socketpair):
        for first in (b"", b"12345"):
            for size in (3, 5, 100):
                for waits in (False, True):
                    for close in (False, True):
                        left, right = make()
                        right.settimeout(LONG)
                        if waits:  # registered with the kernel before anything comes
                            waiting = Thread(right.recv, size)
                            settle()
                            left.send(b"x")
                            assert waiting.end() == b"x"
                        got = Thread(lambda: b"".join(iter(lambda: right.recv(size), b"")))
                        settle()
                        if first:
                            left.send(first)
                        left.close() if close else left.shutdown(socket.SHUT_WR)
                        assert got.end() == first
                        for _ in range(3):
                            assert right.recv(size) == b"" and right.recv_into(bytearray(size)) == 0
                        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_reset(mode: Mode) -> None:
    run(
        """
    for unread in (False, True):
        for waits in (False, True):
            left, right = tcp_pair()
            right.settimeout(LONG)
            if unread:
                left.send(b"12345")
                assert right.recv(100) == b"12345"
            waiting = Thread(outcome, right.recv, 100) if waits else None
            settle()
            left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            left.close()
            settle()
            got = waiting.end() if waits else outcome(right.recv, 100)
            assert "ConnectionResetError" in got, got
            assert right.recv(100) == b""
            assert "BrokenPipeError" in outcome(right.send, b"x")
            right.close()
    """,
        mode,
    )


@both_modes
def test_urgent_data(mode: Mode) -> None:
    run(
        """
    left, right = tcp_pair()
    # (With a time-out the C code would wait for ordinary data before it asks for the urgent byte.)
    # A read stops before the urgent byte, though more is there.
    waiting = Thread(right.recv, 100)
    settle()
    left.send(b"abc"); left.send(b"!", socket.MSG_OOB); left.send(b"def")
    got = waiting.end()
    while len(got) < 3:
        got += right.recv(100)
    assert got == b"abc", got
    time.sleep(0.01)
    assert right.recv(1, socket.MSG_OOB) == b"!"
    assert right.recv(100) == b"def"
    # Everything is there before the first read.
    left.send(b"abc"); left.send(b"!", socket.MSG_OOB); left.send(b"def")
    time.sleep(0.01)
    assert [right.recv(100), right.recv(100)] == [b"abc", b"def"]
    # In the stream itself.
    right.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    left.send(b"abc"); left.send(b"!", socket.MSG_OOB); left.send(b"def")
    time.sleep(0.01)
    got = b""
    while len(got) < 7:
        got += right.recv(100)
    assert got == b"abc!def", got
    # Waiting for the urgent byte alone.
    right.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
    left.send(b"x")
    assert right.recv(100) == b"x"
    ready = Thread(select.select, [], [], [right], LONG)
    settle()
    left.send(b"!", socket.MSG_OOB)
    assert ready.end()[2] == [right]
    assert right.recv(1, socket.MSG_OOB) == b"!"
    waiting = Thread(right.recv, 100)
    settle()
    assert waiting.is_alive()
    left.send(b"end")
    assert waiting.end() == b"end"
    left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_descriptors_and_credentials_cut_reads_short(mode: Mode) -> None:
    # A short read of a local socket does not mean that nothing is left.
    run(
        """
    import array
    for receive in (lambda: right.recv(100), lambda: right.makefile("rb", buffering=0).read(100)):
        left, right = socket.socketpair()
        right.settimeout(LONG)
        waiting = Thread(right.recv, 100)
        settle()
        with open(os.devnull) as file:
            socket.send_fds(left, [b"ab"], [file.fileno()])
            left.send(b"cd")
            socket.send_fds(left, [b"ef"], [file.fileno()])
            left.send(b"gh")
        got = [waiting.end()]
        while sum(map(len, got)) < 8:
            got.append(receive())
        assert b"".join(got) == b"abcdefgh" and len(got) > 1, got
        left.close(); right.close()
    if hasattr(socket, "SO_PASSCRED"):
        left, right = socket.socketpair()
        right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        right.settimeout(LONG)
        waiting = Thread(right.recv, 100)
        settle()
        pid = os.fork()
        if not pid:
            left.send(b"child")
            os._exit(0)
        os.waitpid(pid, 0)
        left.send(b"parent")
        got = [waiting.end()]
        while sum(map(len, got)) < 11:
            got.append(right.recv(100))
        assert b"".join(got) == b"childparent", got
        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_somebody_else_looks_first(mode: Mode) -> None:
    run(
        """
    PEEK = socket.MSG_PEEK
    def looks(s):
        yield "select", lambda: select.select([s], [], [], LONG)
        def poll():
            p = select.poll()
            p.register(s, select.POLLIN)
            return p.poll(LONG * 1000)
        yield "poll", poll
        def epoll():
            with select.epoll() as p:
                p.register(s, select.EPOLLIN | select.EPOLLET)
                return p.poll(LONG)
        yield "epoll", epoll
        yield "recv", lambda: s.recv(100, PEEK)
        yield "recv_into", lambda: s.recv_into(bytearray(10), 0, PEEK)
        yield "recvmsg", lambda: s.recvmsg(100, 0, PEEK)
        yield "zero", lambda: (s.recv(0), s.recv_into(bytearray()))
        yield "bad", lambda: (outcome(s.recv, -1), outcome(s.recv_into, bytearray(1), 5))
        yield "duplicate", lambda: other.recv(100, PEEK)
        yield "nothing", lambda: None

    for name, (left, right) in pairs():
        right.settimeout(LONG)
        other = right.dup()
        for what, look in looks(right):
            for state in ("new", "drained", "drained by recv_into", "waited", "timed out"):
                for early in (False, True):
                    if state == "drained":
                        left.send(b"x"); assert right.recv(100) == b"x"
                    elif state == "drained by recv_into":
                        left.send(b"x"); assert right.recv_into(bytearray(100)) == 1
                    elif state == "waited":
                        waiting = Thread(right.recv, 100)
                        settle()
                        left.send(b"x"); assert waiting.end() == b"x"
                    elif state == "timed out":
                        right.settimeout(0.0001)
                        assert "TimeoutError" in outcome(right.recv, 100)
                        right.settimeout(LONG)
                    if early or what in ("zero", "bad", "nothing"):
                        left.send(b"data")
                        look()
                    else:
                        looker = Thread(look)
                        settle()
                        left.send(b"data")
                        looker.end()
                    # The data has been seen and not been taken: nobody may wait for it.
                    assert right.recv(2) == b"da", (name, what, state, early)
                    b = bytearray(10)
                    assert right.recv_into(b) == 2, (name, what, state, early)
        left.close(); right.close(); other.close()
    """,
        mode,
    )


@both_modes
def test_two_sockets_on_one_file(mode: Mode) -> None:
    run(
        """
    for name, (left, right) in pairs():
        for other in (right.dup(), socket.fromfd(right.fileno(), right.family, right.type)):
            right.settimeout(LONG); other.settimeout(LONG)
            for one, two in ((right, other), (other, right)):
                # Both wait; each change wakes both, and the one that loses waits on.
                first, second = Thread(one.recv, 100), Thread(two.recv, 100)
                settle()
                left.send(b"1")
                settle()
                left.send(b"2")
                got = first.end() + second.end()
                assert sorted(got) == sorted(b"12")
                # What one has left is there for the other.
                left.send(b"abcdef")
                assert one.recv(2) == b"ab" and two.recv(2) == b"cd" and one.recv(2) == b"ef"
                # One waits and one does not: between them they get it all.
                waiting = Thread(two.recv, 100)
                settle()
                left.send(b"gone")
                left.send(b"more")
                left.send(b"end!")
                got = waiting.end()
                while len(got) < 12:
                    got += one.recv(100)
                assert got == b"gonemoreend!"
            # Closing one leaves the other alone.
            waiting = Thread(right.recv, 100)
            settle()
            other.close()
            settle()
            assert waiting.is_alive()
            left.send(b"still")
            assert waiting.end() == b"still"
        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_low_water_mark(mode: Mode) -> None:
    run(
        """
    left, right = tcp_pair()
    right.settimeout(LONG)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
    waiting = Thread(right.recv, 100)
    settle()
    left.send(b"12345")
    settle()
    assert waiting.is_alive()
    left.send(b"67890")
    assert waiting.end() == b"1234567890"
    waiting = Thread(right.recv, 100)
    settle()
    left.send(b"123")
    settle()
    assert waiting.is_alive()
    left.shutdown(socket.SHUT_WR)
    assert waiting.end() == b"123" and right.recv(100) == b""
    left.close(); right.close()
    left, right = tcp_pair()
    right.settimeout(LONG)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
    waiting = Thread(right.recv, 100)
    settle()
    left.send(b"123")
    settle()
    right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    assert waiting.end() == b"123"
    left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_several_readers_and_writers(mode: Mode) -> None:
    run(
        """
    for name, (left, right) in pairs():
        left.settimeout(LONG)
        readers = [Thread(right.recv, 1) for _ in range(10)]
        settle()
        left.send(b"0123456789")
        assert sorted(reader.end() for reader in readers) == [b"%d" % n for n in range(10)]
        # One of them gives up; the others are served.
        right.settimeout(0.05)
        hasty = [Thread(outcome, right.recv, 1) for _ in range(3)]
        settle()
        right.settimeout(None)
        patient = [Thread(right.recv, 1) for _ in range(3)]
        settle()
        assert [each.end() for each in hasty] == ["TimeoutError: timed out"] * 3
        left.send(b"abc")
        assert sorted(each.end() for each in patient) == [b"a", b"b", b"c"]
        # Both directions at once, both ends, two of each.
        size = 300000
        def sink(s):
            got = 0
            while got < 2 * size:
                with lock[s]:
                    if got + counts[s] >= 2 * size:
                        break
                    data = s.recv(65536)
                    counts[s] += len(data)
                    if not data:
                        break
        lock = {left: threading.Lock(), right: threading.Lock()}
        counts = {left: 0, right: 0}
        workers = [Thread(s.sendall, bytes(size)) for s in (left, right) for _ in range(2)]
        workers += [Thread(sink, s) for s in (left, right) for _ in range(2)]
        for worker in workers:
            worker.end()
        assert set(counts.values()) == {2 * size}
        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_native_and_green_threads_on_one_socket(mode: Mode) -> None:
    # The OS thread without a hub waits natively, and neither takes the other's news away for good.
    run(
        """
    import _thread
    if PATCHED:
        import greenify
        start_native = greenify.original(_thread, "start_new_thread")
    else:
        start_native = _thread.start_new_thread
    sys.setswitchinterval(1e-5)
    for name, (left, right) in pairs():
        right.settimeout(LONG)
        total = 20000
        got, ends = [], []
        lock = threading.Lock()
        def read(end):
            while True:
                data = right.recv(7)
                if not data:
                    break
                with lock:
                    got.append(len(data))
            end.set()
        for _ in range(2):
            ends += [threading.Event(), threading.Event()]
            start_native(read, (ends[-2],))
            threading.Thread(target=read, args=(ends[-1],)).start()
        for number in range(total // 10):
            left.send(b"0123456789")
            if not number % 20:
                time.sleep(0.0005)
        left.shutdown(socket.SHUT_WR)
        for end in ends:
            assert end.wait(LONG)
        assert sum(got) == total
        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_a_native_thread_takes_a_socket_over_whose_registration_has_ended(mode: Mode) -> None:
    run(
        """
    import _thread
    from greenify import core
    start_native = _thread.start_new_thread
    if PATCHED:
        import greenify
        start_native = greenify.original(_thread, "start_new_thread")
    for receive in (lambda s: s.recv(10), lambda s: bytes(b[:s.recv_into(b)])):
        left, right = tcp_pair()
        reading = Thread(right.recv, 10)
        left.send(b"1")
        assert reading.end() == b"1"
        # As if somebody had closed the number behind our back, and the system had used it again.
        core.forget(right.fileno())
        b, got, end = bytearray(10), [], threading.Event()
        def read():
            try:
                got.append(receive(right))
            finally:
                end.set()
        start_native(read, ())
        time.sleep(0.01)
        left.send(b"2")
        assert end.wait(LONG) and got == [b"2"], got
        left.close(); right.close()
    """,
        mode,
    )


RANDOM = """
    import random
    WAITALL, PEEK = socket.MSG_WAITALL, socket.MSG_PEEK

    def talk(seed):
        rng = random.Random(seed)
        left, right = rng.choice([tcp_pair, socket.socketpair])()
        tcp = left.family == socket.AF_INET
        right.settimeout(rng.choice([None, LONG]))
        aliases = [right, right.dup()] if rng.random() < 0.3 else [right]
        for alias in aliases:
            alias.settimeout(right.gettimeout())
        total = urgent = 0

        def write():
            nonlocal total, urgent
            for _ in range(rng.randrange(5, 40)):
                size = rng.choice([1, 2, 5, 10, 100, 5000])
                left.sendall(bytes(size))
                total += size
                what = rng.random()
                if what < 0.1:
                    time.sleep(0.0005)
                elif what < 0.4:
                    time.sleep(0)
                elif what < 0.45 and tcp:
                    left.send(b"!", socket.MSG_OOB)
                    urgent += 1  # stays in the stream if another one follows
                elif what < 0.5 and not tcp:
                    socket.send_fds(left, [b"f"], [left.fileno()])
                    total += 1
            end = rng.random()
            if end < 0.5:
                left.shutdown(socket.SHUT_WR)
            else:
                left.close()

        def read():
            got = 0
            while True:
                s = rng.choice(aliases)
                size = rng.choice([1, 3, 5, 50, 10000])
                what = rng.randrange(14)
                if what < 4:
                    n = len(s.recv(size))
                elif what < 6:
                    n = s.recv_into(bytearray(size))
                elif what == 6:
                    n = s.recvfrom_into(bytearray(size))[0]
                elif what == 7:
                    n = len(s.recvmsg(size)[0])
                elif what == 8:
                    n = len(s.recv(size, WAITALL))
                elif what == 9:
                    s.recv(size, PEEK)
                    continue
                elif what == 10:
                    select.select([s], [], [])
                    continue
                elif what == 11:
                    s.recv(0); s.recv_into(bytearray())
                    continue
                elif what == 12:
                    before = s.gettimeout()
                    s.settimeout(0.0002)
                    try:
                        n = len(s.recv(size))
                    except TimeoutError:
                        continue
                    finally:
                        s.settimeout(before)
                else:
                    try:
                        n = len(s.recv(size, socket.MSG_DONTWAIT))
                    except (BlockingIOError, TimeoutError):
                        continue
                if not n:
                    return got
                got += n

        writer, reader = Thread(write), Thread(read)
        writer.end()
        try:
            got = reader.end()
        except AssertionError:
            raise AssertionError(f"seed {seed}: the reader hangs")
        assert total <= got <= total + urgent, (seed, got, total)
        for s in (left, *aliases):
            s.close()

    start = int(sys.argv[1])
    for seed in range(start, start + int(sys.argv[2])):
        talk(seed)
"""


@pytest.mark.parametrize("start", [0, 10_000])
def test_random_conversations(start: int) -> None:
    run(RANDOM, False, start, 5)
    run(RANDOM, "patch_all", start, 150)
