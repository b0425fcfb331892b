"""Cooperative selectors: the standard classes over cooperative select, poll and epoll."""

from __future__ import annotations

import os
import select
import selectors
import socket
import time
from typing import Any

import pytest

from greenify import core
from greenify.green import select as green_select
from greenify.green import selectors as green
from greenify.green._selecting import kernel_queues
from greenify.task import spawn
from tests.green._selecting.select_layers import GREEN, LONG, Layer, both, pipe, settle, tcp_pair

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

KINDS = ["SelectSelector", "PollSelector", "EpollSelector", "DefaultSelector"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def events(found: list[tuple[Any, int]]) -> dict[Any, int]:
    return {key.fileobj: mask for key, mask in found}


@every_kind
@both
class TestSelector:
    def test_life_of_a_registration(self, layer: Layer, kind: str) -> None:
        left, right = socket.socketpair()
        with left, right, getattr(layer.selectors, kind)() as selector:
            key = selector.register(left, READ, "data")
            assert key == selectors.SelectorKey(left, left.fileno(), READ, "data")
            assert selector.get_key(left) == key and list(selector.get_map()) == [left.fileno()]
            with pytest.raises(KeyError, match="already registered"):
                selector.register(left.fileno(), READ)
            with pytest.raises(ValueError, match="Invalid"):
                selector.register(right, 0)
            with pytest.raises(ValueError):
                selector.register(-1, READ)
            assert selector.select(0) == []
            join = layer.start(selector.select, LONG)
            right.send(b"x")
            assert join() == [(key, READ)]
            selector.modify(left, READ | WRITE)
            assert events(selector.select()) == {left: READ | WRITE}
            selector.modify(left, WRITE, "other")
            assert [(key.data, mask) for key, mask in selector.select(-1)] == [("other", WRITE)]
            selector.unregister(left)
            assert selector.select(0.001) == []
            with pytest.raises(KeyError):
                selector.unregister(left)

    def test_time_out(self, layer: Layer, kind: str) -> None:
        with pipe() as (r, _), getattr(layer.selectors, kind)() as selector:
            for timeout in (0.03, 0.0301):
                start = time.monotonic()
                assert selector.select(timeout) == []
                assert time.monotonic() - start >= timeout
                selector.register(r, READ) if r not in selector.get_map() else None

    def test_regular_file(self, layer: Layer, kind: str) -> None:
        with open(__file__) as file, getattr(layer.selectors, kind)() as selector:
            try:
                selector.register(file, READ)
            except PermissionError:
                assert isinstance(selector, selectors.EpollSelector)
                assert not selector.get_map()
            else:
                assert events(selector.select()) == {file: READ}

    def test_urgent_data_is_no_reading(self, layer: Layer, kind: str) -> None:
        with tcp_pair() as (left, right), getattr(layer.selectors, kind)() as selector:
            selector.register(left, READ)
            join = layer.start(selector.select, 0.05)
            right.send(b"!", socket.MSG_OOB)
            assert join() == []


@every_kind
def test_server_and_clients(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, getattr(green, kind)() as selector:
        server.setblocking(False)
        selector.register(server, READ)
        served = []

        def serve() -> None:
            while len(served) < 100 or len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.fileobj is server:
                        connection, _ = server.accept()
                        connection.setblocking(False)
                        selector.register(connection, READ)
                    else:
                        data = key.fileobj.recv(100)
                        if data:
                            served.append(data)
                            key.fileobj.send(data)
                        else:
                            selector.unregister(key.fileobj)
                            key.fileobj.close()

        def ask(number: int) -> None:
            with socket.create_connection(server.getsockname()) as client:
                client.setblocking(False)
                for turn in range(10):
                    client.send(b"%d %d" % (number, turn))
                    assert green_select.select([client], [], [], LONG)[0]
                    assert client.recv(100) == b"%d %d" % (number, turn)

        server_join = GREEN.start(serve)
        clients = [GREEN.start(ask, number) for number in range(10)]
        assert [join() for join in clients] == [None] * 10
        assert server_join() is None
        assert len(set(served)) == 100


class TestNativeSelector:
    """A selector of the standard class, made with native objects before the patch."""

    @pytest.mark.parametrize(
        ("kind", "owner", "twin"),
        [
            ("PollSelector", selectors._PollLikeSelector, green_select.Poll),  # type: ignore[attr-defined]
            ("EpollSelector", selectors.EpollSelector, kernel_queues.epoll),
        ],
    )
    def test_is_adopted(self, kind: str, owner: type, twin: type) -> None:
        cooperative = green.ADOPTING[owner]
        with pipe() as (r, w), pipe() as (_, other), getattr(selectors, kind)() as selector:
            native = selector._selector
            key = selector.register(r, READ, "data")
            assert cooperative(selector, 0) == []
            assert type(selector._selector) is twin
            ticks = []

            def tick() -> None:
                for _ in range(3):
                    core.sleep(0.001)
                    ticks.append(1)
                os.write(w, b"x")

            spawn(tick)
            assert cooperative(selector) == [(key, READ)]
            assert len(ticks) == 3
            selector.register(other, WRITE)
            selector.modify(r, READ | WRITE)
            assert len(cooperative(selector, LONG)) == 2
            selector.unregister(r)
            assert len(cooperative(selector, LONG)) == 1
            # The very object that it had: whatever was registered there is.
            assert selector._selector._native is native

    def test_is_adopted_with_its_registrations(self) -> None:
        cooperative = green.ADOPTING[selectors._PollLikeSelector]  # type: ignore[attr-defined]
        with pipe() as (r, w), pipe() as (other_r, other_w), selectors.PollSelector() as selector:
            selector.register(r, READ)
            selector.register(other_r, READ | WRITE)
            join = GREEN.start(cooperative, selector, LONG)
            settle()
            os.write(other_w, b"x")
            assert events(join()) == {other_r: READ}
            os.read(other_r, 1)
            os.close(w)
            # A hang-up counts for both directions, of those that were asked for.
            assert events(cooperative(selector, LONG)) == {r: READ}


def test_the_default_is_the_one_of_the_standard_library() -> None:
    assert issubclass(green.DefaultSelector, selectors.DefaultSelector)
    assert {selectors.EVENT_READ, selectors.EVENT_WRITE} == {green.EVENT_READ, green.EVENT_WRITE}
    assert green_select.select.__name__ == "select"
    assert {name for name in dir(select) if not hasattr(green_select, name)} == set()
