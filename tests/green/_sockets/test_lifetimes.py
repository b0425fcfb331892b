"""Sockets are made, closed, shared, passed on and patched while others use them."""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode


def test_closed_while_others_wait() -> None:
    # A real thread would wait on for ever; here it gets EBADF.
    run(
        """
    EBADF = f"OSError: [Errno {errno.EBADF}] {os.strerror(errno.EBADF)}"
    def waits(s):
        b = bytearray(1)
        for timeout in (None, LONG):
            s.settimeout(timeout)
            yield lambda: s.recv(1)
            yield lambda: s.recv_into(b)
            yield lambda: s.recvfrom(1)
            yield lambda: s.recvfrom_into(b)
            yield lambda: s.recvmsg(1)
            yield lambda: s.recvmsg_into([b])
            yield lambda: s.recv(5, socket.MSG_WAITALL)
            yield lambda: s.recv(5, socket.MSG_PEEK)
            yield lambda: s.sendall(bytes(1 << 24))

    def ways(s):
        yield "close", s.close
        yield "detach", lambda: os.close(s.detach())
        yield "os.close", lambda: os.close(s.fileno())
        yield "socket.close", lambda: socket.close(s.fileno())

    for name, (left, right) in pairs():
        for number in range(len(list(waits(right)))):
            for way in range(4):
                one, two = dict(tcp=tcp_pair, unix=socket.socketpair)[name]()
                wait = None
                for index, candidate in enumerate(waits(two)):
                    if index == number:
                        wait = candidate
                        break
                waiting = [Thread(outcome, wait) for _ in range(3)]
                settle()
                assert all(each.is_alive() for each in waiting), number
                what, close = list(ways(two))[way]
                close()
                # The number belongs to another file at once.
                taken = socket.socketpair()
                for each in waiting:
                    each.join(LONG)
                    assert not each.is_alive(), (name, number, what)
                    assert each.end() == EBADF, (name, number, what, each.result)
                taken[0].send(b"x")
                assert taken[1].recv(1) == b"x"
                if what in ("os.close", "socket.close"):
                    two.detach()
                one.close()
                for each in taken:
                    each.close()
        left.close(); right.close()
    with_server = socket.create_server(("127.0.0.1", 0))
    waiting = [Thread(outcome, with_server.accept) for _ in range(3)]
    settle()
    with_server.close()
    assert [each.end() for each in waiting] == [EBADF] * 3
    # A makefile keeps it open.
    left, right = socket.socketpair()
    file = right.makefile("rb")
    waiting = Thread(file.read, 3)
    settle()
    right.close()
    settle()
    assert waiting.is_alive()
    left.send(b"abc")
    assert waiting.end() == b"abc"
    left.close(); file.close()
    """,
        "patch_all",
    )


@both_modes
def test_shut_down_while_others_wait(mode: Mode) -> None:
    run(
        """
    for name, (left, right) in pairs():
        reader = Thread(right.recv, 1)
        writer = Thread(outcome, right.sendall, bytes(1 << 24))
        settle()
        assert reader.is_alive() and writer.is_alive()
        right.shutdown(socket.SHUT_RD)
        assert reader.end() == b"" and writer.is_alive()
        right.shutdown(socket.SHUT_WR)
        assert "BrokenPipeError" in writer.end()
        assert right.recv(1) == b""
        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_collected_while_nobody_looks(mode: Mode) -> None:
    run(
        """
    warnings.simplefilter("ignore", ResourceWarning)
    for round in range(300):
        left, right = socket.socketpair()
        right.settimeout(0.00001)
        outcome(right.recv, 1)
        # No close: the C code closes the descriptor, and its number is used again.
        del left, right
    left, right = socket.socketpair()
    waiting = Thread(right.recv, 1)
    settle()
    left.send(b"x")
    assert waiting.end() == b"x"
    assert left.fileno() < 40
    """,
        mode,
    )


@both_modes
def test_files(mode: Mode) -> None:
    run(
        """
    for name, (left, right) in pairs():
        for kind in ("r", "rb", "rw", "rwb", "w", "wb"):
            for buffering in (None, 0, 1, 5):
                if buffering == 0 and "b" not in kind:
                    continue
                options = {} if buffering is None else {"buffering": buffering}
                try:
                    with right.makefile(kind, **options) as file:
                        if "r" in kind:
                            want = b"line 1\\nline 2\\n" if "b" in kind else "line 1\\nline 2\\n"
                            half = len(want) // 2
                            waiting = Thread(lambda: file.readline() + file.read(half))
                            settle()
                            left.sendall(b"line ")
                            settle()
                            left.sendall(b"1\\nline 2\\n")
                            got = waiting.end()
                            while len(got) < len(want):  # unbuffered: what is there
                                got += file.read(len(want) - len(got))
                            assert got == want, (kind, buffering, got)
                        if "w" in kind:
                            data = b"some data\\n" if "b" in kind else "some data\\n"
                            assert file.write(data) == 10
                            file.flush()
                            assert left.recv(100) == b"some data\\n"
                except RuntimeWarning as exc:
                    assert "line buffering" in str(exc)
        text = right.makefile("rw", encoding="latin-1", newline="\\r\\n")
        text.write("caf\\xe9\\n")
        text.flush()
        assert left.recv(100) == b"caf\\xe9\\r\\n"
        text.close()
        # All that comes until the end, by lines.
        file = right.makefile("r")
        reader = Thread(list, file)
        for number in range(2000):
            left.sendall(b"%d\\n" % number)
        left.shutdown(socket.SHUT_WR)
        assert reader.end() == [f"{number}\\n" for number in range(2000)]
        file.close()
        # A time-out breaks the file for good, as documented.
        one, two = socket.socketpair()
        two.settimeout(0.001)
        file = two.makefile("rb")
        assert outcome(file.readline) == "TimeoutError: timed out"
        assert outcome(file.readline) == "OSError: cannot read from timed out object"
        for each in (file, one, two, left, right):
            each.close()
    """,
        mode,
    )


def test_inherited_by_programs() -> None:
    # Whoever gets the descriptor finds it as plain Python leaves it, in the middle of a wait, too; but for a
    # listener, whose flag forked servers share while they accept (see `green/_sockets/state.py`).
    same_output("""
    import subprocess
    CHILD = '''
    import os, socket, sys
    fd = int(sys.argv[1])
    if sys.argv[2] != "accept":
        print("nonblocking", not os.get_blocking(fd))
    s = socket.socket(fileno=fd)
    if sys.argv[2] == "accept":
        s.settimeout(None)
        connection, _ = s.accept()
        connection.sendall(b"accepted by the child")
    elif sys.argv[2] == "recv":
        print(s.recv(100))
    '''
    import textwrap
    def child(s, what):
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), str(s.fileno()), what],
                                pass_fds=[s.fileno()], stdout=subprocess.PIPE, text=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        waiting = Thread(server.accept)
        settle()
        socket.create_connection(server.getsockname()).close()
        waiting.end()[0].close()
        print(server.get_inheritable())
        with child(server, "accept") as process:
            with socket.create_connection(server.getsockname()) as client:
                print(client.recv(100))
            print(process.communicate())
    left, right = socket.socketpair()
    for timeout in (None, LONG):
        right.settimeout(timeout)
        waiting = Thread(right.recv, 1)
        settle()
        print(os.get_blocking(right.fileno()))
        left.send(b"x")
        waiting.end()
        with child(right, "look" if timeout else "recv") as process:
            left.send(b"for the child")
            print(process.communicate())
        if timeout:
            print(right.recv(100))
    left.close(); right.close()
    """)


@both_modes
def test_shared_with_forked_processes(mode: Mode) -> None:
    run(
        """
    for name, (left, right) in pairs():
        # The parent's registration must not steal what is the child's.
        parked = Thread(right.recv, 1)
        settle()
        left.send(b"x")
        assert parked.end() == b"x"
        parked = Thread(left.recv, 100)
        settle()
        pid = os.fork()
        if not pid:
            status = 1
            try:
                right.settimeout(LONG)
                other = threading.Thread(target=lambda: right.sendall(b"hello"))
                other.start()
                assert right.recv(100) == b"question"
                other.join()
                right.sendall(b"answer")
                a, b = socket.socketpair()
                waiting = Thread(b.recv, 1)
                settle()
                a.send(b"y")
                assert waiting.end() == b"y"
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        assert parked.end() == b"hello"
        parked = Thread(left.recv, 100)
        left.sendall(b"question")
        assert parked.end() == b"answer"
        assert os.waitpid(pid, 0)[1] == 0
        left.close(); right.close()
    # Several processes accept from one listener.
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        waiting = Thread(server.accept)
        settle()
        socket.create_connection(server.getsockname()).close()
        waiting.end()[0].close()
        children = []
        for _ in range(3):
            pid = os.fork()
            if not pid:
                try:
                    while True:
                        connection, _ = server.accept()
                        data = connection.recv(100)
                        if data == b"stop":
                            break
                        connection.sendall(data)
                        connection.close()
                finally:
                    os._exit(0)
            children.append(pid)
        def ask(number):
            with socket.create_connection(server.getsockname(), timeout=LONG) as s:
                s.sendall(b"%d" % number)
                return s.recv(100)
        asked = [Thread(ask, number) for number in range(60)]
        assert [each.end() for each in asked] == [b"%d" % number for number in range(60)]
        for _ in children:
            with socket.create_connection(server.getsockname()) as s:
                s.sendall(b"stop")
                s.recv(1)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
    """,
        mode,
    )


@both_modes
def test_descriptors_passed_to_others(mode: Mode) -> None:
    run(
        """
    left, right = socket.socketpair()
    server = socket.create_server(("127.0.0.1", 0))
    waiting = Thread(socket.recv_fds, right, 100, 5)
    settle()
    socket.send_fds(left, [b"take this"], [server.fileno()])
    data, (fd,), flags, address = waiting.end()
    assert data == b"take this"
    server.close()
    passed = socket.socket(fileno=fd)
    waiting = Thread(passed.accept)
    settle()
    client = socket.create_connection(passed.getsockname())
    connection, _ = waiting.end()
    connection.sendall(b"hello")
    assert client.recv(100) == b"hello"
    # Detached and taken up again.
    number = connection.detach()
    assert connection.fileno() == -1 and os.get_blocking(number)
    again = socket.socket(fileno=number)
    waiting = Thread(again.recv, 100)
    settle()
    client.sendall(b"again")
    assert waiting.end() == b"again"
    for each in (left, right, passed, client, again):
        each.close()
    """,
        mode,
    )


@pytest.mark.parametrize("how", ["patched late", "restored"])
def test_patched_late_and_restored(how: str) -> None:
    run(
        """
    import greenify
    late = sys.argv[1] == "patched late"
    if not late:
        greenify.patch_all()
    class Mine(socket.socket):
        def recv(self, size):
            return b"mine:" + super().recv(size)
    kept = socket.socket, socket.create_connection, socket.socketpair
    left, right = socket.socketpair()
    timed = socket.socketpair()
    timed[1].settimeout(0.02)
    silent = socket.socketpair()
    silent[1].setblocking(False)
    mine = socket.socketpair()
    own = Mine(fileno=mine[1].detach())
    server = socket.create_server(("127.0.0.1", 0))
    file = right.makefile("rb")
    # Used before, so that there is a state to take over.
    left.send(b"used")
    assert right.recv(100) == b"used"
    assert outcome(timed[1].recv, 1) == "TimeoutError: timed out"
    assert right.gettimeout() is None and os.get_blocking(right.fileno())
    if late:
        greenify.patch_all()
    else:
        greenify.restore()
        assert socket.socket.recv is socket._socket.socket.recv
        assert type(right._closed) is bool

    assert kept == (socket.socket, socket.create_connection, socket.socketpair)
    assert right.gettimeout() is None and timed[1].gettimeout() == 0.02 and silent[1].gettimeout() == 0.0
    assert [os.get_blocking(s.fileno()) for s in (right, timed[1], silent[1])] == [True, False, False]
    ticks = []
    def tick():
        for _ in range(5):
            ticks.append(time.sleep(0.001))
    ticker = Thread(tick)
    if late:
        for receive, writer in ((lambda: right.recv(100), left), (file.readline, left),
                                (lambda: own.recv(95), mine[0])):
            waiting = Thread(receive)
            settle()
            assert waiting.is_alive()
            writer.send(b"data\\n")
            assert waiting.end().endswith(b"data\\n")
    else:
        for receive, writer in ((lambda: right.recv(100), left), (lambda: file.readline(), left),
                                (lambda: own.recv(95), mine[0])):
            writer.send(b"data\\n")
            assert receive().endswith(b"data\\n")
    start = time.monotonic()
    assert outcome(timed[1].recv, 1) == "TimeoutError: timed out"
    assert time.monotonic() - start >= 0.02
    assert "BlockingIOError" in outcome(silent[1].recv, 1)
    accepting = Thread(server.accept)
    client = socket.create_connection(server.getsockname())
    connection, _ = accepting.end()
    client.sendall(bytes(100))
    assert connection.recv(100, socket.MSG_WAITALL) == bytes(100)
    ticker.end()
    assert len(ticks) == 5
    everything = [left, right, *timed, *silent, mine[0], own, server, file, client, connection]
    for each in everything:
        each.close()
    assert right._closed is True and repr(right).startswith("<socket.socket [closed]")
    """,
        False,
        how,
    )


@both_modes
def test_ten_thousand_sockets_leave_nothing(mode: Mode) -> None:
    run(
        """
    def count():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(gc.get_objects())
    def use():
        left, right = socket.socketpair()
        right.settimeout(LONG)
        waiting = None
        left.send(b"x")
        assert right.recv(1) == b"x" and right.recv(0) == b""
        left.shutdown(socket.SHUT_WR)
        assert right.recv(1) == b""
        left.close(); right.close()
    for _ in range(200):
        use()
    before = count()
    for _ in range(5000):
        use()
    after = count()
    assert after[0] <= before[0], (before, after)
    assert after[1] <= before[1] + 100, (before, after)
    """,
        mode,
    )
