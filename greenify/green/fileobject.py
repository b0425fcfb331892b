"""File objects over pipes, sockets, terminals and FIFOs whose reads and writes wait cooperatively.

The standard file objects read and write in C, out of reach of any patch.  `open` and `fdopen` here give the
same stack (`io.TextIOWrapper` over a buffered object over a raw one) with a raw object that waits on the hub
and buffered objects that keep two threads apart: a native one holds a C lock while it reads, and takes a
second greenlet of the same OS thread for a re-entrant call of the first.

Descriptors of regular files get the standard objects: reading those never waits for anybody.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from greenify import core
from greenify.core.fork import fork_hooks
from greenify.green.descriptor_io import PLAIN, kind_of, read_into, runs_natively, write_all
from greenify.locks import RLock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "CooperativeBufferedReader",
    "CooperativeBufferedWriter",
    "CooperativeFileIO",
    "cooperative",
    "fdopen",
    "open",
]

_open = io.open
_readinto = io.FileIO.readinto
_write = io.FileIO.write
_close = io.FileIO.close
_dup = os.dup

# The least that `readall` asks for at once.
_CHUNK = 1 << 16


class CooperativeFileIO(io.FileIO):
    """`io.FileIO` whose reads and writes park the calling greenlet while they have to wait.

    The flags of the descriptor are not changed.  Any thread may use it, several at once.  Whoever waits in
    it is woken by the kernel, or with EBADF when the object is closed.
    """

    _kind = PLAIN

    def __init__(self, file: int, mode: str = "r", closefd: bool = True) -> None:
        super().__init__(file, mode, closefd)
        self._kind = kind_of(file)

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read once into `buffer`; None if the descriptor is non-blocking and has nothing."""
        if self.closed or not self.readable() or runs_natively():
            return _readinto(self, buffer)
        try:
            return read_into(self.fileno(), self._kind, [buffer])
        except BlockingIOError:
            return None

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]
        """Read once, at most `size` bytes; everything up to the end if `size` is negative or None."""
        if size is None or size < 0:
            return self.readall()
        buffer = bytearray(size)
        got = self.readinto(buffer)
        if got is None:
            return None
        with memoryview(buffer) as view:
            return bytes(view[:got])

    def readall(self) -> bytes | None:  # type: ignore[override]
        """Read everything up to the end; what there is, or None, if the descriptor is non-blocking."""
        pieces: list[bytes] = []
        size = _CHUNK
        while True:
            piece = self.read(size)
            if not piece:
                return None if piece is None and not pieces else b"".join(pieces)
            pieces.append(piece)
            if len(piece) == size:
                size *= 2

    def write(self, data: ReadableBuffer, /) -> int | None:  # type: ignore[override]
        """Write all of `data`; what fits, or None, if the descriptor is non-blocking."""
        if self.closed or not self.writable() or isinstance(data, str) or runs_natively():
            return _write(self, data)
        try:
            return write_all(self.fileno(), self._kind, data)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close the descriptor, if it is ours to close; its waiters get EBADF."""
        if not self.closed and self.closefd:
            core.forget(self.fileno())
        _close(self)


# Every cooperative buffered object, for the child of a fork: there nobody holds their locks any more.
_buffered: WeakSet[Any] = WeakSet()


def _after_in_child() -> None:
    for stream in _buffered:
        stream._turn = RLock()


fork_hooks.append(_after_in_child)


def _in_turn(method: Callable[..., Any]) -> Any:
    """`method`, entered by one thread at a time."""

    def call(self: Any, *args: Any) -> Any:
        with self._turn:
            return method(self, *args)

    call.__name__ = method.__name__
    call.__qualname__ = method.__qualname__
    call.__doc__ = method.__doc__
    return call


class CooperativeBufferedReader(io.BufferedReader):
    """`io.BufferedReader` that several greenlets may use at once."""

    def __init__(self, raw: io.RawIOBase, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        self._turn = RLock()
        super().__init__(raw, buffer_size)
        _buffered.add(self)

    close = _in_turn(io.BufferedReader.close)
    detach = _in_turn(io.BufferedReader.detach)
    peek = _in_turn(io.BufferedReader.peek)
    read = _in_turn(io.BufferedReader.read)
    read1 = _in_turn(io.BufferedReader.read1)
    readinto = _in_turn(io.BufferedReader.readinto)
    readinto1 = _in_turn(io.BufferedReader.readinto1)
    readline = _in_turn(io.BufferedReader.readline)
    seek = _in_turn(io.BufferedReader.seek)
    tell = _in_turn(io.BufferedReader.tell)
    __next__ = _in_turn(io.BufferedReader.__next__)


class CooperativeBufferedWriter(io.BufferedWriter):
    """`io.BufferedWriter` that several greenlets may use at once."""

    def __init__(self, raw: io.RawIOBase, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        self._turn = RLock()
        super().__init__(raw, buffer_size)
        _buffered.add(self)

    close = _in_turn(io.BufferedWriter.close)
    detach = _in_turn(io.BufferedWriter.detach)
    flush = _in_turn(io.BufferedWriter.flush)
    seek = _in_turn(io.BufferedWriter.seek)
    tell = _in_turn(io.BufferedWriter.tell)
    truncate = _in_turn(io.BufferedWriter.truncate)
    write = _in_turn(io.BufferedWriter.write)


def open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """`io.open`, with cooperative objects for the descriptor of a pipe, socket, terminal or FIFO.

    A file given by its name is opened by `io.open` itself.
    """
    if isinstance(file, int) and isinstance(mode, str) and kind_of(file) != PLAIN:
        if "b" not in mode:
            # Here, for the warning about a missing encoding to name our caller.
            encoding = io.text_encoding(encoding)
        # The real function checks the arguments and shows what to build.  It does not get to own the
        # descriptor, so that dropping what it made leaves no trace.
        model = _open(file, mode, buffering, encoding, errors, newline, False, opener)
        stream = _rebuild(model, file, closefd, newline)
        if stream is not None:
            return stream
    return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)


def fdopen(
    fd: int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    *args: Any,
    **kw: Any,
) -> Any:
    """`os.fdopen`, by `open`."""
    if not isinstance(fd, int):
        raise TypeError(f"invalid fd type ({type(fd)}, expected integer)")
    if "b" not in mode:
        encoding = io.text_encoding(encoding)
    return open(fd, mode, buffering, encoding, *args, **kw)


def cooperative(stream: Any) -> Any:
    """A cooperative stack that takes the place of `stream`, a file object of a pipe; `stream` is closed.

    For file objects in whose making we have no say.  Must not have been read from or written to.  The new
    object has a new descriptor, because the old object cannot be made to let go of its own.
    """
    newline = None
    fd = _dup(stream.fileno())
    try:
        made = _rebuild(stream, fd, True, newline)
    except BaseException:
        os.close(fd)
        raise
    if made is None:
        os.close(fd)
        return stream
    stream.close()
    return made


def _rebuild(model: Any, fd: int, closefd: bool, newline: str | None) -> Any:
    """The cooperative counterpart of `model` for `fd`; None if there is none (random access)."""
    text = model if isinstance(model, io.TextIOWrapper) else None
    buffered = model if text is None else text.buffer
    raw = buffered.raw if hasattr(buffered, "raw") else buffered
    mode = raw.mode
    if isinstance(buffered, io.BufferedRandom):
        return None
    made: Any = CooperativeFileIO(fd, mode, closefd)
    if buffered is not raw:
        reading = isinstance(buffered, io.BufferedReader)
        kind = CooperativeBufferedReader if reading else CooperativeBufferedWriter
        # The size of the buffer can be had no other way.
        made = kind(made, buffered.__sizeof__() - type(buffered).__basicsize__)
    if text is None:
        return made
    result: Any = io.TextIOWrapper(
        made, text.encoding, text.errors, newline, text.line_buffering, text.write_through
    )
    if hasattr(text, "mode"):
        result.mode = text.mode
    return result
