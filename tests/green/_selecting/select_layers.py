"""The same scenario with real threads over the native `select`, and with tasks over the cooperative one."""

from __future__ import annotations

import os
import select
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from greenify import core
from greenify.green import select as green_select
from greenify.green import selectors as green_selectors
from greenify.task import spawn

LONG = 30.0  # seconds: a wait that is expected to end by an event


class Layer:
    """A `select` module and the kind of thread that goes with it."""

    def __init__(self, name: str, module: Any, selectors_module: Any) -> None:
        self.name = name
        self.select: Any = module
        self.selectors: Any = selectors_module

    def __repr__(self) -> str:
        return self.name

    def start(self, function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        """Run a call in a thread; returns the function that joins it and gives its outcome."""
        found: list[Any] = []

        def body() -> None:
            try:
                found.append(function(*args))
            except Exception as exc:
                found.append(exc)

        job: Any
        if self.name == "green":
            job = spawn(body)
            settle()
        else:
            job = threading.Thread(target=body)
            job.start()

        def join() -> Any:
            job.join(LONG)
            assert found, "the thread has not ended"
            return found[0]

        return join


class File:
    """An object with a fileno()."""

    def __init__(self, fd: Any) -> None:
        self.fd = fd

    def fileno(self) -> Any:
        return self.fd


def outcome(function: Any, *args: Any) -> tuple[type, str]:
    """The type and the text of the error that a call raises; NoneType and its result if it raises none."""
    try:
        return type(None), repr(function(*args))
    except Exception as exc:
        return type(exc), str(exc)


NATIVE = Layer("native", select, selectors)
GREEN = Layer("green", green_select, green_selectors)

both = pytest.mark.parametrize("layer", [NATIVE, GREEN], ids=repr)


def settle(rounds: int = 6) -> None:
    """Let every task that is ready run until it waits."""
    for _ in range(rounds):
        core.sleep(0)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end of a pipe; ends that are closed already are left alone."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            try:
                os.close(end)
            except OSError:
                # The test has closed it: that was the point.
                pass


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected TCP sockets: they have urgent data, which socketpair's have not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    with left, right:
        yield left, right


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd")) - 1


#: The ways to wait until one descriptor can be read. Each returns whether it can, within `timeout` seconds.
def by_select(layer: Layer, fd: Any, timeout: float | None) -> bool:
    return bool(layer.select.select([fd], [], [], timeout)[0])


def by_select_both(layer: Layer, fd: Any, timeout: float | None) -> bool:
    r, _, x = layer.select.select([fd], [], [fd], timeout)
    assert not x
    return bool(r)


def by_poll(layer: Layer, fd: Any, timeout: float | None) -> bool:
    poll = layer.select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def by_epoll(layer: Layer, fd: Any, timeout: float | None) -> bool:
    with layer.select.epoll() as epoll:
        epoll.register(fd, select.EPOLLIN)
        return bool(epoll.poll(timeout))


def by_selector(kind: str) -> Callable[[Layer, Any, float | None], bool]:
    def by(layer: Layer, fd: Any, timeout: float | None) -> bool:
        with getattr(layer.selectors, kind)() as selector:
            selector.register(fd, selectors.EVENT_READ)
            return bool(selector.select(timeout))

    by.__name__ = f"by_{kind}"
    return by


WAYS = [
    by_select,
    by_select_both,
    by_poll,
    by_epoll,
    by_selector("SelectSelector"),
    by_selector("PollSelector"),
    by_selector("EpollSelector"),
    by_selector("DefaultSelector"),
]

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__[3:])
