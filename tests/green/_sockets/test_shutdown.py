"""`shutdown`, one's own or the peer's, wakes whoever waits to read or write, with the kernel's answers."""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

_PROGRAM = """
    warnings.simplefilter("ignore", ResourceWarning)

    def udp_pair(connected=True):
        pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for sock in pair:
            sock.bind(("127.0.0.1", 0))
        for sock, other in zip(pair, pair[::-1]):
            if connected:
                sock.connect(other.getsockname())
        return pair

    MAKERS = {
        "tcp": tcp_pair,
        "unix": socket.socketpair,
        "unix dgram": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "seqpacket": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
        "udp": udp_pair,
        "udp, unconnected": lambda: udp_pair(False),
    }
    READS = {
        "recv": lambda s: s.recv(10),
        "recv_into": lambda s: s.recv_into(bytearray(10)),
        "recvfrom": lambda s: s.recvfrom(10),
        "recvfrom_into": lambda s: s.recvfrom_into(bytearray(10)),
        "recvmsg": lambda s: s.recvmsg(10),
        "recvmsg_into": lambda s: s.recvmsg_into([bytearray(10)]),
        "peek": lambda s: s.recv(10, socket.MSG_PEEK),
        "waitall": lambda s: s.recv(10, socket.MSG_WAITALL),
        "os.read": lambda s: os.read(s.fileno(), 10),
        "os.readv": lambda s: os.readv(s.fileno(), [bytearray(10)]),
    }
    WRITES = {
        "send": lambda s: s.send(bytes(1000)),
        "sendall": lambda s: s.sendall(bytes(1000)),
        "sendmsg": lambda s: s.sendmsg([bytes(1000)]),
        "os.write": lambda s: os.write(s.fileno(), bytes(1000)),
        "os.writev": lambda s: os.writev(s.fileno(), [bytes(1000)]),
    }
    HOW = {"SHUT_RD": socket.SHUT_RD, "SHUT_WR": socket.SHUT_WR, "SHUT_RDWR": socket.SHUT_RDWR}

    def fill(sock):
        sock.setblocking(False)
        outcome(on_and_on, sock.send)
        sock.setblocking(True)

    def on_and_on(send, *args):
        # Until it fails: the kernel may still make some room by moving data to the peer.
        while True:
            send(*(args or [bytes(1000)]))

    def bounded(function, sock, seconds):
        sock.settimeout(seconds)
        return function(sock)
"""


@pytest.mark.parametrize(
    "kind", ["tcp", "unix", "unix dgram", "seqpacket", "udp", "udp, unconnected"]
)
def test_readers(kind: str) -> None:
    same_output(
        _PROGRAM
        + """
    kind = sys.argv[1]
    # What ends reading: one's own SHUT_RD, and of a connection the peer's SHUT_WR.
    ends = [("own", "SHUT_RD"), ("own", "SHUT_RDWR")]
    if kind in ("tcp", "unix", "seqpacket"):
        ends += [("peer", "SHUT_WR"), ("peer", "SHUT_RDWR")]
    for whose, how in ends:
        for name, read in READS.items():
            for others in (1, 3):
                left, right = MAKERS[kind]()
                readers = [Thread(outcome, read, left) for _ in range(others)]
                settle()
                assert all(reader.is_alive() for reader in readers)
                ended = outcome((left if whose == "own" else right).shutdown, HOW[how])
                print(kind, whose, how, name, ended, [reader.end() for reader in readers])
                # And for good.
                print(outcome(read, left), outcome(read, left))
                left.close(); right.close()
    # What has come is read first.
    left, right = MAKERS[kind]()
    for data in (b"one", b"two"):
        right.sendto(data, left.getsockname()) if "uncon" in kind else right.send(data)
    outcome(left.shutdown, socket.SHUT_RD)
    print([outcome(left.recv, 3) for _ in range(4)])
    """,
        kind,
    )


@pytest.mark.parametrize("kind", ["tcp", "unix", "unix dgram", "seqpacket"])
def test_writers(kind: str) -> None:
    same_output(
        _PROGRAM
        + """
    kind = sys.argv[1]
    # What ends writing: one's own SHUT_WR, and of a local connection the peer's SHUT_RD.
    ends = [("own", "SHUT_WR"), ("own", "SHUT_RDWR")]
    if kind in ("unix", "seqpacket"):
        ends += [("peer", "SHUT_RD"), ("peer", "SHUT_RDWR")]
    for whose, how in ends:
        for name, write in WRITES.items():
            for others in (1, 3):
                left, right = MAKERS[kind]()
                fill(left)
                writers = [Thread(outcome, on_and_on, write, left) for _ in range(others)]
                settle()
                outcome((left if whose == "own" else right).shutdown, HOW[how])
                print(kind, whose, how, name, [writer.end() for writer in writers], outcome(write, left))
                left.close(); right.close()
    """,
        kind,
    )


def test_peer_in_another_process() -> None:
    same_output(
        _PROGRAM
        + """
    import subprocess
    for kind in ("unix", "seqpacket"):
        for name, write in WRITES.items():
            left, right = MAKERS[kind]()
            fill(left)
            writer = Thread(outcome, on_and_on, write, left)
            settle()
            assert writer.is_alive()
            code = "import socket, sys; socket.socket(fileno=0).shutdown(int(sys.argv[1]))"
            subprocess.run([sys.executable, "-c", code, str(socket.SHUT_RD)], stdin=right, check=True)
            print(kind, name, writer.end())
    """
    )


def test_time_outs_hold() -> None:
    # With a time-out the C code waits on: the kernel says that there is something to read, and has nothing.
    same_output(
        _PROGRAM
        + """
    for kind in ("unix dgram", "udp"):
        left, right = MAKERS[kind]()
        waiting = Thread(outcome, bounded, READS["recv"], left, 0.2)
        settle()
        left.shutdown(socket.SHUT_RD)
        print(kind, waiting.end(), outcome(bounded, READS["recv"], left, 0.05))
        left.settimeout(0)
        print(outcome(left.recv, 1), outcome(left.recv, 1, socket.MSG_DONTWAIT))
    for kind in ("unix", "seqpacket"):
        left, right = MAKERS[kind]()
        fill(left)
        start = time.monotonic()
        print(outcome(bounded, WRITES["send"], left, 0.2), 0.19 < time.monotonic() - start)
        other, _far_end = MAKERS[kind]()
        fill(other)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 100_000))
        print(outcome(other.send, b"x"), outcome(other.sendall, b"x"))
    """
    )


@both_modes
def test_native_threads(mode: Mode) -> None:
    # OS threads without a hub wait for the kernel by themselves.
    run(
        _PROGRAM
        + """
    start = __import__("greenify").original("_thread").start_new_thread if PATCHED else None
    for kind, make in MAKERS.items():
        left, right = make()
        got, done = [], []
        def read():
            got.append(outcome(left.recv, 10))
            done.append(True)
        if start is None:
            Thread(read)
        else:
            start(read, ())
        time.sleep(0.02)
        assert not got
        outcome(left.shutdown, socket.SHUT_RD)
        limit = time.monotonic() + LONG
        while not done and time.monotonic() < limit:
            time.sleep(0.001)
        assert got == [b""], (kind, got)
        left.close(); right.close()
    """,
        mode,
    )


@pytest.mark.parametrize("kind", ["tcp", "unix", "seqpacket"])
def test_accept(kind: str) -> None:
    same_output(
        _PROGRAM
        + """
    import tempfile
    kind = sys.argv[1]
    folder = tempfile.TemporaryDirectory()
    numbers = iter(range(1000))

    def listener():
        if kind == "tcp":
            return socket.create_server(("127.0.0.1", 0))
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if kind == "unix" else socket.SOCK_SEQPACKET)
        sock.bind(os.path.join(folder.name, str(next(numbers))))
        sock.listen()
        return sock

    def accept(sock):
        sock.accept()[0].close()
        return "accepted"

    def by_itself(sock):
        return sock
    def by_duplicate(sock):
        return sock.dup()
    def by_number(sock):
        return socket.socket(fileno=os.dup(sock.fileno()))

    for way in (by_itself, by_duplicate, by_number):
        for how in ("SHUT_RD", "SHUT_RDWR"):
            for others in (1, 3):
                sock = listener()
                accepting = [Thread(outcome, accept, sock) for _ in range(others)]
                settle()
                assert all(thread.is_alive() for thread in accepting)
                outcome(way(sock).shutdown, HOW[how])
                print(kind, way.__name__, how, [thread.end() for thread in accepting])
                print(outcome(accept, sock), os.get_blocking(sock.fileno()))
                sock.settimeout(0.05)
                print(outcome(accept, sock))
                sock.setblocking(False)
                print(outcome(accept, sock))
                sock.close()
    # The other half does not concern it.
    sock = listener()
    accepting = Thread(outcome, accept, sock)
    settle()
    print(outcome(sock.shutdown, socket.SHUT_WR))
    settle()
    client = socket.socket(sock.family, sock.type)
    print(accepting.is_alive(), outcome(client.connect, sock.getsockname()), accepting.end())
    # What is in the queue comes first, where the kernel has not thrown it away.
    client = socket.socket(sock.family, sock.type)
    client.connect(sock.getsockname())
    sock.shutdown(socket.SHUT_RDWR)
    print(outcome(accept, sock), outcome(accept, sock))
    # By another process, and O_NONBLOCK set while it waits.
    import subprocess
    for flag in (False, True):
        sock = listener()
        accepting = Thread(outcome, accept, sock)
        settle()
        if flag:
            os.set_blocking(sock.fileno(), False)
        code = "import socket; socket.socket(fileno=0).shutdown(socket.SHUT_RDWR)"
        subprocess.run([sys.executable, "-c", code], stdin=sock, check=True)
        print(accepting.end())
    folder.cleanup()
    """,
        kind,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connect_in_progress(host: str) -> None:
    same_output(
        _PROGRAM
        + """
    host = sys.argv[1]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if family == socket.AF_INET6 and not socket.has_ipv6:
        print("no IPv6")
        sys.exit()

    def full():
        # The kernel throws away what it has no room for, and the client asks again in a second.
        server = socket.socket(family)
        server.bind((host, 0))
        server.listen(0)
        waiting = []
        while True:
            client = socket.socket(family)
            client.settimeout(0.1)
            waiting.append(client)
            try:
                client.connect(server.getsockname())
            except TimeoutError:
                return server, waiting

    server, filling = full()
    other = socket.create_server((host, 0), family=family)
    for bound in (False, True):
        for method in ("connect", "connect_ex"):
            for limit in (None, LONG):
                for how in HOW:
                    client = socket.socket(family)
                    if bound:
                        client.bind((host, 0))
                    client.settimeout(limit)
                    connecting = Thread(outcome, getattr(client, method), server.getsockname())
                    settle()
                    assert connecting.is_alive()
                    ended = outcome(client.shutdown, HOW[how])
                    print(bound, method, limit, how, ended, connecting.end())
                    print(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), outcome(client.getpeername))
                    # It is as good as new.
                    client.settimeout(LONG)
                    print(outcome(client.connect, other.getsockname()))
                    client.close()
    for each in (server, other, *filling):
        each.close()
    """,
        host,
    )


def test_local_connect_in_progress() -> None:
    # The kernel does not tell who waits for room in the queue that the own socket has been shut down.
    same_output(
        _PROGRAM
        + """
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        for how in HOW:
            server = socket.socket(socket.AF_UNIX)
            server.bind(os.path.join(folder, how))
            server.listen(0)
            first = socket.socket(socket.AF_UNIX)
            first.connect(server.getsockname())
            client = socket.socket(socket.AF_UNIX)
            connecting = Thread(outcome, client.connect, server.getsockname())
            settle()
            print(outcome(client.shutdown, HOW[how]))
            time.sleep(0.1)
            print(connecting.is_alive())
            server.accept()[0].close()
            print(connecting.end())
            server.accept()[0].close()
            for each in (server, first, client):
                each.close()
    """
    )


def test_likeness() -> None:
    same_output(
        _PROGRAM
        + """
    left, right = socket.socketpair()
    print(outcome(left.shutdown, "x"), outcome(left.shutdown, 7), left.shutdown.__name__)
    print(outcome(socket.socket().shutdown, socket.SHUT_RD))
    left.close()
    print(outcome(left.shutdown, socket.SHUT_RD), left.fileno())
    """
    )
