"""SO_RCVLOWAT: a receive without a time-out returns when so many bytes are there, or all that it asks for."""

from __future__ import annotations

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

_PROGRAM = """
    warnings.simplefilter("ignore", ResourceWarning)

    def low(sock, count):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        return sock

    def into(method, sock, *args):
        buffer = bytearray(100)
        count, *rest = (lambda got: got if isinstance(got, tuple) else (got,))(method(sock, buffer))
        return bytes(buffer[:count])

    # Each gives what it has received.
    READS = {
        "recv": lambda s: s.recv(100),
        "recv_into": lambda s: into(lambda s, b: s.recv_into(b), s),
        "recvfrom": lambda s: s.recvfrom(100)[0],
        "recvfrom_into": lambda s: into(lambda s, b: s.recvfrom_into(b), s),
        "recvmsg": lambda s: s.recvmsg(100)[0],
        "recvmsg_into": lambda s: into(lambda s, b: s.recvmsg_into([b]), s),
    }
"""


@both_modes
def test_enough(mode: Mode) -> None:
    run(
        _PROGRAM
        + """
    for name, read in READS.items():
        for kind, (left, right) in pairs():
            # Before the first wait, and after one.
            for again in range(2):
                low(right, 8)
                reader = Thread(read, right)
                for _ in range(7):
                    settle()
                    assert reader.is_alive(), (kind, name)
                    left.send(b"x")
                settle()
                assert reader.is_alive(), (kind, name, again)
                # The kernel looks at a TCP socket that has been told of some when eight more are there.
                left.send(b"y" * 9)
                got = reader.end()
                assert 8 <= len(got) and got.startswith(b"xxxxxxxy"), (kind, name, got)
                if len(got) < 16:
                    low(right, 1)
                    got += right.recv(100)
                assert len(got) == 16
                # Back to one.
                low(right, 1)
                reader = Thread(read, right)
                settle()
                left.send(b"z")
                assert reader.end() == b"z"
            left.close(); right.close()
    """,
        mode,
    )


def test_what_ends_it_early() -> None:
    same_output(
        _PROGRAM
        + """
    for name, read in READS.items():
        for kind in ("tcp", "unix"):
            def pair():
                return dict(pairs())[kind]
            # There is less, and will be no more.
            left, right = pair()
            left.send(b"123")
            reader = Thread(read, low(right, 8))
            settle()
            assert reader.is_alive(), (kind, name)
            left.shutdown(socket.SHUT_WR)
            print(kind, name, reader.end(), read(right))
            # One's own end.
            left, right = pair()
            left.send(b"123")
            reader = Thread(read, low(right, 8))
            settle()
            right.shutdown(socket.SHUT_RD)
            print(kind, name, reader.end())
            # All that was asked for.
            left, right = pair()
            left.send(b"12345")
            time.sleep(0.01)
            low(right, 8)
            print(right.recv(4), right.recv(1))
            # A time-out: the C code waits for the kernel to say that there is enough, then takes what is
            # there.  Of a local socket the kernel says so with the first byte.
            left, right = pair()
            low(right, 4).settimeout(0.2)
            left.send(b"12")
            time.sleep(0.01)
            print(outcome(read, right))
            left.send(b"345678")
            print(outcome(read, right))
            # Not to wait.
            left, right = pair()
            left.send(b"12")
            time.sleep(0.01)
            low(right, 4).setblocking(False)
            print(outcome(read, right))
            left.send(b"12")
            time.sleep(0.01)
            right.setblocking(True)
            print(outcome(right.recv, 100, socket.MSG_DONTWAIT))
    # SO_RCVTIMEO.
    for kind, (left, right) in pairs():
        right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 50_000))
        low(right, 8)
        left.send(b"12")
        print(kind, outcome(right.recv, 100), outcome(right.recv, 100))
    """
    )


@both_modes
def test_inherited_and_looked_at(mode: Mode) -> None:
    run(
        _PROGRAM
        + """
    # What a listener has been told counts for its connections, and a duplicate is the same socket.
    with low(socket.create_server(("127.0.0.1", 0)), 4) as listener:
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 4
    copy = socket.fromfd(connection.fileno(), connection.family, connection.type)
    for sock in (connection, copy):
        reader = Thread(sock.recv, 100)
        settle()
        client.send(b"1")
        settle()
        assert reader.is_alive()
        client.send(b"23456")
        got = reader.end()
        if len(got) < 6:
            got += low(sock, 1).recv(100)
            low(sock, 4)
        assert got == b"123456", got
    # A file on it asks for as much as it has room for.
    with connection.makefile("rb") as file:
        reader = Thread(file.readline)
        settle()
        client.send(b"a\\n")
        settle()
        assert reader.is_alive()
        client.send(b"b\\nc\\nd\\n")
        assert reader.end() == b"a\\n"
        assert file.readline() == b"b\\n"
    """,
        mode,
    )
