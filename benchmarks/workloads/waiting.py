"""Waiting with select and its kin; names looked up; programs started."""

from __future__ import annotations

import select
import selectors
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.sample import Sample, timed

__all__ = ["WAYS", "lookups", "subprocesses", "waits"]


def _by_select(sock: socket.socket) -> Callable[[], Any]:
    return lambda: select.select([sock], [], [])


def _by_poll(sock: socket.socket) -> Callable[[], Any]:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll.poll


def _by_epoll(sock: socket.socket) -> Callable[[], Any]:
    epoll = select.epoll()
    epoll.register(sock, select.EPOLLIN)
    return epoll.poll


def _by_selector(sock: socket.socket) -> Callable[[], Any]:
    selector = selectors.DefaultSelector()
    selector.register(sock, selectors.EVENT_READ)
    return selector.select


#: How to make a function that waits until a socket is readable.
WAYS: dict[str, Callable[[socket.socket], Callable[[], Any]]] = {
    "select": _by_select,
    "poll": _by_poll,
    "epoll": _by_epoll,
    "selector": _by_selector,
}


def waits(way: str, operations: int) -> Sample:
    """A byte there and back, both ends waiting before they read."""
    ends = socket.socketpair()

    def work(sock: socket.socket, first: bool) -> None:
        wait = WAYS[way](sock)
        if first:
            sock.send(b"x")
        for left in range(operations, 0, -1):
            wait()
            sock.recv(10)
            if left > 1 or not first:
                sock.send(b"x")

    def run() -> None:
        other = threading.Thread(target=work, args=(ends[1], False))
        other.start()
        work(ends[0], True)
        other.join()

    return timed(operations, run)


def _shared(operations: int, threads: int, work: Callable[[], object]) -> None:
    def several() -> None:
        for _ in range(operations // threads):
            work()

    everybody = [threading.Thread(target=several) for _ in range(threads)]
    for thread in everybody:
        thread.start()
    for thread in everybody:
        thread.join()


def lookups(operations: int, threads: int = 20) -> Sample:
    """Names looked up by several threads; the name is in the hosts file."""
    return timed(
        operations,
        lambda: _shared(operations, threads, lambda: socket.getaddrinfo("localhost", 80)),
    )


def subprocesses(operations: int, threads: int = 20) -> Sample:
    """Programs run to their end by several threads."""
    return timed(
        operations,
        lambda: _shared(
            operations, threads, lambda: subprocess.run(["true"], capture_output=True, check=True)
        ),
    )
