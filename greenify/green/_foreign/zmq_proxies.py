"""The proxies of libzmq as loops in Python: what they wait for, a kill and Ctrl-C reach them there.

On a native thread they would go on with sockets that whoever has left closes next, which ends the process.
A native thread has the original, in C.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

from greenify import core
from greenify.core import registry

__all__ = ["monitored_queue", "proxy", "proxy_steerable"]

_DONTWAIT = 1
_SNDMORE = 2
_RCVMORE = 13
_TYPE = 16
_REP = 4
_ROUTER = 6
_POLLIN = 1
_POLLOUT = 2

# How many messages one direction passes on before the other one, and the other threads, have a turn.
_BURST = 100


def _natively() -> bool:
    return core.current_hub() is None and not registry.is_main_thread()


class _Counts:
    """Messages and bytes in and out of a socket."""

    def __init__(self) -> None:
        self.received = [0, 0]
        self.sent = [0, 0]


class _Direction:
    """Messages that go from one socket to another."""

    def __init__(
        self, source: Any, target: Any, capture: Any, counts: tuple[_Counts, _Counts]
    ) -> None:
        self.source = source
        self.target = target
        self.capture = capture
        self.counts = counts
        self.full = False  # there is something, and it cannot be passed on yet

    def wanted(self) -> tuple[Any, int]:
        """What to wait for: a message, or room for the one that is there."""
        return (self.target, _POLLOUT) if self.full else (self.source, _POLLIN)

    def turn(self, poll: Callable[..., Any]) -> None:
        """Pass on what there is."""
        same = self.target is self.source
        for _ in range(_BURST):
            ready = dict(poll([(self.source, _POLLIN)], 0))
            if not ready:
                self.full = False
                return
            if not same and not poll([(self.target, _POLLOUT)], 0):
                self.full = True
                return
            self.full = False
            self._pass_on()

    def _pass_on(self) -> None:
        source = self.source
        sizes = 0
        while True:
            frame = source.recv(copy=False)
            more = source.get(_RCVMORE)
            flags = _SNDMORE if more else 0
            sizes += len(frame)
            if self.capture is not None:
                self.capture.send(frame.bytes, flags)
            self.target.send(frame, flags, copy=False)
            if not more:
                break
        received, sent = self.counts
        received.received[0] += 1
        received.received[1] += sizes
        sent.sent[0] += 1
        sent.sent[1] += sizes


def proxy(original: Any, frontend: Any, backend: Any, capture: Any = None) -> int:
    """Pass messages on in both directions until the context ends: `zmq.proxy`."""
    if _natively():
        result: int = original(frontend, backend, capture)
        return result
    return _run(frontend, backend, capture, None)


def proxy_steerable(
    original: Any, frontend: Any, backend: Any, capture: Any = None, control: Any = None
) -> int:
    """The same, until the socket `control` is told ``TERMINATE``: `zmq.proxy_steerable`."""
    if _natively():
        result: int = original(frontend, backend, capture, control)
        return result
    return _run(frontend, backend, capture, control)


def _run(frontend: Any, backend: Any, capture: Any, control: Any) -> int:
    poll = sys.modules["zmq.backend"].zmq_poll
    counts = (_Counts(), _Counts())
    directions = [_Direction(frontend, backend, capture, counts)]
    if backend is not frontend:
        directions.append(_Direction(backend, frontend, capture, counts[::-1]))
    paused = False
    while True:
        wanted = [] if control is None else [(control, _POLLIN)]
        if not paused:
            wanted += [direction.wanted() for direction in directions]
        ready = dict(poll(_merged(wanted), -1))
        if control is not None and ready.get(control, 0) & _POLLIN:
            command = control.recv()
            if command == b"TERMINATE":
                _answer(control)
                return 0
            if command == b"STATISTICS":
                _report(control, counts)
            elif command in (b"PAUSE", b"RESUME"):
                paused = command == b"PAUSE"
                _answer(control)
            else:
                raise _invalid()
        if not paused:
            for direction in directions:
                direction.turn(poll)
        # Nothing of this need have waited.
        core.sleep(0)


def _merged(wanted: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
    events: dict[Any, int] = {}
    for socket, event in wanted:
        events[socket] = events.get(socket, 0) | event
    return list(events.items())


def _answer(control: Any) -> None:
    if control.get(_TYPE) == _REP:
        control.send(b"")


def _report(control: Any, counts: tuple[_Counts, _Counts]) -> None:
    numbers = [number for each in counts for number in (*each.received, *each.sent)]
    for place, number in enumerate(numbers):
        control.send(struct.pack("=Q", number), _SNDMORE if place < len(numbers) - 1 else 0)


def _invalid() -> Exception:
    import errno

    error: Exception = sys.modules["zmq.error"].ZMQError(errno.EINVAL)
    return error


def monitored_queue(
    original: Any,
    in_socket: Any,
    out_socket: Any,
    mon_socket: Any,
    in_prefix: bytes = b"in",
    out_prefix: bytes = b"out",
) -> int:
    """Pass messages on, and tell a third socket of each: `zmq.devices.monitored_queue`."""
    if _natively():
        result: int = original(in_socket, out_socket, mon_socket, in_prefix, out_prefix)
        return result
    poll = sys.modules["zmq.backend"].zmq_poll
    swap = in_socket.get(_TYPE) == out_socket.get(_TYPE) == _ROUTER
    ways = [(in_socket, out_socket, in_prefix), (out_socket, in_socket, out_prefix)]
    while True:
        ready = dict(poll(_merged([(source, _POLLIN) for source, _, _ in ways]), -1))
        for source, target, prefix in ways:
            if ready.get(source, 0) & _POLLIN:
                _relay(source, target, mon_socket, bytes(prefix), swap)
        core.sleep(0)


def _relay(source: Any, target: Any, monitor: Any, prefix: bytes, swap: bool) -> None:
    parts = source.recv_multipart()
    if swap:
        # Both are routers: the second identity is whom it is for.
        parts[:2] = parts[1::-1]
    target.send_multipart(parts)
    monitor.send_multipart([prefix, *parts])
