"""TLS: who is trusted is decided as `ssl` decides it, and a connection ends as it should."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from greenify.errors import HubError, StreamClosedError, UVConnectionError, UVTimeoutError
from greenify.io import Stream, TCPClient, TCPServer, TCPStream
from greenify.task import Task
from tests.io.conftest import LONG, tcp_pair, tls_pair

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def server_context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[Any, Task[Any]]]:
    """A server that sends back one line; its address and its task."""
    with TCPServer(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept(LONG) as stream:
                stream.start_tls(context, server_side=True)
                stream.write(stream.read_until(b"\n"))

        task: Task[Any] = Task(serve)
        task._observer = lambda task: None
        task.start()
        yield server.address, task
        assert task.join(LONG)


class TestVerification:
    def test_good(self, contexts: Contexts) -> None:
        with serving(contexts[1]) as (address, _):
            with TCPClient(address, tls=contexts[0], server_hostname="localhost") as client:
                client.write(b"hello\n")
                assert client.read_all() == b"hello\n"
                assert client.tls is not None
                certificate = client.tls.getpeercert()
                assert certificate and ("DNS", "localhost") in certificate["subjectAltName"]

    def test_host_of_the_address(self, contexts: Contexts) -> None:
        with serving(contexts[1]) as ((_, port), _):
            with TCPClient(("localhost", port), tls=contexts[0]) as client:
                client.write(b"hello\n")
                assert client.read_all() == b"hello\n"

    @pytest.mark.parametrize("hostname", ["elsewhere.example", None])
    def test_another_host(self, contexts: Contexts, hostname: str | None) -> None:
        """None: the certificate is not for the address 127.0.0.1 either."""
        with serving(contexts[1]) as (address, task):
            with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
                TCPClient(address, tls=contexts[0], server_hostname=hostname)
        # The server has been told why.
        assert isinstance(task.exception, ssl.SSLError)
        assert "alert" in str(task.exception).lower()

    def test_unknown_authority(self, contexts: Contexts) -> None:
        with serving(contexts[1]) as ((_, port), _):
            with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
                TCPClient(("localhost", port), tls=True)

    def test_expired(self, contexts: Contexts, authority: trustme.CA) -> None:
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        leaf = authority.issue_cert("localhost", not_before=now - 2 * day, not_after=now - day)
        with serving(server_context(leaf)) as ((_, port), _):
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                TCPClient(("localhost", port), tls=contexts[0])

    def test_client_certificate(self, contexts: Contexts, authority: trustme.CA) -> None:
        demanding = server_context(authority.issue_cert("localhost"))
        authority.configure_trust(demanding)
        demanding.verify_mode = ssl.CERT_REQUIRED
        client = ssl.create_default_context()
        authority.configure_trust(client)
        with serving(demanding) as ((_, port), task):
            with pytest.raises((ssl.SSLError, UVConnectionError)):
                # In TLS 1.3 the client hears of it when it reads.
                with TCPClient(("localhost", port), tls=client) as stream:
                    stream.read()
        assert "peer did not return a certificate" in str(task.exception)
        authority.issue_cert("me@example.org").configure_cert(client)
        with serving(demanding) as ((_, port), task):
            with TCPClient(("localhost", port), tls=client) as stream:
                stream.write(b"hello\n")
                assert stream.read_all() == b"hello\n"
        assert task.exception is None

    def test_host_name_is_demanded(self, contexts: Contexts) -> None:
        left, right = tcp_pair()
        with left, right, pytest.raises(ValueError, match="check_hostname requires"):
            left.start_tls(contexts[0])

    def test_not_tls_at_all(self, contexts: Contexts) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:
            raw = socket.create_connection(server.address)
            with raw, server.accept(LONG) as stream:
                raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with pytest.raises(ssl.SSLError):
                    stream.start_tls(contexts[1], server_side=True)
                assert stream.closed
                with pytest.raises(StreamClosedError):
                    stream.write(b"x")

    def test_peer_hangs_up(self, contexts: Contexts) -> None:
        left, right = tcp_pair()
        with left, right:
            right.close()
            with pytest.raises((ssl.SSLEOFError, UVConnectionError)):
                left.start_tls(contexts[0], server_hostname="localhost")

    def test_time_limit(self, contexts: Contexts) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:
            with pytest.raises(UVTimeoutError):
                TCPClient(server.address, tls=contexts[0], timeout=0.01)
            server.accept(LONG).abort()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def pair(
    request: pytest.FixtureRequest, authority: trustme.CA
) -> Iterator[tuple[TCPStream, TCPStream]]:
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.minimum_version = client.maximum_version = request.param
    left, right = tls_pair((client, server_context(authority.issue_cert("localhost"))))
    yield left, right
    left.abort()
    right.abort()


class TestConnections:
    def test_both_ways_at_once(self, pair: tuple[Stream, Stream]) -> None:
        from greenify.task import spawn

        left, right = pair
        data = bytes(range(256)) * 8_000
        writers = [spawn(left.write, data), spawn(right.write, data)]
        readers = [spawn(left.read_bytes, len(data)), spawn(right.read_bytes, len(data))]
        for reader in readers:
            assert reader.join(LONG) and reader.result == data
        for writer in writers:
            assert writer.join(LONG)

    def test_farewell(self, pair: tuple[Stream, Stream]) -> None:
        left, right = pair
        left._layer._ragged = False  # type: ignore[union-attr]
        right.write(b"last")
        right.close()
        assert left.read_all() == b"last"

    def test_no_farewell(self, pair: tuple[Stream, Stream]) -> None:
        left, right = pair
        right.write(b"cut")
        assert left.read_bytes(3) == b"cut"
        right._transport.close(None)
        assert left.read() == b""

    def test_no_farewell_as_an_error(
        self, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left, right = tcp_pair()
        # An older CPython (3.11.2) sets it by default where OpenSSL is 3, and then nobody is told.
        ignoring = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        older = bool(contexts[0].options & ignoring)
        monkeypatch.setattr(contexts[0], "options", contexts[0].options & ~ignoring)
        with left, right:
            task: Task[Any] = Task(
                lambda: left.start_tls(
                    contexts[0], server_hostname="localhost", suppress_ragged_eofs=False
                )
            )
            task.start()
            right.start_tls(contexts[1], server_side=True)
            task.join()
            right.write(b"cut")
            assert left.read_bytes(3) == b"cut"
            right._transport.close(None)
            # Without the class of its own there.
            with pytest.raises(ssl.SSLError if older else ssl.SSLEOFError, match=r"(?i)eof"):
                left.read()

    def test_half_closed(self, pair: tuple[Stream, Stream]) -> None:
        left, right = pair
        left.write(b"question")
        left.shutdown()
        assert right.read_all() == b"question"
        right.write(b"answer")
        right.close()
        assert left.read_all() == b"answer"

    def test_twice(self, pair: tuple[Stream, Stream], contexts: Contexts) -> None:
        with pytest.raises(HubError, match="uses TLS already"):
            pair[0].start_tls(contexts[0], server_hostname="localhost")

    def test_started_later(self, contexts: Contexts) -> None:
        """STARTTLS: plain lines first, and what comes right behind them belongs to TLS."""
        left, right = tcp_pair()
        with left, right:

            def serve() -> bytes:
                assert right.read_until(b"\n") == b"STARTTLS\n"
                right.start_tls(contexts[1], server_side=True)
                return right.read_until(b"\n")

            task: Task[bytes] = Task(serve)
            task.start()
            assert left.tls is None
            left.write(b"STARTTLS\n")
            left.start_tls(contexts[0], server_hostname="localhost")
            left.write(b"secret\n")
            assert task.join(LONG) and task.result == b"secret\n"

    def test_with_a_plain_peer(self, contexts: Contexts) -> None:
        """The other side is `ssl` itself, in a thread."""
        import threading

        with socket.create_server(("127.0.0.1", 0)) as listener:
            got: list[bytes] = []

            def serve() -> None:
                sock, _ = listener.accept()
                with contexts[1].wrap_socket(sock, server_side=True) as connection:
                    while data := connection.recv(1000):
                        got.append(data)
                        connection.sendall(data)

            thread = threading.Thread(target=serve)
            thread.start()
            address = ("localhost", listener.getsockname()[1])
            with TCPClient(address, tls=contexts[0]) as client:
                data = bytes(range(256)) * 100
                client.write(data)
                assert client.read_bytes(len(data)) == data
                client.shutdown()
                assert client.read() == b""
            thread.join(LONG)
            assert b"".join(got) == data
