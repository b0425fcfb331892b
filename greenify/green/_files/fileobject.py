"""File objects over pipes, sockets, terminals and FIFOs whose reads and writes wait cooperatively.

The standard file objects read and write in C, out of reach of any patch.  `open` and `fdopen` here give the
same stack (`io.TextIOWrapper` over a buffered object over a raw one) with a raw object that waits on the hub
and buffered objects that keep two threads apart: a native one holds a C lock while it reads, and takes a
second greenlet of the same OS thread for a re-entrant call of the first.

Regular files get the standard objects: reading those never waits for anybody.
"""

from __future__ import annotations

import atexit
import io
import os
import stat
import sys
import warnings
from typing import TYPE_CHECKING, Any

from greenify import core
from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.builtin import builtin_twin, stands_for
from greenify.green._files.buffered import (
    CooperativeBufferedReader,
    CooperativeBufferedWriter,
    StandIn,
    known,
    repr_as,
)
from greenify.green._files.descriptor_io import (
    DEVICE,
    PLAIN,
    kind_of,
    open_fifo,
    read_into,
    runs_natively,
    write_all,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["CooperativeFileIO", "cooperative", "fdopen", "open"]

_open = io.open
_BufferedReader = io.BufferedReader
_BufferedRandom = io.BufferedRandom
_FileIO = io.FileIO
_read = io.FileIO.read
_readall = io.FileIO.readall
_readinto = io.FileIO.readinto
_write = io.FileIO.write
_close = io.FileIO.close
_dup = os.dup
_stat = os.stat

# The least that `readall` asks for at once.
_CHUNK = 1 << 16


class _FileIOKind(StandIn):
    """The class of `CooperativeFileIO`, which makes plain `io.FileIO` objects of what never waits."""

    @property
    def __signature__(cls) -> Any:
        import inspect

        if cls is CooperativeFileIO:
            return inspect.signature(_FileIO)
        # Not that of `__call__`, which `inspect` would take.
        derived: Any = cls
        whole = inspect.signature(derived.__init__)
        return whole.replace(parameters=[*whole.parameters.values()][1:])

    def __call__(cls, /, *args: Any, **kw: Any) -> Any:
        if cls is not CooperativeFileIO:
            return super().__call__(*args, **kw)
        try:
            file, closefd, opener = _asked(*args, **kw)
        except TypeError:
            # For the native class to complain about.
            return _FileIO(*args, **kw)
        if file.__class__ is bool:
            file = _number(file)
            if "file" in kw:
                kw["file"] = file
            else:
                args = (file, *args[1:])
        if not isinstance(file, int):
            kind = _kind_by_name(file) if opener is None else 0
            if kind == stat.S_IFREG:
                return _FileIO(*args, **kw)
            if kind == stat.S_IFIFO and closefd:
                # Waits for somebody to open the other end.
                kw["opener"] = open_fifo
                args = args[:3]
        elif opener is None and not _waits(file):
            return _FileIO(*args, **kw)
        return super().__call__(*args, **kw)


def _number(file: bool) -> int:
    """The descriptor that it is, with the warning of CPython 3.13 and later for the caller's caller."""
    if sys.version_info >= (3, 13):
        warnings.warn("bool is used as a file descriptor", RuntimeWarning, stacklevel=3)
    return int(file)


def _asked(file: Any, mode: Any = "r", closefd: Any = True, opener: Any = None) -> tuple[Any, ...]:
    return file, closefd, opener


@stands_for(_FileIO)
class CooperativeFileIO(_FileIO, metaclass=_FileIOKind):
    """`io.FileIO` whose reads and writes park the calling greenlet while they have to wait.

    The flags of the descriptor are not changed.  Any thread may use it, several at once.  Whoever waits in
    it is woken by the kernel, or with EBADF when the object is closed.

    Attributes:
        pushed: what a read returns before anything that comes from the descriptor; None for the end of the
            file, for as long as the attribute stays None.
    """

    _kind: int | None = PLAIN
    pushed: bytes | None = b""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        fd = self.fileno()
        # The numbers of the standard streams are given to other files now and then (dup2): look each time.
        self._kind = kind_of(fd) if fd > 2 else None

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read once into `buffer`; None if the descriptor is non-blocking and has nothing."""
        if self.pushed != b"":
            return self._take_pushed(buffer)
        if self.closed or not self.readable() or runs_natively():
            return _readinto(self, buffer)
        fd = self.fileno()
        kind = self._kind
        try:
            return read_into(fd, kind_of(fd) if kind is None else kind, [buffer])
        except BlockingIOError:
            return None
        except BaseException:
            leave_out_twin()
            raise

    def _take_pushed(self, buffer: WriteableBuffer) -> int:
        if self.pushed is None:
            return 0
        with memoryview(buffer) as whole, whole.cast("B") as view:
            piece = self.pushed[: len(view)]
            view[: len(piece)] = piece
        self.pushed = self.pushed[len(piece) :]
        return len(piece)

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]
        """Read once, at most `size` bytes; everything up to the end if `size` is negative or None."""
        if self._kind == PLAIN and self.pushed == b"":
            return _read(self, -1 if size is None else size)
        try:
            if size is None or size < 0:
                return self.readall()
            buffer = bytearray(size)
            got = self.readinto(buffer)
        except BaseException:
            leave_out_twin()
            raise
        if got is None:
            return None
        with memoryview(buffer) as view:
            return bytes(view[:got])

    def readall(self) -> bytes | None:  # type: ignore[override]
        """Read everything up to the end; what there is, or None, if the descriptor is non-blocking."""
        if self._kind == PLAIN and self.pushed == b"":
            return _readall(self)
        pieces: list[bytes] = []
        size = _CHUNK
        try:
            while True:
                piece = self.read(size)
                if not piece:
                    return None if piece is None and not pieces else b"".join(pieces)
                pieces.append(piece)
                if len(piece) == size:
                    size *= 2
        except BaseException:
            leave_out_twin()
            raise

    def write(self, data: ReadableBuffer, /) -> int | None:  # type: ignore[override]
        """Write all of `data`; what fits, or None, if the descriptor is non-blocking."""
        if self.closed or not self.writable() or isinstance(data, str) or runs_natively():
            return _write(self, data)
        fd = self.fileno()
        kind = self._kind
        try:
            return write_all(fd, kind_of(fd) if kind is None else kind, data)
        except BlockingIOError:
            return None
        except BaseException:
            leave_out_twin()
            raise

    def __repr__(self) -> str:
        return repr_as(_FileIO, self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self) is CooperativeFileIO:
            name = _FileIO.__name__
            if sys.version_info >= (3, 12):
                raise TypeError(f"cannot pickle {name!r} instances")
            raise TypeError(f"cannot pickle '{_FileIO.__module__}.{name}' object")
        return super().__reduce_ex__(protocol)

    def close(self) -> None:
        """Close the descriptor, if it is ours to close; its waiters get EBADF."""
        if not self.closed and self.closefd:
            core.forget(self.fileno())
        _close(self)


# Only now: until then it is being made.
type.__setattr__(CooperativeFileIO, "_stands_in", True)


def _flush_at_exit() -> None:
    # What a native object writes when the interpreter disposes of it at its end.  By then there is no
    # Python function any more that these could call.
    for stream in tuple(known):
        try:
            raw = getattr(stream, "raw", None)
            if isinstance(raw, _FileIO) and stream.writable():
                stream.flush()
        except (OSError, ValueError):
            pass  # closed, detached, or nobody reads it


atexit.register(_flush_at_exit)


def _cooperative_open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """`io.open`, with cooperative objects for pipes, sockets, terminals and FIFOs.

    Opening a FIFO by its name waits cooperatively for the other end.
    """
    if sys.flags.warn_default_encoding and isinstance(mode, str) and "b" not in mode:
        # Here, for the warning about a missing encoding to name our caller.
        encoding = io.text_encoding(encoding)
    if file.__class__ is bool:
        file = _number(file)
    if not isinstance(file, int):
        kind = _kind_by_name(file)
        if kind == stat.S_IFREG and opener is None:
            return _open(file, mode, buffering, encoding, errors, newline, closefd)
        if kind == stat.S_IFIFO and opener is None and closefd:
            opener = open_fifo
        stream = _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if opener is not None or kind == stat.S_IFCHR:
            # Not for /dev/null and its like.
            return cooperative(stream, newline, besides=DEVICE)
        return stream
    if isinstance(mode, str) and _waits(file):
        # The real function checks the arguments and shows what to build.  It does not get to own the
        # descriptor, so that dropping what it made leaves no trace.
        try:
            model = _open(file, mode, buffering, encoding, errors, newline, False, opener)
        except (ValueError, OSError, LookupError):
            # Once more, for it closes the descriptor or not, depending on what is wrong.
            return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        stream = _rebuild(model, file, closefd, newline)
        if stream is not None:
            return stream
    return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)


def _waits(fd: int) -> bool:
    try:
        return kind_of(fd) != PLAIN
    except (OSError, OverflowError):
        # For the native function to complain about.
        return False


def _kind_by_name(path: Any) -> int:
    try:
        return stat.S_IFMT(_stat(path).st_mode)
    except (OSError, TypeError, ValueError):
        return 0


def fdopen(
    fd: int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """`os.fdopen`, by `open`."""
    if not isinstance(fd, int):
        raise TypeError(f"invalid fd type ({type(fd)}, expected integer)")
    if isinstance(mode, str) and "b" not in mode:
        encoding = io.text_encoding(encoding)
    return open(fd, mode, buffering, encoding, *args, **kwargs)


def cooperative(stream: Any, newline: str | None = None, besides: int = PLAIN) -> Any:
    """A cooperative stack that takes the place of `stream`, a file object of a pipe; `stream` is closed.

    For file objects in whose making we have no say.  Must not have been read from or written to.  The new
    object has a new descriptor, because the old object cannot be made to let go of its own.

    Args:
        stream: the file object; it is returned as it is if it never waits, or is cooperative already.
        newline: what it was opened with.
        besides: another kind of file that stays as it is.
    """
    # Not isinstance, which takes a native one for ours.
    if CooperativeFileIO in type(_raw(stream)).__mro__:
        return stream
    if kind_of(stream.fileno()) in (PLAIN, besides):
        return stream
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


def _raw(stream: Any) -> Any:
    """The lowest of the objects that `stream` consists of."""
    buffered = getattr(stream, "buffer", stream)
    return getattr(buffered, "raw", buffered)


def buffer_size(buffered: Any) -> int:
    """How many bytes a native buffered object has room for: it tells in no other way."""
    size: int = buffered.__sizeof__() - type(buffered).__basicsize__
    return size


def _rebuild(model: Any, fd: int, closefd: bool, newline: str | None) -> Any:
    """The cooperative counterpart of `model` for `fd`; None if there is none (random access)."""
    text = model if isinstance(model, io.TextIOWrapper) else None
    buffered = model if text is None else text.buffer
    raw = _raw(buffered)
    if isinstance(buffered, _BufferedRandom):
        return None
    made: Any = CooperativeFileIO(fd, raw.mode, closefd)
    made.name = raw.name
    if buffered is not raw:
        reading = isinstance(buffered, _BufferedReader)
        kind = CooperativeBufferedReader if reading else CooperativeBufferedWriter
        made = kind(made, buffer_size(buffered))
    if text is None:
        return made
    result: Any = io.TextIOWrapper(
        made, text.encoding, text.errors, newline, text.line_buffering, text.write_through
    )
    if hasattr(text, "mode"):
        result.mode = text.mode
    return result


open: Any = builtin_twin(_open, _cooperative_open)
