"""SO_LINGER: ``close`` waits until the peer has everything, and the others run meanwhile."""

from __future__ import annotations

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

_PROGRAM = """
    warnings.simplefilter("ignore", ResourceWarning)

    def linger(sock, seconds):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
        return sock

    def fill(sock):
        sock.setblocking(False)
        sent = 0
        try:
            while True:
                sent += sock.send(bytes(65536))
        except BlockingIOError:
            sock.setblocking(True)
        return sent

    def drain(sock):
        return sum(map(len, iter(lambda: sock.recv(65536), b"")))

    def until(condition):
        limit = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < limit
            time.sleep(0.001)

    def is_open(fd):
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True
"""


@both_modes
def test_the_peer_is_a_sibling(mode: Mode) -> None:
    run(
        _PROGRAM
        + """
    def by_hand(sock):
        sock.close()

    def by_with(sock):
        with sock:
            pass

    def by_file(sock):
        # Whoever closes the last file on it waits.
        file = sock.makefile("rb")
        sock.close()
        file.close()

    def inherited(sock):
        sock.close()

    for close in (by_hand, by_with, by_file, inherited):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            if close is inherited:
                linger(listener, 60)
            right = socket.create_connection(listener.getsockname())
            left, _ = listener.accept()
        if close is not inherited:
            linger(left, 60)
        sent = fill(left)
        fd = left.fileno()
        closer = Thread(close, left)
        # For others it is closed at once.
        until(lambda: left.fileno() == -1)
        assert closer.is_alive()
        assert "Bad file descriptor" in outcome(left.send, b"x")
        assert drain(right) == sent
        closer.end()
        assert not is_open(fd)
        right.close()
    """,
        mode,
    )


@both_modes
def test_many_at_once(mode: Mode) -> None:
    run(
        _PROGRAM
        + """
    connections = [tcp_pair() for _ in range(40)]
    sent = [fill(linger(left, 60)) for left, _ in connections]
    closers = [Thread(left.close) for left, _ in connections]
    until(lambda: all(left.fileno() == -1 for left, _ in connections))
    settle()
    assert all(closer.is_alive() for closer in closers)
    # The last one is not held up by those before it.
    for (_, right), count, closer in reversed(list(zip(connections, sent, closers))):
        assert drain(right) == count
        closer.end()
        right.close()
    """,
        mode,
    )


def test_how_it_ends() -> None:
    same_output(
        _PROGRAM
        + """
    # The time is over: the rest is lost.
    left, right = tcp_pair()
    fill(linger(left, 1))
    start = time.monotonic()
    left.close()
    print(0.9 < time.monotonic() - start < 10)
    right.close()
    # No time at all: a reset.
    left, right = tcp_pair()
    fill(linger(left, 0))
    left.close()
    print(outcome(drain, right))
    # Nothing to wait for; not to linger; reset by the peer.
    for seconds in (5, 0, None):
        left, right = tcp_pair()
        if seconds is None:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 5))
        else:
            linger(left, seconds)
        closer = Thread(left.close)
        print(seconds, outcome(right.recv, 1))
        right.close()
        closer.end()
    left, right = tcp_pair()
    fill(linger(left, 5))
    linger(right, 0).close()
    print(left.close())
    # Others know no such thing.
    for left, right in (socket.socketpair(), socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)):
        left.send(b"x")
        print(linger(left, 5).close(), right.recv(1))
    udp = linger(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 5)
    print(udp.close(), udp.close(), udp.fileno())
    # Closed behind its back.
    left, right = tcp_pair()
    os.close(linger(left, 5).fileno())
    print(outcome(left.close), left.fileno())
    """
    )


def test_killed_while_it_lingers() -> None:
    run(
        _PROGRAM
        + """
    from greenify.timeout import Timeout
    left, right = tcp_pair()
    sent = fill(linger(left, 60))
    with Timeout(0.05, False):
        left.close()
        raise AssertionError("not reached")
    assert left.fileno() == -1
    # The native thread goes on, and the peer gets everything.
    assert drain(right) == sent
    # It may come before the thread has begun.
    from greenify.core import native as started
    begun = []
    start = started._start_native
    started._start_native = lambda function, args: begun.append((function, args))
    left, right = tcp_pair()
    fd = left.fileno()
    sent = fill(linger(left, 60))
    with Timeout(0.01, False):
        left.close()
    started._start_native = start
    assert drain(right) == sent
    for function, args in begun:
        start(function, args)
    until(lambda: not is_open(fd))
    """,
        "patch_all",
    )


def test_no_thread_to_be_had() -> None:
    run(
        _PROGRAM
        + """
    from greenify.core import native as started
    def refuse(function, args):
        raise RuntimeError("can't start new thread")
    started._start_native = refuse
    left, right = tcp_pair()
    left.send(b"12")
    linger(left, 5).close()
    assert right.recv(10) == b"12"
    assert right.recv(10) == b""
    """,
        "patch_all",
    )
