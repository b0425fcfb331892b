"""TLS: client and server side, as strict and in the same words as without greenify."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import trustme

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

# `certificates` is the folder that the fixture fills.
TLS = """
    import ssl
    certificates = sys.argv[1]
    def path(name):
        return os.path.join(certificates, name + ".pem")

    def server_context(name="server", **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path(name))
        for option, value in options.items():
            setattr(context, option, value)
        return context

    def client_context(**options):
        context = ssl.create_default_context(cafile=path("ca"))
        for option, value in options.items():
            setattr(context, option, value)
        return context

    def tls_pair(server=None, client=None, make=None, **options):
        left, right = (make or tcp_pair)()
        left.settimeout(LONG); right.settimeout(LONG)
        serving = Thread((server or server_context()).wrap_socket, right, server_side=True)
        one = (client or client_context()).wrap_socket(left, server_hostname="localhost", **options)
        return one, serving.end()

    VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

    def of_version(version):
        return tls_pair(server_context(maximum_version=version), client_context(minimum_version=version))
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    made = {
        "server": ca.issue_cert("localhost", "127.0.0.1"),
        "elsewhere": ca.issue_cert("elsewhere.example"),
        "expired": ca.issue_cert("localhost", not_before=past, not_after=past.replace(month=2)),
        "untrusted": other.issue_cert("localhost"),
        "client": ca.issue_cert("client@example.org"),
    }
    for name, certificate in made.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return folder


@both_modes
def test_conversation(mode: Mode, certificates: Path) -> None:
    run(
        TLS
        + """
    for version in VERSIONS:
        client, server = of_version(version)
        assert client.version() == server.version() == version.name.replace("_", ".", 1).replace("_", ".")
        for timeout in (None, LONG):
            client.settimeout(timeout); server.settimeout(timeout)
            b = bytearray(100)
            for receive in (lambda: server.recv(100), lambda: server.read(100),
                lambda: bytes(b[:server.recv_into(b)]),
                            lambda: bytes(b[:server.read(100, b)]),
                                lambda: bytes(b[:server.recv_into(b, 50)]),
                            lambda: server.makefile("rb", buffering=0).read(100)):
                waiting = Thread(receive)
                settle()
                assert waiting.is_alive()
                assert client.send(b"question") == 8
                assert waiting.end() == b"question"
                assert server.write(b"answer") == 6
                assert client.recv(100) == b"answer"
            # A record is read in pieces: what OpenSSL has left is there at once.
            client.sendall(b"abcdef")
            assert [server.recv(1), server.recv(2), server.recv(100)] == [b"a", b"bc", b"def"]
            client.sendall(b"xyz")
            assert server.recv(1) == b"x" and server.pending() == 2
            assert select.select([], [client], [], 0)[1]
            assert server.recv(2) == b"yz"
        assert client.sendall(b"") is None and server.recv(0) == b""
        assert client.getpeercert()["subjectAltName"] == (("DNS", "localhost"), ("IP Address", "127.0.0.1"))
        assert client.cipher() == server.cipher() and client.session is not None
        # The end: a proper shutdown of both sides gives the plain sockets back.
        unwrapping = Thread(server.unwrap)
        settle()
        plain = client.unwrap()
        other = unwrapping.end()
        assert type(plain) is ssl.SSLSocket or type(plain) is socket.socket
        plain.sendall(b"plain again")
        assert other.recv(100) == b"plain again"
        assert outcome(client.read, 1).startswith("ValueError: Read on closed or unwrapped SSL socket")
        assert outcome(client.unwrap).startswith("ValueError: No SSL wrapper around")
        for each in (plain, other, client, server):
            each.close()
    """,
        mode,
        certificates,
    )


def test_both_directions_at_once(certificates: Path) -> None:
    # Not in plain Python, whose two threads run into each other inside OpenSSL and may wait for ever.
    run(
        TLS
        + """
    import hashlib, random
    for version in VERSIONS:
        for make in (tcp_pair, socket.socketpair):
            client, server = tls_pair(server_context(maximum_version=version),
                                      client_context(minimum_version=version), make)
            data = {client: random.Random(1).randbytes(3000000),
                server: random.Random(2).randbytes(3000000)}
            def receive(s):
                got = []
                while sum(map(len, got)) < 3000000:
                    piece = s.recv(random.choice([1000, 16384, 100000]))
                    assert piece
                    got.append(piece)
                return b"".join(got)
            workers = []
            for mine, theirs in ((client, server), (server, client)):
                mine.settimeout(random.choice([None, LONG]))
                workers.append((Thread(receive, mine), data[theirs]))
                workers.append((Thread(mine.sendall, data[mine]), None))
            for worker, expected in workers:
                assert worker.end() == expected
            client.close(); server.close()
    """,
        "patch_all",
        certificates,
    )


def test_who_is_not_trusted(certificates: Path) -> None:
    same_output(
        TLS
        + """
    import re
    def told(exc):
        text = re.sub(r"\\(_ssl.c:\\d+\\)|_ssl.c:\\d+: ", "", str(exc))
        return type(exc).__name__, getattr(exc, "reason", None), getattr(exc, "verify_code", None), text

    def attempt(name, hostname="localhost", client=None, timeout=LONG):
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                connection, _ = server.accept()
                connection.settimeout(LONG)
                try:
                    with server_context(name).wrap_socket(connection, server_side=True) as s:
                        return s.recv(100)
                except OSError as exc:
                    connection.close()
                    return told(exc)
            serving = Thread(serve)
            with socket.create_connection(server.getsockname()) as plain:
                plain.settimeout(timeout)
                try:
                    with (client or client_context()).wrap_socket(plain, server_hostname=hostname) as s:
                        s.sendall(b"trusted")
                        got = "trusted"
                except (OSError, ValueError) as exc:
                    got = told(exc)
            print(name, hostname, timeout, got, serving.end())

    for timeout in (None, LONG):
        attempt("server", timeout=timeout)
        attempt("server", "127.0.0.1", timeout=timeout)
        attempt("server", "elsewhere.example", timeout=timeout)
        attempt("elsewhere", timeout=timeout)
        attempt("elsewhere", "127.0.0.1", timeout=timeout)
        attempt("expired", timeout=timeout)
        attempt("untrusted", timeout=timeout)
    attempt("server", client=ssl.create_default_context())
    attempt("server", None)
    attempt("server", "")
    careless = client_context(check_hostname=False)
    attempt("elsewhere", client=careless)
    careless.verify_mode = ssl.CERT_NONE
    attempt("untrusted", client=careless)
    old = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    attempt("server", client=old)
    print(ssl.create_default_context().verify_mode, ssl.create_default_context().check_hostname)
    print(ssl.SSLContext.sslsocket_class is ssl.SSLSocket, ssl.SSLSocket.__mro__)
    """,
        certificates,
    )


def test_what_goes_wrong(certificates: Path) -> None:
    same_output(
        TLS
        + """
    import re
    def told(function, *args, **kwargs):
        return re.sub(r"\\(_ssl.c:\\d+\\)|_ssl.c:\\d+: |fd=\\d+|0x\\w+|\\d{5}|at \\w+", "",
                      str(outcome(function, *args, **kwargs)))

    # Not TLS at all; an end in the middle of the handshake; at once.
    for answer in (b"HTTP/1.1 400 no\\r\\n\\r\\n", b"\\x16\\x03", b""):
        for timeout in (None, LONG):
            left, right = tcp_pair()
            left.settimeout(timeout)
            def talk():
                right.recv(10000)
                right.sendall(answer)
                outcome(right.shutdown, socket.SHUT_WR)
            talking = Thread(talk)
            print(answer, timeout, told(client_context().wrap_socket, left, server_hostname="localhost"))
            talking.end()
            left.close(); right.close()
    # The peer vanishes without a goodbye.
    for suppress in (True, False):
        for version in VERSIONS:
            client, server = tls_pair(server_context(maximum_version=version), client_context(),
                                      suppress_ragged_eofs=suppress)
            server.sendall(b"last words")
            socket.socket.shutdown(server, socket.SHUT_WR)
            print(suppress, client.recv(100), told(client.recv, 100), told(client.recv_into, bytearray(5)))
            server.close(); client.close()
    # With a goodbye.
    client, server = tls_pair()
    server.sendall(b"last words")
    unwrapping = Thread(outcome, server.unwrap)
    print(client.recv(100), told(client.recv, 100), told(client.recv_into, bytearray(5)))
    client.close()
    unwrapping.end()
    server.close()
    # Misuse.
    left, right = tcp_pair()
    context = client_context()
    print(told(context.wrap_socket, left))
    print(told(context.wrap_socket, left, server_side=True, server_hostname="localhost"))
    with context.wrap_socket(left, server_hostname="localhost", do_handshake_on_connect=False) as s:
        print(told(s.unwrap)[:40], told(s.getpeercert), s.version(), s.pending())
        print(told(s.send, b"x", 1), told(s.sendall, b"x", 1), told(s.recv, 1, 1), told(s.recv_into,
            bytearray(1), 1, 1))
        print(told(s.sendto, b"x", ("", 1)), told(s.recvfrom, 1), told(s.recvfrom_into, bytearray(1)))
        print(told(s.recvmsg, 1), told(s.recvmsg_into, [bytearray(1)]), told(s.sendmsg, [b"x"]),
            told(s.dup))
    print(told(s.read, 1), told(s.write, b"x"), told(s.recv, 1), told(s.send, b"x"),
        told(s.do_handshake), told(s.unwrap)[:40])
    print(told(s.verify_client_post_handshake)[:40])
    right.close()
    with socket.socket() as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as s:
            print(told(s.do_handshake), told(s.read, 1), told(s.send, b"x"), told(s.getpeercert),
                s.cipher())
    with socket.socket(type=socket.SOCK_DGRAM) as plain:
        print(told(context.wrap_socket, plain, server_hostname="localhost"))
    """,
        certificates,
    )


@both_modes
def test_timeouts(mode: Mode, certificates: Path) -> None:
    run(
        TLS
        + """
    def timed(seconds, expected, function, *args, **kwargs):
        start = time.monotonic()
        try:
            function(*args, **kwargs)
        except TimeoutError as exc:
            assert str(exc).endswith(expected), exc
            assert exc.__cause__ is None
        else:
            raise AssertionError("no time-out")
        assert seconds <= time.monotonic() - start < seconds + 5

    # The handshake, either side, and in the middle of it.
    for server_side in (False, True):
        left, right = tcp_pair()
        left.settimeout(0.02)
        context = server_context() if server_side else client_context()
        name = None if server_side else "localhost"
        timed(0.02, "The handshake operation timed out", context.wrap_socket, left,
              server_side=server_side, server_hostname=name)
        left.close(); right.close()
    for version in VERSIONS:
        client, server = of_version(version)
        client.settimeout(0.02)
        timed(0.02, "The read operation timed out", client.recv, 1)
        timed(0.02, "The read operation timed out", client.recv_into, bytearray(1))
        # It works on.
        server.sendall(b"late")
        assert client.recv(100) == b"late"
        try:
            while True:
                start = time.monotonic()
                client.send(bytes(100000))
        except TimeoutError as exc:
            assert str(exc) == "The write operation timed out" and time.monotonic() - start >= 0.02
        client.close(); server.close()
        client, server = of_version(version)
        client.settimeout(0.02)
        timed(0.02, "The read operation timed out", client.unwrap)
        client.close(); server.close()
    # connect() of a socket that was wrapped before.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with client_context().wrap_socket(socket.socket(), server_hostname="localhost") as s:
            s.settimeout(0.02)
            timed(0.02, "The handshake operation timed out", s.connect, listener.getsockname())
        # accept() of a wrapped listener performs the handshake, too.
        listener.settimeout(LONG)
        listener.accept()[0].close()
        with server_context().wrap_socket(listener, server_side=True) as wrapped:
            accepting = Thread(wrapped.accept)
            plain = socket.create_connection(wrapped.getsockname(), LONG)
            with client_context().wrap_socket(plain, server_hostname="localhost") as s:
                connection, _ = accepting.end()
                s.sendall(b"accepted")
                assert connection.recv(100) == b"accepted"
                assert connection.gettimeout() is None
                connection.close()
    """,
        mode,
        certificates,
    )


@both_modes
def test_without_blocking(mode: Mode, certificates: Path) -> None:
    run(
        TLS
        + """
    left, right = tcp_pair()
    left.setblocking(False); right.setblocking(False)
    client = client_context().wrap_socket(left, server_hostname="localhost", do_handshake_on_connect=False)
    server = server_context().wrap_socket(right, server_side=True, do_handshake_on_connect=False)
    assert outcome(server.do_handshake).startswith("SSLWantReadError")
    todo = {client, server}
    while todo:
        for s in list(todo):
            try:
                s.do_handshake()
                todo.discard(s)
            except ssl.SSLWantReadError:
                pass
        select.select(todo, [], [], LONG if len(todo) == 2 else 0.01)
    assert outcome(server.recv, 1).startswith("SSLWantReadError")
    assert outcome(server.recv_into, bytearray(1)).startswith("SSLWantReadError")
    client.send(b"x")
    select.select([server], [], [], LONG)
    assert server.recv(1) == b"x"
    sent = 0
    while True:
        text = outcome(client.send, b"x" * 16384)
        if text != 16384:
            break
        sent += text
    assert text.startswith("SSLWantWriteError"), text
    # The same data has to be offered again.
    server.setblocking(True)
    got = bytearray()
    def read_all():
        while len(got) < sent + 16384:
            got.extend(server.recv(65536))
    reading = Thread(read_all)
    client.settimeout(LONG)
    assert client.send(b"x" * 16384) == 16384
    reading.end()
    assert len(got) == sent + 16384
    # do_handshake(block=True) waits all the same.
    client.close(); server.close()
    left, right = tcp_pair()
    left.setblocking(False)
    client = client_context().wrap_socket(left, server_hostname="localhost", do_handshake_on_connect=False)
    shaking = Thread(client.do_handshake, True)
    settle()
    assert shaking.is_alive()
    server = server_context().wrap_socket(right, server_side=True)
    shaking.end()
    assert client.gettimeout() == 0.0 and not os.get_blocking(client.fileno())
    client.close(); server.close()
    """,
        mode,
        certificates,
    )


@both_modes
def test_sessions_names_and_client_certificates(mode: Mode, certificates: Path) -> None:
    run(
        TLS
        + """
    # Session tickets: 1.3 sends them after the handshake.
    for version in VERSIONS:
        context = client_context(minimum_version=version)
        serving = server_context(maximum_version=version)
        client, server = tls_pair(serving, context)
        server.sendall(b"x")
        assert client.recv(1) == b"x"
        session = client.session
        assert session.has_ticket and not client.session_reused
        client.close(); server.close()
        client, server = tls_pair(serving, context, session=session)
        server.sendall(b"x")
        assert client.recv(1) == b"x"
        assert client.session_reused and server.session_reused
        client.close(); server.close()
    # The server chooses its certificate by the name that it is asked for; the callback may wait.
    names = []
    serving = server_context("elsewhere")
    chosen = server_context("server")
    def choose(s, name, context):
        time.sleep(0.001)
        names.append(name)
        s.context = chosen
    serving.sni_callback = choose
    client, server = tls_pair(serving)
    assert names == ["localhost"] and client.getpeercert()["subjectAltName"][0] == ("DNS", "localhost")
    client.close(); server.close()
    def refuse(s, name, context):
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    serving.sni_callback = refuse
    left, right = tcp_pair()
    refusing = Thread(outcome, serving.wrap_socket, right, server_side=True)
    assert "UNRECOGNIZED_NAME" in outcome(client_context().wrap_socket, left, server_hostname="localhost")
    assert "SSLError" in refusing.end()
    left.close(); right.close()
    # Protocols on top.
    serving, asking = server_context(), client_context()
    serving.set_alpn_protocols(["h2", "http/1.1"]); asking.set_alpn_protocols(["http/1.1"])
    client, server = tls_pair(serving, asking)
    assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "http/1.1"
    assert client.get_channel_binding("tls-unique") == server.get_channel_binding("tls-unique")
    client.close(); server.close()
    # Client certificates, at once and after the handshake.
    for late in (False, True):
        serving = server_context(verify_mode=ssl.CERT_OPTIONAL if late else ssl.CERT_REQUIRED)
        serving.load_verify_locations(path("ca"))
        asking = client_context()
        asking.load_cert_chain(path("client"))
        if late:
            serving.verify_mode = ssl.CERT_REQUIRED
            serving.post_handshake_auth = asking.post_handshake_auth = True
        client, server = tls_pair(serving, asking)
        if late:
            assert not server.getpeercert()
            server.verify_client_post_handshake()
            server.sendall(b"who are you?")
            answering = Thread(lambda: (client.recv(100), client.sendall(b"me")))
            assert server.recv(100) == b"me"
            answering.end()
        else:
            client.sendall(b"me")
            assert server.recv(100) == b"me"
        assert ("email", "client@example.org") in server.getpeercert()["subjectAltName"]
        client.close(); server.close()
    # No certificate where one is wanted.
    serving = server_context(verify_mode=ssl.CERT_REQUIRED, maximum_version=ssl.TLSVersion.TLSv1_2)
    left, right = tcp_pair()
    refusing = Thread(outcome, serving.wrap_socket, right, server_side=True)
    assert "HANDSHAKE_FAILURE" in outcome(client_context().wrap_socket, left, server_hostname="localhost")
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in refusing.end()
    left.close(); right.close()
    """,
        mode,
        certificates,
    )


def test_closed_while_others_wait(certificates: Path) -> None:
    run(
        TLS
        + """
    EBADF = f"OSError: [Errno {errno.EBADF}] {os.strerror(errno.EBADF)}"
    for make in (tcp_pair, socket.socketpair):
        for wait in ("recv", "recv_into", "sendall", "unwrap"):
            client, server = tls_pair(make=make)
            call = {"recv": lambda: server.recv(1), "recv_into": lambda: server.recv_into(bytearray(1)),
                    "sendall": lambda: server.sendall(bytes(1 << 24)),
                    "unwrap": lambda: server.unwrap()}[wait]
            waiting = Thread(outcome, call)
            settle()
            assert waiting.is_alive()
            server.close()
            # OpenSSL knows the socket by its number, which is another file's at once.
            taken = socket.socketpair()
            taken[0].sendall(b"not for OpenSSL")
            assert waiting.end() == EBADF, (wait, waiting.result)
            assert taken[1].recv(100) == b"not for OpenSSL"
            for each in (client, *taken):
                each.close()
    """,
        "patch_all",
        certificates,
    )


def test_patched_late(certificates: Path) -> None:
    run(
        TLS
        + """
    class Mine(ssl.SSLContext):
        made = []
        def wrap_socket(self, *args, **kwargs):
            s = super().wrap_socket(*args, **kwargs)
            self.made.append(s)
            return s
    mine = Mine(ssl.PROTOCOL_TLS_CLIENT)
    mine.load_verify_locations(path("ca"))
    default, serving = client_context(), server_context()
    plain = tcp_pair()
    before = tls_pair(serving, default)
    timed = tls_pair(serving, default)
    timed[0].settimeout(0.02)
    from ssl import SSLSocket
    import greenify
    greenify.patch_all()
    PATCHED = True

    # The known infinite recursion of patched contexts.
    for context in (mine, default, serving, ssl.create_default_context()):
        context.options |= ssl.OP_NO_COMPRESSION
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags |= ssl.VERIFY_X509_STRICT if hasattr(ssl, "VERIFY_X509_STRICT") else 0
        context.verify_mode = context.verify_mode
    ticks = []
    ticker = Thread(lambda: [ticks.append(time.sleep(0.001)) for _ in range(5)])
    waiting = Thread(before[1].recv, 100)
    settle()
    assert waiting.is_alive()
    before[0].sendall(b"made before")
    assert waiting.end() == b"made before"
    start = time.monotonic()
    assert outcome(timed[0].recv, 1) == "TimeoutError: The read operation timed out"
    assert time.monotonic() - start >= 0.02
    for context in (mine, default):
        for left, right in (plain, tcp_pair()):
            serving_thread = Thread(serving.wrap_socket, right, server_side=True)
            client = context.wrap_socket(left, server_hostname="localhost")
            server = serving_thread.end()
            assert type(client) is SSLSocket is ssl.SSLSocket
            waiting = Thread(client.recv, 100)
            settle()
            assert waiting.is_alive()
            server.sendall(b"wrapped later")
            assert waiting.end() == b"wrapped later"
            client.close(); server.close()
            left.close(); right.close()
        plain = tcp_pair()
    assert len(mine.made) == 2
    ticker.end()
    assert len(ticks) == 5
    greenify.restore()
    before[0].sendall(b"restored")
    assert before[1].recv(100) == b"restored"
    for each in (*before, *timed, *plain):
        each.close()
    """,
        False,
        certificates,
    )


@both_modes
def test_fifty_connections(mode: Mode, certificates: Path) -> None:
    run(
        TLS
        + """
    context = client_context()
    serving = server_context()
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        def serve(connection):
            with serving.wrap_socket(connection, server_side=True) as s:
                while data := s.recv(1000):
                    s.sendall(data.upper())
        def accept():
            for _ in range(50):
                Thread(serve, listener.accept()[0])
        accepting = Thread(accept)
        def ask(number):
            with socket.create_connection(listener.getsockname(), LONG) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as s:
                    for _ in range(5):
                        s.sendall(b"question %d" % number)
                        assert s.recv(1000) == b"QUESTION %d" % number
            return number
        asking = [Thread(ask, number) for number in range(50)]
        assert [each.end() for each in asking] == list(range(50))
        accepting.end()
    """,
        mode,
        certificates,
    )


@both_modes
def test_answers(mode: Mode, certificates: Path) -> None:
    """Whoever has written asks the kernel before it reads: nothing that has come is waited for again."""
    run(
        TLS
        + """
    def answers(asking, answering):
        # It waits once, so that the descriptor is registered.
        waiting = Thread(asking.read, 10)
        answering.write(b"1"); assert waiting.end() == b"1"
        # In one piece, in two records, in two halves, and when all was there before the question.
        def answer():
            assert answering.recv(10) == b"question"
            answering.sendall(b"23"); answering.sendall(b"45")
        serving = Thread(answer)
        asking.sendall(b"question")
        assert asking.recv(1) == b"2"
        asking.sendall(b"more")
        assert asking.recv(10) == b"3" and asking.recv(10) == b"45"
        serving.end()
        answering.sendall(b"6"); answering.sendall(b"7")
        asking.sendall(b"again")
        assert asking.recv(10) == b"6"
        asking.sendall(b"again")
        assert asking.recv(10) == b"7"
        assert asking.recv(0) == b"" == asking.read(0)
        asking.sendall(b"last")
        assert asking.recv(0) == b""
        # A question for which there is no answer.
        asking.settimeout(0.01)
        asking.sendall(b"?")
        try:
            asking.recv(10)
            raise SystemExit("something has come")
        except TimeoutError as exc:
            assert str(exc) == "The read operation timed out", exc
        asking.setblocking(False)
        asking.send(b"?")
        try:
            asking.recv(10)
            raise SystemExit("something has come")
        except ssl.SSLWantReadError:
            pass
        asking.settimeout(LONG)
        asking.sendall(b"?")
        # The end; it may be there before the question.
        closing = Thread(asking.recv, 10)
        left = b""
        while not left.endswith(b"last???"):
            left += answering.recv(100)
        answering.close()
        assert closing.end() == b""
        try:
            asking.sendall(b"anybody there?")
        except OSError:
            pass
        try:
            assert asking.recv(10) == b""
        except ConnectionResetError:
            pass
        asking.close()

    for version in VERSIONS:
        client, server = of_version(version)
        answers(client, server)
        client, server = of_version(version)
        answers(server, client)
    """,
        mode,
        certificates,
    )
