"""Connections that are kept alive and silent: they give up their threads, and lose nothing by it."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from greenify.integrations.gunicorn import connections
from greenify.integrations.gunicorn.connections import PATIENCE
from tests.integrations.gunicorn.servers import (
    GREENIFY,
    TIMEOUT,
    Server,
    all_of,
    both_parsers,
    needs_gunicorn,
    one_answer,
    serving,
)

pytestmark = needs_gunicorn

OPTIONS = ("-k", GREENIFY, "--keep-alive", "600")
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
LONGER = 2 * PATIENCE


def answered(client: socket.socket, path: bytes) -> None:
    client.sendall(GET % path)
    assert one_answer(client)[1] == b"/" + path


def wait_for_parking(server: Server) -> None:
    """Until only the request that asks has a thread."""
    deadline = time.monotonic() + TIMEOUT
    while server.ask("/threads") != "1":
        assert time.monotonic() < deadline
        time.sleep(PATIENCE / 4)


@both_parsers
def test_silent_ones_have_no_threads(tmp_path: Path, parser: tuple[str, ...]) -> None:
    with serving(tmp_path, *OPTIONS, *parser) as server, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for round_ in (b"one", b"two"):
            for client in clients:
                answered(client, round_)
            wait_for_parking(server)
        # The next request in two parts, with a silence in which a connection would be parked.
        for client in clients:
            client.sendall((GET % b"three")[:20])
        time.sleep(LONGER)
        for client in clients:
            client.sendall((GET % b"three")[20:])
        assert {one_answer(client)[1] for client in clients} == {b"/three"}
        # Several at once, of which the last are read together with the first.
        for client in clients:
            client.sendall(GET % b"four" + GET % b"five")
        for path in (b"/four", b"/five"):
            assert {one_answer(client)[1] for client in clients} == {path}
        wait_for_parking(server)
        assert server.stop() == 0
        assert {all_of(client) for client in clients} == {b""}


def test_the_more_the_sooner(tmp_path: Path) -> None:
    """The patience of one thread is for ever here, and that of twenty a moment."""
    (tmp_path / "conf.py").write_text(
        "from greenify.integrations.gunicorn import connections\n"
        "connections.FEW, connections.PATIENCE = 1, 500.0\n"
    )
    with serving(tmp_path, *OPTIONS, "-c", "conf.py") as server, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(50)]
        for client in clients:
            answered(client, b"one")
        deadline = time.monotonic() + TIMEOUT
        while int(server.ask("/threads")) > 30:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for client in clients:
            answered(client, b"two")
        # Who asks again so soon is busy, and not parked sooner for that there are many.
        time.sleep(LONGER)
        assert server.ask("/threads") == "51"
    many = 10 * connections.FEW
    assert connections.patience(connections.FEW, busy=False) == PATIENCE
    assert connections.patience(many, busy=False) == pytest.approx(PATIENCE / 100)
    assert connections.patience(many, busy=True) == PATIENCE


@both_parsers
def test_what_is_under_way_is_not_parked(tmp_path: Path, parser: tuple[str, ...]) -> None:
    with (
        serving(tmp_path, *OPTIONS, *parser) as server,
        server.connect() as head,
        server.connect() as body,
    ):
        answered(head, b"one")
        head.sendall((GET % b"two")[:20])
        body.sendall(b"POST /three HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        assert one_answer(body)[1] == b"/three"  # the application does not read the body
        time.sleep(LONGER)
        head.sendall((GET % b"two")[20:])
        assert one_answer(head)[1] == b"/two"
        body.sendall(b"67890")
        answered(body, b"four")


@both_parsers
def test_what_has_come_with_the_request_before(tmp_path: Path, parser: tuple[str, ...]) -> None:
    """A part of the next head is read together with a request, and the rest comes after a silence."""
    post = b"POST /read HTTP/1.1\r\nHost: a\r\n"
    with serving(tmp_path, *OPTIONS, *parser) as server, ExitStack() as stack:
        clients = []
        for first in (
            GET % b"one",
            post + b"Content-Length: 2\r\n\r\nab",
            post + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ):
            for length in (1, 20):
                clients.append((stack.enter_context(server.connect()), length))
                clients[-1][0].sendall(first + (GET % b"two")[:length])
        for client, _ in clients:
            assert one_answer(client)[1] in (b"/one", b"b'ab'")
        time.sleep(LONGER)
        for client, length in clients:
            client.sendall((GET % b"two")[length:])
            assert one_answer(client)[1] == b"/two"
        wait_for_parking(server)


@both_parsers
def test_after_bodies(tmp_path: Path, parser: tuple[str, ...]) -> None:
    """Bodies that came after their heads, and were read to the end, keep no thread either."""
    head = b"POST /read HTTP/1.1\r\nHost: a\r\n"
    bodies = {
        b"Content-Length: 4\r\n\r\n": (b"ab", b"cd"),
        b"Transfer-Encoding: chunked\r\n\r\n": (b"2\r\nab\r\n", b"2\r\ncd\r\n0\r\n\r\n"),
    }
    with serving(tmp_path, *OPTIONS, *parser) as server, ExitStack() as stack:
        clients = {stack.enter_context(server.connect()): kind for kind in bodies}
        for _ in range(2):
            for client, kind in clients.items():
                client.sendall(head + kind)
                for part in bodies[kind]:
                    time.sleep(LONGER)  # neither is a connection that waits for its body silent
                    client.sendall(part)
                assert one_answer(client)[1] == b"b'abcd'"
            wait_for_parking(server)


def test_of_a_local_client_and_of_one_by_tcp(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = (*OPTIONS, "--bind", f"127.0.0.1:{port}")
    with (
        serving(tmp_path, *options) as server,
        server.connect() as local,
        socket.create_connection(("127.0.0.1", port), TIMEOUT) as remote,
    ):
        for path in (b"one", b"two"):
            answered(local, path)
            answered(remote, path)
            wait_for_parking(server)


def test_a_place_is_free_when_a_parked_client_goes(tmp_path: Path) -> None:
    with serving(tmp_path, *OPTIONS, "--worker-connections", "2") as server:
        with server.connect() as first:
            answered(first, b"one")
            wait_for_parking(server)
            with server.connect() as second:
                answered(second, b"two")
                with server.connect() as third:
                    third.sendall(GET % b"three")  # has to wait
                    first.close()
                    assert one_answer(third)[1] == b"/three"


@pytest.mark.parametrize("end", ["its time", "the worker's"])
def test_parked_ones_are_closed_at(tmp_path: Path, end: str) -> None:
    options = ("-k", GREENIFY, "--keep-alive", "2" if end == "its time" else "600")
    with serving(tmp_path, *options) as server, server.connect() as client:
        answered(client, b"one")
        wait_for_parking(server)
        if end == "the worker's":
            assert server.stop() == 0
        assert client.recv(1) == b""


def test_a_parked_one_is_served_while_the_worker_ends(tmp_path: Path) -> None:
    with serving(tmp_path, *OPTIONS) as server, server.connect() as idle:
        answered(idle, b"one")
        wait_for_parking(server)
        with server.connect() as busy:
            busy.sendall(GET % b"wait")
            server.until("somebody waits")
            server.process.send_signal(signal.SIGTERM)
            # Its listener may be closed by then (gunicorn's own tests wait until it is).
            server.until("Handling signal: term")
            idle.sendall(GET % b"open")
            assert one_answer(idle)[1] == b"opened"
            assert one_answer(busy)[1] == b"went on"


def test_with_the_first_bytes_looked_at_nothing_is_parked(tmp_path: Path) -> None:
    """A PROXY line counts only at the beginning of a connection: later it would be a client's own."""
    line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    (tmp_path / "gunicorn.conf.py").write_text("proxy_protocol = True\n")
    with serving(tmp_path, *OPTIONS) as server, server.connect() as client:
        client.sendall(line + GET % b"one")
        assert one_answer(client)[1] == b"/one"
        time.sleep(LONGER)
        client.sendall(line + GET % b"two")
        assert b" 400 " in all_of(client).splitlines()[0]


MEETING = """
import threading
barrier, order = threading.Barrier(2), []

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/order":
        body = "".join(order).encode()
    else:
        if path == "/meet":
            barrier.wait(60)
        order.append(environ["QUERY_STRING"])
        body = b""
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_who_asks_without_a_break_is_not_served_without_one(tmp_path: Path) -> None:
    """All requests of two clients are there; by turns they are answered, not as time slices end."""
    with serving(tmp_path, *OPTIONS, program=MEETING) as server, ExitStack() as stack:
        clients = {name: stack.enter_context(server.connect()) for name in (b"a", b"b")}
        for name, client in clients.items():
            client.sendall(GET % (b"meet?" + name) + GET % (b"?" + name) * 40)
        for client in clients.values():
            for _ in range(41):
                one_answer(client)
        order = server.ask("/order")
    assert sorted(order) == ["a"] * 41 + ["b"] * 41
    assert max(map(len, order.replace("ab", "a b").replace("ba", "b a").split())) < 8, order
