"""Connecting: success, refusal, time-outs, full queues and bad names, in the words of the plain calls."""

from __future__ import annotations

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode


def test_outcomes() -> None:
    same_output("""
    import tempfile
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "socket")
    targets = [
        (socket.AF_INET, free),
        (socket.AF_INET, ("255.255.255.255", 80)),
        (socket.AF_INET6, ("::1", free[1])),
        (socket.AF_INET6, ("127.0.0.1", 80)),
        (socket.AF_INET, ("::1", 80)),
        (socket.AF_INET, ("127.0.0.1.2.3", 80)),
        (socket.AF_INET, ("no such host.invalid", 80)),
        (socket.AF_INET, ("", free[1])),
        (socket.AF_UNIX, path),
        (socket.AF_UNIX, folder.name),
        (socket.AF_UNIX, "\\0no such name"),
        (socket.AF_UNIX, b"bytes"),
        (socket.AF_UNIX, "x" * 200),
    ]
    for family, address in targets:
        for timeout in (None, LONG, 0):
            for method in ("connect", "connect_ex"):
                with socket.socket(family) as s:
                    s.settimeout(timeout)
                    text = str(outcome(getattr(s, method), address)).replace(str(free[1]), "PORT")
                    if timeout == 0 and address == free and method == "connect_ex":
                        text = "refused or in progress"
                    print(family.name, timeout, method, text.replace(folder.name, "FOLDER"))
                    print(os.get_blocking(s.fileno()), s.gettimeout())
    folder.cleanup()
    # A refused connection does not spoil the socket's later ones.
    with socket.create_server(("127.0.0.1", 0)) as server:
        for timeout in (None, LONG):
            with socket.socket() as s:
                s.settimeout(timeout)
                for _ in range(4):
                    print(outcome(s.connect, free))
                print(outcome(s.connect, server.getsockname()))
                connection, _ = server.accept()
                waiting = Thread(s.recv, 100)
                settle()
                connection.send(b"connected")
                print(waiting.end(), outcome(s.connect, server.getsockname()))
                print(s.connect_ex(server.getsockname()), s.getpeername() == server.getsockname())
                connection.close()
    # Datagrams.
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        print(outcome(s.connect, ("localhost", 9)), s.getpeername(), outcome(s.send, b"x"))
        time.sleep(0.01)
        print(outcome(s.send, b"x"))
    """)


@both_modes
def test_names_and_helpers(mode: Mode) -> None:
    run(
        """
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        for host in ("localhost", "127.0.0.1", b"localhost", bytearray(b"127.0.0.1"), ""):
            with socket.socket() as s:
                s.connect((host, port))
                assert s.getpeername() == ("127.0.0.1", port)
                server.accept()[0].close()
        with socket.create_connection(("localhost", port), timeout=LONG) as s:
            assert s.gettimeout() == LONG
            server.accept()[0].close()
        with socket.create_connection(("localhost", port), source_address=("127.0.0.1", 0)) as s:
            assert s.gettimeout() is None
            server.accept()[0].close()
        with socket.socket() as s:
            s.bind(("localhost", 0))
            assert s.getsockname()[0] == "127.0.0.1"
        with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
            one.bind(("127.0.0.1", 0))
            number = one.getsockname()[1]
            assert two.sendto(b"to", ("localhost", number)) == 2
            assert two.sendto(b"with flags", 0, ("localhost", number)) == 10
            assert two.sendmsg([b"mess", b"age"], [], 0, ("localhost", number)) == 7
            assert [one.recvfrom(100)[0] for _ in range(3)] == [b"to", b"with flags", b"message"]
            assert one.recvfrom is not None and two.connect_ex(("localhost", number)) == 0
    """,
        mode,
    )


@both_modes
def test_no_answer(mode: Mode) -> None:
    # A listener whose queue is full drops what comes: nothing answers.
    run(
        """
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        full = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(address)
            full.append(s)
        time.sleep(0.01)
        ticks = []
        ticker = Thread(lambda: [ticks.append(time.sleep(0.001)) for _ in range(5)])
        for seconds in (0.001, 0.03):
            with socket.socket() as s:
                s.settimeout(seconds)
                start = time.monotonic()
                try:
                    s.connect(address)
                except TimeoutError as exc:
                    assert exc.args == ("timed out",), exc
                    assert exc.__context__ is None
                else:
                    raise AssertionError("connected")
                assert time.monotonic() - start >= seconds
                assert not os.get_blocking(s.fileno())
            with socket.socket() as s:
                s.settimeout(seconds)
                start = time.monotonic()
                assert s.connect_ex(address) == errno.EAGAIN
                assert time.monotonic() - start >= seconds
            start = time.monotonic()
            text = outcome(socket.create_connection, address, seconds)
            assert text == "TimeoutError: timed out", text
        ticker.end()
        assert len(ticks) == 5
        for s in full:
            s.close()
    """,
        mode,
    )


def test_closed_while_it_connects() -> None:
    run(
        """
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        full = [socket.socket() for _ in range(4)]
        for s in full:
            s.setblocking(False)
            s.connect_ex(server.getsockname())
        time.sleep(0.01)
        for method, answer in (("connect", f"OSError: [Errno 9] {os.strerror(9)}"), ("connect_ex", 9)):
            for timeout in (None, LONG):
                s = socket.socket()
                s.settimeout(timeout)
                waiting = Thread(outcome, getattr(s, method), server.getsockname())
                settle()
                assert waiting.is_alive()
                s.close()
                assert waiting.end() == answer
        for s in full:
            s.close()
    """,
        "patch_all",
    )


@both_modes
def test_full_queue_of_a_local_socket(mode: Mode) -> None:
    run(
        """
    import tempfile
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = os.path.join(folder, "socket")
        server.bind(path)
        server.listen(0)
        full = socket.socket(socket.AF_UNIX)
        full.connect(path)
        late = socket.socket(socket.AF_UNIX)
        waiting = Thread(late.connect, path)
        time.sleep(0.02)
        assert waiting.is_alive()
        server.accept()[0].close()
        waiting.end()
        server.accept()[0].close()
        for s in (full, late):
            s.close()
    """,
        mode,
    )


@both_modes
def test_two_hundred_at_once(mode: Mode) -> None:
    run(
        """
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        def serve():
            for _ in range(200):
                connection, _ = server.accept()
                Thread(answer, connection)
        def answer(connection):
            with connection, connection.makefile("rwb") as file:
                for line in file:
                    file.write(line.upper())
                    file.flush()
        def ask(number):
            with socket.create_connection(server.getsockname(), LONG) as s, s.makefile("rwb") as file:
                for round in range(5):
                    file.write(b"question %d\\n" % number)
                    file.flush()
                    assert file.readline() == b"QUESTION %d\\n" % number
            return number
        serving = Thread(serve)
        asking = [Thread(ask, number) for number in range(200)]
        assert [each.end() for each in asking] == list(range(200))
        serving.end()
    """,
        mode,
    )


@both_modes
def test_connected_in_time_while_others_compute(mode: Mode) -> None:
    # The kernel has connected at once; that a thread gets to hear of it later makes it no time-out.
    run(
        """
    with socket.create_server(("127.0.0.1", 0), backlog=10) as server:
        for method in ("connect", "connect_ex"):
            for _ in range(3):
                go = threading.Event()
                def compute():
                    go.wait(LONG)
                    end = time.monotonic() + 0.03
                    while time.monotonic() < end:
                        pass
                with socket.socket() as s:
                    s.settimeout(0.01)
                    computing = Thread(compute)
                    go.set()
                    assert not getattr(s, method)(server.getsockname())
                    computing.end()
    """,
        mode,
    )
