"""O_NONBLOCK, set underneath: calls raise BlockingIOError at once though the Python object has no time-out.

The flag belongs to the open file.  It may be set by number, through a duplicate, in another process, or have
been there before the socket object.
"""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

_PROGRAM = """
    import fcntl, subprocess
    warnings.simplefilter("ignore", ResourceWarning)

    def by_set_blocking(sock):
        os.set_blocking(sock.fileno(), False)

    def by_fcntl(sock):
        fcntl.fcntl(sock, fcntl.F_SETFL, fcntl.fcntl(sock, fcntl.F_GETFL) | os.O_NONBLOCK)

    def by_ioctl(sock):
        import termios
        fcntl.ioctl(sock.fileno(), termios.FIONBIO, struct.pack("i", 1))

    def by_duplicate(sock):
        copy = os.dup(sock.fileno())
        os.set_blocking(copy, False)
        os.close(copy)

    def by_socket_dup(sock):
        copy = sock.dup()
        copy.setblocking(False)
        copy.close()

    def by_time_out_of_fromfd(sock):
        copy = socket.fromfd(sock.fileno(), sock.family, sock.type)
        copy.settimeout(5)
        copy.close()

    def by_child(sock):
        subprocess.run([sys.executable, "-c", "import os; os.set_blocking(0, False)"], stdin=sock, check=True)

    WAYS = [by_set_blocking, by_fcntl, by_ioctl, by_duplicate, by_socket_dup, by_time_out_of_fromfd, by_child]

    def udp_pair():
        pair = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for sock in pair:
            sock.bind(("127.0.0.1", 0))
        for sock, other in zip(pair, pair[::-1]):
            sock.connect(other.getsockname())
        return pair

    MAKERS = {
        "tcp": tcp_pair,
        "unix": socket.socketpair,
        "unix dgram": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "seqpacket": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
        "udp": udp_pair,
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
    }
    WRITES = {
        "send": lambda s: s.send(bytes(1000)),
        "sendall": lambda s: s.sendall(bytes(1000)),
        "sendmsg": lambda s: s.sendmsg([bytes(1000)]),
        "os.write": lambda s: os.write(s.fileno(), bytes(1000)),
    }

    def fill(sock):
        sock.setblocking(False)
        outcome(on_and_on, sock.send)
        sock.setblocking(True)

    def on_and_on(send, *args):
        # Until it fails: the kernel may still make some room by moving data to the peer.
        while True:
            send(*(args or [bytes(1000)]))
"""


def test_reading() -> None:
    same_output(
        _PROGRAM
        + """
    for kind, make in MAKERS.items():
        for way in WAYS:
            for used in (False, True):
                if way is by_child and (used or kind == "udp"):
                    continue
                left, right = make()
                if used:
                    # It has waited, and found its buffer empty since.
                    waiting = Thread(right.recv, 10)
                    settle()
                    left.send(b"123")
                    assert waiting.end() == b"123"
                way(right)
                for name, read in READS.items():
                    print(kind, way.__name__, used, name, outcome(read, right), right.gettimeout())
                left.send(b"1234")
                print(right.recv(10, socket.MSG_PEEK), right.recv(10), outcome(right.recv, 10))
                # What one sets, another one may clear.
                os.set_blocking(right.fileno(), True)
                waiting = Thread(right.recv, 10)
                settle()
                assert waiting.is_alive()
                left.send(b"12")
                print(waiting.end())
                left.close(); right.close()
    """
    )


def test_writing() -> None:
    same_output(
        _PROGRAM
        + """
    for kind, make in MAKERS.items():
        if kind == "udp":
            continue  # there is always room
        for way in WAYS:
            left, right = make()
            fill(left)
            way(left)
            for name, write in WRITES.items():
                print(kind, way.__name__, name, outcome(on_and_on, write, left), left.gettimeout())
            left.close(); right.close()
    # A part of it: what a single call says, and what the sum of them says.
    left, right = socket.socketpair()
    by_set_blocking(left)
    print(left.send(bytes(10**7)) < 10**7, outcome(left.sendall, bytes(10**7)), outcome(left.send, b"x"))
    """
    )


def test_other_calls() -> None:
    same_output(
        _PROGRAM
        + """
    import fcntl, tempfile
    # Nobody answers: the queue of the listener is full.
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = listener.getsockname()
    first = socket.create_connection(address)
    for way in WAYS[:2]:
        sock = socket.socket()
        way(sock)
        print(outcome(sock.connect, address), sock.gettimeout(), os.get_blocking(sock.fileno()))
        other = socket.socket()
        way(other)
        print(other.connect_ex(address), os.get_blocking(other.fileno()))
        sock.close(); other.close()
    local = socket.socket(socket.AF_UNIX)
    local.bind("\\0greenify-test-%d" % os.getpid())
    local.listen(0)
    one = socket.socket(socket.AF_UNIX)
    one.connect(local.getsockname())
    two = socket.socket(socket.AF_UNIX)
    by_set_blocking(two)
    print(outcome(two.connect, local.getsockname()), os.get_blocking(two.fileno()))
    # sendfile waits all the same, and leaves the flag as it is.
    left, right = socket.socketpair()
    by_set_blocking(left)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(10**6))
        file.flush()
        file.seek(0)
        reader = Thread(lambda: sum(map(len, iter(lambda: right.recv(1 << 16), b""))))
        print(left.sendfile(file), os.get_blocking(left.fileno()))
    left.close()
    print(reader.end())
    # Found: a socket object that is made for a number.
    left, right = socket.socketpair()
    os.set_blocking(right.fileno(), False)
    found = socket.socket(fileno=right.detach())
    print(found.gettimeout(), outcome(found.recv, 1))
    for unbuffered in (0, -1):
        file = found.makefile("rb", buffering=unbuffered)
        print(outcome(file.read, 1))
    """
    )


@both_modes
def test_who_waits_already(mode: Mode) -> None:
    # The kernel decides when a call begins.
    run(
        _PROGRAM
        + """
    for kind, make in MAKERS.items():
        left, right = make()
        waiting = Thread(right.recv, 10)
        settle()
        by_set_blocking(right)
        settle()
        assert waiting.is_alive()
        left.send(b"12")
        assert waiting.end() == b"12"
        assert "BlockingIOError" in outcome(right.recv, 10)
        left.close(); right.close()
    """,
        mode,
    )


@pytest.mark.parametrize("way", ["set_blocking", "fcntl", "ioctl"])
def test_functions_that_set_it_are_like_the_native_ones(way: str) -> None:
    same_output(
        """
    import fcntl, inspect, pickle, posix, termios
    function = {"set_blocking": os.set_blocking, "fcntl": fcntl.fcntl, "ioctl": fcntl.ioctl}[sys.argv[1]]
    warnings.simplefilter("ignore", ResourceWarning)
    left, right = socket.socketpair()
    calls = [(), (left,), (left, "x"), (left, -1), (-1, 1), (object(), 1), (left.fileno(), 1, 2, 3, 4)]
    calls += [(left, fcntl.F_GETFD), (left.fileno(), fcntl.F_SETFL, 0), (left, termios.FIONREAD, bytes(4))]
    for call in calls:
        if sys.argv[1] == "set_blocking" and not all(isinstance(thing, int) for thing in call):
            continue
        print(len(call), outcome(function, *call))
    print(function.__name__, function.__module__, function.__doc__, pickle.dumps(function))
    buffer = bytearray(4)
    right.send(b"123")
    print(fcntl.ioctl(left.fileno(), termios.FIONREAD, buffer, True), buffer)
    print(posix.set_blocking(left.fileno(), True))
    """,
        way,
    )
