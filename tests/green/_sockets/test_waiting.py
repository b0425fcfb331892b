"""Blocking socket calls: each waits for what it should, as long as it should, while other threads run."""

from __future__ import annotations

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode


@both_modes
def test_every_method_that_receives(mode: Mode) -> None:
    run(
        """
    def receivers(s):
        b = bytearray(100)
        c = bytearray(2), bytearray(98)
        yield lambda: s.recv(100)
        yield lambda: bytes(b[:s.recv_into(b)])
        yield lambda: bytes(b[:s.recv_into(b, 50)])
        yield lambda: bytes(b[:s.recv_into(memoryview(b)[:60])])
        yield lambda: s.recvfrom(100)[0]
        yield lambda: bytes(b[:s.recvfrom_into(b)[0]])
        yield lambda: bytes(b[:s.recvfrom_into(b, 70)[0]])
        yield lambda: s.recvmsg(100)[0]
        def scattered():
            count = s.recvmsg_into(c)[0]
            return bytes(c[0] + c[1])[:count]
        yield scattered
        yield lambda: s.makefile("rb", buffering=0).read(100)
        yield lambda: s.recv(5, socket.MSG_WAITALL)
        yield lambda: s.recvmsg(5, 100, socket.MSG_WAITALL)[0]
        yield lambda: s.recv(100, socket.MSG_PEEK) and s.recv(100)

    def datagrams():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", 0))
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect(receiver.getsockname())
        return sender, receiver

    for name, (left, right) in (*pairs(), ("udp", datagrams()),
                                ("unix datagrams", socket.socketpair(type=socket.SOCK_DGRAM))):
        for timeout in (None, LONG):
            right.settimeout(timeout)
            for number, receive in enumerate(receivers(right)):
                waiting = Thread(receive)
                settle()
                what = name, timeout, number
                assert waiting.is_alive(), what
                left.send(b"12345")
                waiting.join(LONG)
                assert not waiting.is_alive(), what
                assert waiting.end() == b"12345", what
                left.send(b"67890")
                assert receive() == b"67890", what
        left.close(); right.close()
    """,
        mode,
        timeout=30,
    )


@both_modes
def test_every_method_that_sends(mode: Mode) -> None:
    run(
        """
    large = bytes(range(256)) * 4096  # 1 MiB: more than any socket buffer
    def read(s, size):
        parts = []
        while size:
            parts.append(s.recv(min(size, 1 << 20)))
            size -= len(parts[-1])
            assert parts[-1]
        return b"".join(parts)

    import array, ctypes, mmap, tempfile
    class Structure(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int16 * (len(large) // 2))]
    for name, (left, right) in pairs():
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        # A blocking stream takes all of it, whatever kind of buffer it is.
        for make in (bytes, bytearray, memoryview, lambda data: array.array("d", data),
                     lambda data: memoryview(data).cast("H"), Structure.from_buffer_copy,
                     lambda data: memoryview(data).cast("B", (1024, 1024))):
            data = make(large)
            for send in (left.send, left.sendall, lambda data: left.sendmsg([data])):
                waiting = Thread(send, data)
                settle()
                assert waiting.is_alive()
                assert read(right, len(large)) == large
                assert waiting.end() in (None, len(large))
        waiting = Thread(left.sendmsg, [large[:1000], b"", large[1000:700000], large[700000:], b""])
        assert read(right, len(large)) == large
        assert waiting.end() == len(large)
        if name == "tcp":
            waiting = Thread(left.sendto, large, right.getsockname())
            assert read(right, len(large)) == large
            assert waiting.end() == len(large)
        with tempfile.TemporaryFile() as file:
            file.write(large)
            for start, count in ((0, None), (5, 800000), (0, None)):
                file.seek(start)
                size = len(large) - start if count is None else count
                waiting = Thread(left.sendfile, file, start, count)
                assert read(right, size) == large[start:start + size]
                assert waiting.end() == size
                assert file.tell() == start + size
        import io
        file = io.BytesIO(large)
        waiting = Thread(left.sendfile, file)
        assert read(right, len(large)) == large
        assert waiting.end() == len(large)
        assert os.get_blocking(left.fileno()) and os.get_blocking(right.fileno())
        # With a time-out the kernel takes what it has room for.
        left.settimeout(LONG)
        sent = left.send(large)
        assert 0 < sent < len(large)
        assert read(right, sent) == large[:sent]
        sent = left.sendmsg([large, large])
        assert 0 < sent < len(large)
        read(right, sent)
        waiting = Thread(left.sendall, large)
        assert read(right, len(large)) == large
        assert waiting.end() is None
        assert left.send(b"") == 0 and left.sendall(b"") is None and left.sendmsg([]) == 0
        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_flags(mode: Mode) -> None:
    run(
        """
    AGAIN = f"BlockingIOError: [Errno {errno.EAGAIN}] {os.strerror(errno.EAGAIN)}"
    DONTWAIT, WAITALL, PEEK = socket.MSG_DONTWAIT, socket.MSG_WAITALL, socket.MSG_PEEK
    for name, (left, right) in pairs():
        b = bytearray(10)
        for method, arguments in ((right.recv, (10,)), (right.recv_into, (b, 10)), (right.recvfrom, (10,)),
                                  (right.recvfrom_into, (b, 10)), (right.recvmsg, (10, 10)),
                                  (right.recvmsg_into, ([b], 10))):
            for flags in (DONTWAIT, DONTWAIT | PEEK, DONTWAIT | WAITALL):
                assert outcome(method, *arguments, flags) == AGAIN, (name, method.__name__)
            # A time-out comes first, as the C code waits before it calls.
            right.settimeout(0.01)
            start = time.monotonic()
            assert outcome(method, *arguments, DONTWAIT) == "TimeoutError: timed out"
            assert time.monotonic() - start >= 0.01
            right.settimeout(None)
        if hasattr(socket, "MSG_ERRQUEUE") and name == "tcp":
            assert outcome(right.recvmsg, 10, 100, socket.MSG_ERRQUEUE) == AGAIN
        while True:
            try:
                left.send(bytes(100000), DONTWAIT)
            except BlockingIOError:
                break
        for method, arguments in ((left.send, (b"x" * 100000,)), (left.sendall, (b"x" * 100000,)),
                                  (left.sendmsg, ([b"x" * 100000], ()))):
            assert outcome(method, *arguments, DONTWAIT) == AGAIN, method.__name__
        while True:
            try:
                right.recv(100000, DONTWAIT)
            except BlockingIOError:
                break

        def slowly():
            for _ in range(5):
                left.send(b"abc")
                time.sleep(0.002)
        for receive in (lambda: right.recv(15, WAITALL), lambda: right.recvfrom(15, WAITALL)[0],
                        lambda: right.recvmsg(15, 0, WAITALL)[0],
                        # (The kernel does not wait when it peeks into a local socket.)
                        lambda: (name == "unix" or right.recv(15, WAITALL | PEEK))
                        and right.recv(15, WAITALL),
                        lambda: bytes(big[:right.recv_into(big, 0, WAITALL)]),
                        lambda: bytes(big[:right.recvfrom_into(big, 15, WAITALL)[0]]),
                        lambda: bytes(big[:right.recvmsg_into([memoryview(big)[:4], memoryview(big)[4:]],
                                                              0, WAITALL)[0]])):
            big = bytearray(15)
            waiting = Thread(receive)
            slowly()
            assert waiting.end() == b"abc" * 5
        assert outcome(right.recv, -1, WAITALL) == "ValueError: negative buffersize in recv"
        assert right.recv(0, WAITALL) == b""
        assert outcome(right.recv_into, b, 20, WAITALL).startswith("ValueError: ")
        # The end of the stream comes first.
        waiting = Thread(right.recv, 15, WAITALL)
        settle()
        left.send(b"abc")
        settle()
        assert waiting.is_alive()
        left.shutdown(socket.SHUT_WR)
        assert waiting.end() == b"abc"
        assert right.recv(15, WAITALL) == b"" and right.recv(5, WAITALL | PEEK) == b""
        left.close(); right.close()
    """,
        mode,
    )


@both_modes
def test_kernel_time_limits(mode: Mode) -> None:
    run(
        """
    for name, (left, right) in pairs():
        limit = struct.pack("@ll", 0, 20000)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        start = time.monotonic()
        assert outcome(right.recv, 1).startswith("BlockingIOError: [Errno 11]")
        assert 0.02 <= time.monotonic() - start < 10
        start = time.monotonic()
        sent = 0
        while True:
            got = outcome(left.send, bytes(1000000))
            if isinstance(got, str):
                break
            sent += got
        assert got.startswith("BlockingIOError: [Errno 11]"), got
        assert 0.02 <= time.monotonic() - start < 10
        # A time-out of the socket's own takes its place.
        right.settimeout(None)
        while sent:
            sent -= len(right.recv(sent))
        right.settimeout(0.05)
        start = time.monotonic()
        assert outcome(right.recv, 1) == "TimeoutError: timed out"
        assert time.monotonic() - start >= 0.05
        right.settimeout(None)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 0))
        waiting = Thread(right.recv, 1)
        time.sleep(0.05)
        assert waiting.is_alive()
        left.settimeout(LONG)
        left.send(b"x")
        assert waiting.end() == b"x"
        left.close(); right.close()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        assert outcome(server.accept).startswith("BlockingIOError: [Errno 11]")
        with socket.create_connection(server.getsockname()) as client:
            connection, _ = server.accept()
            # The kernel hands it down.
            assert outcome(connection.recv, 1).startswith("BlockingIOError: [Errno 11]")
            connection.close()
    """,
        mode,
    )


def test_kernel_time_limits_everywhere() -> None:
    same_output(
        """
    import tempfile
    LIMIT = struct.pack("@ll", 0, 50000)
    RECEIVING, SENDING = socket.SO_RCVTIMEO, socket.SO_SNDTIMEO
    folder = tempfile.TemporaryDirectory()
    numbers = iter(range(100))

    def listener(kind, backlog=0):
        if kind in ("tcp", "tcp6"):
            server = socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_INET6)
            server.bind(("127.0.0.1" if kind == "tcp" else "::1", 0))
        else:
            server = socket.socket(socket.AF_UNIX, getattr(socket, "SOCK_" + kind))
            server.bind(os.path.join(folder.name, str(next(numbers))))
        server.listen(backlog)
        return server

    def limited(sock, *options):
        for option in options:
            sock.setsockopt(socket.SOL_SOCKET, option, LIMIT)
        return sock

    def measured(function, *args):
        start = time.monotonic()
        result = outcome(function, *args)
        return result, 0.05 <= time.monotonic() - start < LONG

    for kind in ("tcp", "STREAM", "SEQPACKET"):
        # A listener: its receiving one limits accept, for each call anew, and is handed down.
        server = limited(listener(kind), RECEIVING)
        print(kind, [measured(server.accept) for _ in range(2)])
        client = socket.socket(server.family, server.type)
        client.connect(server.getsockname())
        connection, _ = server.accept()
        inherited, own = (each.getsockopt(socket.SOL_SOCKET, RECEIVING, 16) for each in (connection, server))
        print(inherited == own)
        limited(connection, RECEIVING)
        print([measured(getattr(connection, name), *args) for name, args in (
            ("recv", (1,)), ("recv_into", (bytearray(1),)), ("recvfrom", (1,)), ("recvmsg", (1,)))])
        # The other one says nothing of it, nor does the peer's.
        other = limited(listener(kind), SENDING)
        accepting = Thread(lambda: other.accept()[0].close())
        receiving = Thread(limited(client, SENDING).recv, 1)
        time.sleep(0.1)
        print(accepting.is_alive(), receiving.is_alive())
        connection.close()
        late = socket.socket(other.family, other.type)
        late.connect(other.getsockname())
        print(outcome(accepting.end), outcome(receiving.end))
        for each in (server, client, other, late):
            each.close()
    # Both ends of a connection of datagrams, and one that is sent to a full one.
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    limited(left, RECEIVING, SENDING)
    print(measured(left.recvfrom, 1))
    def fill():
        while True:
            left.send(bytes(1000))
    print(measured(fill), measured(left.sendmsg, [b"x"]))
    left.close(); right.close()
    # Connecting, to who has no room.
    for kind in ("STREAM", "SEQPACKET", "tcp"):
        server = listener(kind)
        waiting = []
        for _ in range(5):
            client = limited(socket.socket(server.family, server.type), SENDING)
            waiting.append(client)
            found = measured(client.connect, server.getsockname())
            if found[0] is not None:
                break
        print(kind, found)
        for method in ("connect", "connect_ex"):
            client = limited(socket.socket(server.family, server.type), SENDING)
            waiting.append(client)
            call = getattr(client, method)
            print(kind, method, [measured(call, server.getsockname()) for _ in range(2)])
        for each in (server, *waiting):
            each.close()
    folder.cleanup()
    """
    )


@both_modes
def test_timeouts(mode: Mode) -> None:
    run(
        """
    for name, (left, right) in pairs():
        b = bytearray(1)
        for method, arguments in ((right.recv, (1,)), (right.recv_into, (b,)), (right.recvfrom, (1,)),
                                  (right.recvfrom_into, (b,)), (right.recvmsg, (1,)),
                                  (right.recvmsg_into, ([b],))):
            for seconds in (1e-6, 0.001, 0.0123):
                right.settimeout(seconds)
                start = time.monotonic()
                try:
                    method(*arguments)
                except TimeoutError as exc:
                    assert type(exc) is socket.timeout and exc.args == ("timed out",)
                    assert exc.__context__ is None
                else:
                    raise AssertionError
                assert time.monotonic() - start >= seconds
            left.send(b"x")
            time.sleep(0.001)
            method(*arguments)
        # It counts anew for every call.
        right.settimeout(0.3)
        def slowly():
            for _ in range(10):
                time.sleep(0.05)
                left.send(b"x")
        sender = Thread(slowly)
        for _ in range(10):
            assert right.recv(1) == b"x"
        sender.end()
        # Many operations within one long time-out, then one that is over.
        right.settimeout(0.05)
        for _ in range(200):
            left.send(b"x")
            assert right.recv(10) == b"x"
        start = time.monotonic()
        assert outcome(right.recv, 1) == "TimeoutError: timed out"
        assert time.monotonic() - start >= 0.05
        # A shorter and a longer one after it.
        for seconds in (0.03, 0.06, 0.01):
            right.settimeout(seconds)
            start = time.monotonic()
            assert outcome(right.recv, 1) == "TimeoutError: timed out"
            assert time.monotonic() - start >= seconds
        # sendall has one deadline for the whole, however often the kernel takes a little more.
        left.settimeout(0.2)
        stop = []
        def sip():
            right.settimeout(0.01)
            while not stop:
                outcome(right.recv, 4096)
                time.sleep(0.005)
        sipper = Thread(sip)
        start = time.monotonic()
        assert outcome(left.sendall, bytes(1 << 26)) == "TimeoutError: timed out"
        assert 0.2 <= time.monotonic() - start < 5
        start = time.monotonic()
        while True:
            got = outcome(left.send, bytes(1 << 20))
            if got == "TimeoutError: timed out" or time.monotonic() - start > 1:
                break
        stop.append(True)
        sipper.end()
        left.close(); right.close()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        start = time.monotonic()
        assert outcome(server.accept) == "TimeoutError: timed out"
        assert time.monotonic() - start >= 0.01
        client = socket.create_connection(server.getsockname(), timeout=LONG)
        connection, _ = server.accept()
        assert connection.gettimeout() is None and client.gettimeout() == LONG
        assert os.get_blocking(connection.fileno()) and not os.get_blocking(client.fileno())
        client.close(); connection.close()
    """,
        mode,
    )


@both_modes
def test_nonblocking_sockets_are_left_alone(mode: Mode) -> None:
    run(
        """
    AGAIN = f"BlockingIOError: [Errno {errno.EAGAIN}] {os.strerror(errno.EAGAIN)}"
    for name, (left, right) in pairs():
        b = bytearray(1)
        left.setblocking(False); right.setblocking(False)
        for method, arguments in ((right.recv, (1,)), (right.recv_into, (b,)), (right.recvfrom, (1,)),
                                  (right.recvfrom_into, (b,)), (right.recvmsg, (1,)),
                                  (right.recvmsg_into, ([b],)), (right.recv, (1, socket.MSG_WAITALL))):
            assert outcome(method, *arguments) == AGAIN
        sent = 0
        while True:
            got = outcome(left.send, bytes(1 << 20))
            if got == AGAIN:
                break
            sent += got
        assert outcome(left.sendall, b"x" * (1 << 20)) == AGAIN
        assert outcome(left.sendmsg, [b"x" * (1 << 20)]) == AGAIN
        file = right.makefile("rb", buffering=0)
        while sent > 0:
            sent -= len(file.read(1 << 20))
        left.close(); file.close(); right.close()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        assert outcome(server.accept) == AGAIN
        client = socket.socket()
        client.setblocking(False)
        assert client.connect_ex(server.getsockname()) == errno.EINPROGRESS
        assert select.select([], [client], [], LONG)[1]
        connection, _ = server.accept()
        assert connection.getblocking() and client.gettimeout() == 0.0
        client.close(); connection.close()
    # Through another socket object, too.
    left, right = socket.socketpair()
    right.setblocking(False)
    with socket.fromfd(right.fileno(), right.family, right.type) as other:
        assert not os.get_blocking(other.fileno())
        other.setblocking(False)
        assert outcome(other.recv, 1) == AGAIN
    left.close(); right.close()
    """,
        mode,
    )
