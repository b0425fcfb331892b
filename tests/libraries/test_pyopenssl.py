"""pyOpenSSL on blocking sockets, and urllib3's adapter, with real threads and as green ones."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trustme

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode, running_python, wait_until_asleep

needs("OpenSSL")

READY = """
    from OpenSSL import SSL

    pem, authority = sys.argv[1:3]
    accepting = SSL.Context(SSL.TLS_METHOD)
    accepting.use_certificate_chain_file(pem)
    accepting.use_privatekey_file(pem)
    asking = SSL.Context(SSL.TLS_METHOD)
    asking.load_verify_locations(authority)
    asking.set_verify(SSL.VERIFY_PEER, lambda connection, cert, error, depth, ok: ok)

    def pair(handshake=True):
        left, right = tcp_pair()
        server, client = SSL.Connection(accepting, left), SSL.Connection(asking, right)
        server.set_accept_state()
        client.set_connect_state()
        if handshake:
            thread = Thread(server.do_handshake)
            client.do_handshake()
            thread.end()
        return server, client
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The server's certificate and key, and the authority's certificate."""
    folder = tmp_path_factory.mktemp("keys")
    authority = trustme.CA()
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        folder / "server.pem"
    )
    authority.cert_pem.write_to_path(folder / "authority.pem")
    return folder / "server.pem", folder / "authority.pem"


@both_modes
class TestPyOpenSSL:
    def test_transfers(self, mode: Mode, keys: tuple[Path, Path]) -> None:
        check(
            READY
            + """
    server, client = pair(handshake=False)
    def later(function, *args):
        time.sleep(0.05)
        return function(*args)
    thread = Thread(later, server.do_handshake)
    ticks_during(client.do_handshake)
    thread.end()
    thread = Thread(later, server.send, b"hello")
    assert ticks_during(client.recv, 100) == b"hello"
    thread.end()
    buffer = bytearray(3)
    thread = Thread(later, server.send, b"abcdef")
    assert ticks_during(client.recv, 3, socket.MSG_PEEK) == b"abc"
    assert client.recv_into(buffer) == 3 and buffer == b"abc" and client.read(10) == b"def"
    assert thread.end() == 6
    # More than the buffers of both hold.
    data = os.urandom(1 << 24)
    def receive():
        time.sleep(0.05)
        received = bytearray()
        while len(received) < len(data):
            received += client.recv(65536)
        return received
    thread = Thread(receive)
    assert ticks_during(server.sendall, data) == len(data)
    assert thread.end() == data
    assert server.sendall(b"") == 0
    assert not server.shutdown()
    assert outcome(client.recv, 10).startswith("ZeroReturnError")
    client.shutdown()
    assert server.shutdown()
    for each in (server, client):
        each.close()
            """,
            mode,
            *keys,
        )

    def test_many_at_once_and_both_ways(self, mode: Mode, keys: tuple[Path, Path]) -> None:
        check(
            READY
            + """
    def talk(number):
        server, client = pair()
        def serve():
            for _ in range(5):
                data = server.recv(100)
                time.sleep(0.02)
                server.send(data.upper())
            server.shutdown()
        thread = Thread(serve)
        for turn in range(5):
            client.sendall(b"x%d-%d" % (number, turn))
            assert client.recv(100) == b"X%d-%d" % (number, turn)
        thread.end()
        server.close(); client.close()
    for thread in [Thread(talk, number) for number in range(10)]:
        thread.end()
            """,
            mode,
            *keys,
        )

    def test_time_outs_and_errors(self, mode: Mode, keys: tuple[Path, Path]) -> None:
        check(
            READY
            + """
    server, client = pair()
    sock = client.get_app_data() or client._socket
    for timeout in (0.0, 5.0):
        sock.settimeout(timeout)
        assert outcome(client.recv, 10).startswith("WantReadError")
    sent = 0
    try:
        while True:
            sent += client.send(bytes(10_000))
    except SSL.WantWriteError:
        assert sent
    sock.settimeout(None)
    sock.setblocking(True)
    thread = Thread(lambda: len(server.recv(100)))
    assert thread.end() == 100
    # Somebody has told the kernel.
    server.close()
    client.close()
    server, client = pair()
    os.set_blocking(client.fileno(), False)
    assert outcome(client.recv, 10).startswith("WantReadError")
    os.set_blocking(client.fileno(), True)
    server._socket.close()
    assert outcome(client.recv, 10).startswith("SysCallError: (-1, 'Unexpected EOF')")
    client.close()
    # The other side speaks no TLS.
    left, right = tcp_pair()
    connection = SSL.Connection(asking, right)
    connection.set_connect_state()
    left.send(b"hello, this is not TLS at all" * 3)
    assert outcome(connection.do_handshake).startswith("Error: [(")
    left.close(); connection.close()
    # In memory.
    connection = SSL.Connection(asking, None)
    connection.set_connect_state()
    assert outcome(connection.do_handshake).startswith("WantReadError")
    assert connection.bio_read(10)
            """,
            mode,
            *keys,
        )

    def test_urllib3(self, mode: Mode, keys: tuple[Path, Path]) -> None:
        needs("urllib3")
        out = check(
            READY
            + """
    warnings.simplefilter("ignore", DeprecationWarning)
    import urllib3, urllib3.contrib.pyopenssl
    urllib3.contrib.pyopenssl.inject_into_urllib3()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    def answer(sock):
        connection = SSL.Connection(accepting, sock)
        connection.set_accept_state()
        connection.do_handshake()
        request = b""
        while b"\\r\\n\\r\\n" not in request:
            request += connection.recv(4096)
        if b"/slow" in request:
            done.wait(LONG)
        time.sleep(0.05)
        body = b"x" * 100_000
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n"
                           % len(body) + body)
        connection.shutdown()
        connection.close()
    done = threading.Event()
    def serve():
        for _ in range(11):
            sock, _ = listener.accept()
            threads.append(Thread(answer, sock))
    threads = []
    serving = Thread(serve)
    pool = urllib3.HTTPSConnectionPool("127.0.0.1", port, maxsize=10, ca_certs=authority,
                                       retries=False, timeout=LONG)
    asking_ = [Thread(pool.request, "GET", f"/{n}") for n in range(10)]
    assert all(len(thread.end().data) == 100_000 for thread in asking_)
    print(outcome(pool.request, "GET", "/slow", timeout=0.2).partition(":")[0])
    done.set()
    serving.end()
    pool.close(); listener.close()
            """,
            mode,
            *keys,
        )
        assert out.strip() == "ReadTimeoutError"


def test_ctrl_c() -> None:
    """With real threads it has to wait for the call: OpenSSL goes on reading after EINTR."""
    with running_python(
        """
        import signal, socket, sys, threading
        from OpenSSL import SSL
        signal.signal(signal.SIGINT, signal.default_int_handler)
        context = SSL.Context(SSL.TLS_METHOD)
        left, right = socket.socketpair()
        connection = SSL.Connection(context, right)
        connection.set_connect_state()
        print("waiting", flush=True)
        try:
            connection.do_handshake()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """,
        greenify="patch_all",
    ) as child:
        assert child.readline() == "waiting"
        wait_until_asleep(child.pid)
        child.process.send_signal(signal.SIGINT)
        assert child.readline() == "interrupted"
        assert child.wait() == 0
