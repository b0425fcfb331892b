"""HTTP is gunicorn's, and what its thread worker answers is what ours answers."""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from tests.integrations.gunicorn.servers import (
    GREENIFY,
    PROGRAM,
    TIMEOUT,
    all_of,
    both_parsers,
    both_workers,
    needs_gunicorn,
    one_answer,
    serving,
)

pytestmark = needs_gunicorn

OURS = ("-k", GREENIFY)


def exchange(client: socket.socket, sent: bytes) -> bytes:
    """The answers to `sent`, after which nothing more will come."""
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    return all_of(client)


# Requests of which a server in front might see the end elsewhere, and one status for each request
# that gunicorn sees.
ODD: dict[str, tuple[bytes, list[bytes]]] = {
    "pipelined": (
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        [b"200"] * 2,
    ),
    "both lengths": (
        b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        [b"400"],
    ),
    "two lengths": (
        b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        [b"400"],
    ),
    "a signed length": (
        b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab",
        [b"400"],
    ),
    "chunked twice": (
        b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        [b"400"],
    ),
    "an unknown coding": (
        b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        [b"501|400"],  # gunicorn_h1c before 0.6.12 does not tell it apart
    ),
    "a space before the colon": (
        b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\nab",
        [b"400"],
    ),
    "a folded header": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: 5\r\n\r\n",
        [b"400"],
    ),
    "a size that is no number": (
        b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        [b"(400)?"],  # before gunicorn 27 the connection just ends
    ),
    "a body that is not read": (
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n"
        b"GET /in-the-body HTTP/1.1\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        [b"200"] * 2,
    ),
    "no version": (b"GET /\r\n\r\n", [b"400"]),
    "a bare line feed in a name": (b"GET / HTTP/1.1\r\nHo\nst: a\r\n\r\n", [b"400"]),
}


@both_workers
@both_parsers
class TestRequests:
    def test_whose_end_is_in_doubt(
        self, tmp_path: Path, options: tuple[str, ...], parser: tuple[str, ...]
    ) -> None:
        with serving(tmp_path, *options, *parser) as server:
            for name, (sent, expected) in ODD.items():
                with server.connect() as client:
                    answer = exchange(client, sent)
                found = re.findall(rb"HTTP/1\.1 (\d+)", answer)
                assert re.fullmatch(b" ".join(expected), b" ".join(found)), (name, answer)
                assert b"smuggled" not in answer
                assert b"in-the-body" not in answer
            assert server.ask("/well") == "/well"

    def test_bodies_in_chunks(
        self, tmp_path: Path, options: tuple[str, ...], parser: tuple[str, ...]
    ) -> None:
        head = b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        with serving(tmp_path, *options, *parser) as server, server.connect() as client:
            for path, expected in (
                (b"/read", b"b'abcdefgh'"),
                (b"/pieces", b"[b'abc', b'def', b'gh']"),
            ):
                client.sendall(head % path)
                for piece in (b"4\r\nab", b"cd\r\n4;x=y\r", b"\nefgh\r\n0\r\n\r\n"):
                    client.sendall(piece)
                assert one_answer(client)[1] == expected

    def test_that_wait_for_a_hundred(
        self, tmp_path: Path, options: tuple[str, ...], parser: tuple[str, ...]
    ) -> None:
        with serving(tmp_path, *options, *parser) as server, server.connect() as client:
            client.sendall(
                b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
            )
            expected = b"HTTP/1.1 100 Continue\r\n\r\n"
            assert client.recv(len(expected), socket.MSG_WAITALL) == expected
            client.sendall(b"ab")
            assert one_answer(client)[1] == b"b'ab'"


@both_workers
class TestFiles:
    @pytest.mark.parametrize("sendfile", [True, False], ids=["sendfile", "read"])
    def test_is_sent(self, tmp_path: Path, options: tuple[str, ...], sendfile: bool) -> None:
        content = os.urandom(3_000_000)
        (tmp_path / "file").write_bytes(content)
        extra = () if sendfile else ("--no-sendfile",)
        with serving(tmp_path, *options, *extra) as server, server.connect() as client:
            client.sendall(b"GET /file HTTP/1.0\r\n\r\n")
            assert all_of(client).partition(b"\r\n\r\n")[2] == content


class TestListeners:
    def test_tls(self, tmp_path: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(tmp_path / "key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        options = ("--keyfile", "key", "--certfile", "certificate")
        with serving(tmp_path, *OURS, *options) as server:
            # One that never shakes hands, and one that does not speak TLS.
            with server.connect() as silent, server.connect() as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                all_of(plain)
                raw = server.connect()
                with context.wrap_socket(raw, server_hostname="localhost") as client:
                    for _ in range(2):
                        client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
                        assert one_answer(client)[1] == b"x" * 30_000_000
                    assert server.stop() == 0
                    # OpenSSL 3.6 answers an end without a farewell.
                    with suppress(BrokenPipeError):
                        assert client.recv(1) == b""
                assert b"HTTP" not in all_of(silent)  # an alert at most

    def test_several_with_several_workers(self, tmp_path: Path) -> None:
        options = ("--bind", "127.0.0.1:0", "--workers", "3")
        with serving(tmp_path, *OURS, *options) as server:
            server.until("Booting worker", 3)
            (port,) = server.until(r"http://127\.0\.0\.1:(\d+)")
            with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT) as client:
                client.sendall(b"GET /tcp HTTP/1.1\r\nHost: a\r\n\r\n")
                assert one_answer(client)[1] == b"/tcp"
            pids: set[str] = set()
            deadline = time.monotonic() + TIMEOUT
            with ThreadPoolExecutor(9) as pool:
                while len(pids) < 3:
                    assert time.monotonic() < deadline, pids
                    pids.update(pool.map(server.ask, ["/pid"] * 9))


class TestSurroundings:
    def test_statsd(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
            statsd.bind(("127.0.0.1", 0))
            statsd.settimeout(TIMEOUT)
            host = f"127.0.0.1:{statsd.getsockname()[1]}"
            with serving(tmp_path, *OURS, "--statsd-host", host) as server:
                server.ask("/")
                while not statsd.recv(4096).startswith(b"gunicorn.requests:1"):
                    pass

    def test_the_thread_of_a_request(self, tmp_path: Path) -> None:
        program = PROGRAM.replace(
            "return path",
            "return str((threading.current_thread().daemon, environ['wsgi.multithread']))",
        )
        with serving(tmp_path, *OURS, program=program) as server:
            assert server.ask("/") == "(True, True)"
