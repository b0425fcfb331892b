"""Where a trace goes: onto a file as it comes, or into a ring in memory that is written when somebody asks.

A native thread takes what has been written down, a few times in a second, and packs it: that lets go of the
interpreter.  So the file is as good as complete whenever the process is killed, and the memory that is taken
has a limit: where the program is quicker than the packing it waits.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from greenify.core.clock import monotonic_ns as _clock
from greenify.core.native import await_gone, get_native_id, start_hidden
from greenify.patches import original
from greenify.tracing import wire

__all__ = ["FileSink", "Packer", "Ring", "Sink"]

_native_lock = original("_thread", "allocate_lock")
_native_sleep = original("time", "sleep")
# Never cooperatively: in the middle of a switch nobody can wait.
_open = original("os", "open")
_write = original("os", "write")
_close = original("os", "close")

# Seconds between two rounds.
_PAUSE = 0.2

# How many pieces are packed at a time, and how many may lie there before the program waits.
_PIECES = 16_384
_LIMIT = 250_000

# In naps of how many seconds it waits then, and how often at most.
_NAP = 0.001
_TRIES = 1_000

# The longest wait, in seconds, for the thread's end.
_PATIENCE = 5.0


class Sink:
    """Takes packets.  One thread at a time."""

    def put(self, block: bytes, now: int) -> None:
        """Take a block of whole packets, written down until `now`."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing comes any more."""


class FileSink(Sink):
    """A file, which is made with the first block: there is none of a forked child that only goes on to exec.

    Args:
        path: replaced if it exists.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def put(self, block: bytes, now: int) -> None:
        if self._fd < 0:
            self._fd = _create(self.path)
        _write_all(self._fd, wire.compressed(block))

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            _close(fd)


class Ring(Sink):
    """The last seconds, in memory."""

    def __init__(self, seconds: float) -> None:
        self._length = int(seconds * 1e9)
        self._blocks: deque[tuple[int, bytes]] = deque()

    def put(self, block: bytes, now: int) -> None:
        self._blocks.append((now, wire.compressed(block)))
        self._forget(now)

    def _forget(self, now: int) -> None:
        # The last block that has ended before is needed no more.
        while self._blocks and self._blocks[0][0] < now - self._length:
            self._blocks.popleft()

    def write(self, path: str, preface: Callable[[int], Iterable[bytes]]) -> None:
        """Write what there is to a new file.

        Args:
            preface: gives the packets that come first, from the time of what is there.
        """
        now = _clock()
        self._forget(now)
        blocks = tuple(self._blocks)
        fd = _create(path)
        try:
            _write_all(fd, wire.compressed(b"".join(preface(now - self._length))))
            for _, block in blocks:
                _write_all(fd, block)
        finally:
            _close(fd)


def _create(path: str) -> int:
    return int(_open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666))


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[_write(fd, left) :]


class Packer:
    """The native thread between what has been written down and a sink.

    Args:
        out: the pieces.  They are taken from the front, and added behind by anybody.
        preface: what comes first of all, asked when there is something.
    """

    def __init__(self, out: list[bytes], sink: Sink, preface: Callable[[], bytes]) -> None:
        self._out = out
        self._preface: Callable[[], bytes] | None = preface
        self._sink = sink
        self._over = False
        self._bell: Any = _native_lock()
        self._bell.acquire()
        self._busy: Any = _native_lock()  # held by who packs
        self._ended: Any = _native_lock()
        self._ended.acquire()
        self._failed = False
        self._native_id = 0
        start_hidden(self._run, ours=True)

    def _run(self) -> None:
        self._native_id = get_native_id()
        try:
            while not self._over:
                self._bell.acquire(True, _PAUSE)
                self.pack()
        finally:
            self._ended.release()

    def much(self) -> None:
        """There is much to pack.  Any thread; with far too much it waits, natively."""
        self._ring()
        tries = 0
        while len(self._out) > _LIMIT and not self._over and tries < _TRIES:
            tries += 1
            _native_sleep(_NAP)

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has been told already

    def pack(self) -> None:
        """Pack everything that is there now.  Any thread, natively; one after the other."""
        with self._busy:
            out = self._out
            left = len(out)
            while left > 0:
                size = min(left, _PIECES)
                block = b"".join(out[:size])
                del out[:size]
                left -= size
                self._put(block)

    def _put(self, block: bytes) -> None:
        if self._failed:
            return
        preface, self._preface = self._preface, None
        if preface is not None:
            block = preface() + block
        try:
            self._sink.put(block, _clock())
        except OSError:
            self._failed = True
            logging.getLogger("greenify").exception("the trace cannot be written; it ends here")

    def pause(self) -> None:
        """End the thread, and wait for its end: before a fork.  What comes stays in memory."""
        if self._over:
            return
        self._over = True
        self._ring()
        if self._ended.acquire(True, _PATIENCE):
            await_gone(self._native_id)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._over = False
        try:
            start_hidden(self._run, ours=True)
        except RuntimeError:
            # There is no thread to be had, as at the interpreter's end: `stop` packs what comes.
            self._over = True
            self._ended.release()

    def stop(self, empty: bool) -> None:
        """Pack the rest, and end.

        Args:
            empty: whether there is to be a trace of nothing if nothing has come.
        """
        self.pause()
        self.pack()
        if empty and self._preface is not None:
            self._put(b"")
        with self._busy:
            self._sink.close()
