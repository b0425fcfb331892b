"""Files, whose reading and writing happen on native threads.

    data = greenify.files.read_bytes("large.bin")

    with greenify.files.open("log.txt", encoding="utf-8") as file:
        for line in file:
            ...

The kernel cannot tell when a regular file is ready: a read from a slow disk blocks its OS thread, and with
it every green thread of that.  Here the calls run on the native threads of `greenify.run_in_thread`, and the
caller is parked; whoever is killed or timed out while it waits is free at once, and the call goes on to its
end.  A change of threads costs some 30 microseconds, so ask for much at a time.  Any thread may call anything
here; an OS thread without green threads does the work itself.
"""

from __future__ import annotations

import _thread
import builtins
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from greenify.core.workers import default_workers
from greenify.locks import Lock

__all__ = ["File", "open", "read_bytes", "read_text", "write_bytes", "write_text"]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_native_open = builtins.open
_native_lock = _thread.allocate_lock
_run = default_workers.run

# How many bytes or characters of lines are fetched at a time.
_CHUNK = 1 << 16


class _Opening:
    """One opening of a file on a native thread, which its caller may give up."""

    __slots__ = ("_arguments", "_given_up", "_opened")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments
        self._opened: list[Any] = []
        self._given_up = False

    def run(self) -> Any:
        file = _native_open(*self._arguments)
        self._opened.append(file)
        if self._given_up:
            self._close()
        return file

    def give_up(self) -> None:
        self._given_up = True
        self._close()

    def _close(self) -> None:
        try:
            file = self._opened.pop()
        except IndexError:
            return  # not opened yet, or closed by the other side
        file.close()


class File:
    """A file object whose methods are those of a standard one, on native threads.  Made by `open`.

    Any thread may use it, several at once: one call is made after the other.  It is a context manager, and
    iterating gives its lines.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._turn = Lock()
        # On the native threads: a call goes on when its caller has been killed, and has left its turn.
        self._busy = _native_lock()
        # Lines that have been fetched and not been given yet, how many have been, and where the first began.
        self._lines: deque[Any] = deque()
        self._given = 0
        self._start: Any = None

    def __repr__(self) -> str:
        return f"<greenify.files.File {self._file!r}>"

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        def call() -> Any:
            with self._busy:
                return function(*args)

        return _run(call)

    def _do(self, method: Callable[..., Any], *args: Any) -> Any:
        def call() -> Any:
            # Asked here: somebody who was killed may have been fetching lines until now.
            if self._lines:
                self._forget_lines()
            return method(*args)

        with self._turn:
            return self._call(call)

    def _forget_lines(self) -> None:
        # The position is behind lines that nobody has seen yet: go back to the first of them.
        self._lines.clear()
        self._file.seek(self._start)
        for _ in range(self._given):
            self._file.readline()

    def _fetch(self) -> None:
        if self._lines:
            return  # by somebody who was killed meanwhile
        readline = self._file.readline
        self._given = 0
        size = 1
        if self._file.seekable():
            self._start = self._file.tell()
            size = _CHUNK
        # Else it may be a while until the next line comes.
        while size > 0:
            line = readline()
            if not line:
                break
            self._lines.append(line)
            size -= len(line)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._turn:
            if not self._lines:
                self._call(self._fetch)
            try:
                line = self._lines.popleft()
            except IndexError:
                raise StopIteration from None
            self._given += 1
            return line

    def __enter__(self) -> File:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is buffered, and close the file.  A second call does nothing."""
        with self._turn:
            self._lines.clear()
            self._call(self._file.close)

    def read(self, size: int = -1, /) -> Any:
        """Read up to `size` bytes or characters; all that is left if it is negative."""
        return self._do(self._file.read, size)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a writable buffer and return the number of bytes.  Binary files only."""
        count: int = self._do(self._file.readinto, buffer)
        return count

    def readline(self, size: int = -1, /) -> Any:
        """Read one line, or up to `size` bytes or characters of it; empty at the end of the file."""
        return self._do(self._file.readline, size)

    def readlines(self, hint: int = -1, /) -> list[Any]:
        """Read all lines, or, if `hint` is positive, about so many bytes or characters of them."""
        lines: list[Any] = self._do(self._file.readlines, hint)
        return lines

    def write(self, data: Any, /) -> int:
        """Write `data` and return how much was written: all of it, unless the file is unbuffered."""
        count: int = self._do(self._file.write, data)
        return count

    def writelines(self, lines: Iterable[Any], /) -> None:
        """Write every element of `lines`, as it is."""
        # They may come from something that waits: not on the native thread.
        self._do(self._file.writelines, list(lines))

    def flush(self) -> None:
        """Write what is buffered."""
        self._do(self._file.flush)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move by `offset` from where `whence` says, and return the position; see `io.IOBase.seek`."""
        position: int = self._do(self._file.seek, offset, whence)
        return position

    def tell(self) -> int:
        """The position, in bytes or, in a text file, as a number that only `seek` understands."""
        position: int = self._do(self._file.tell)
        return position

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or extend the file to `size` bytes, by default to where it stands."""
        length: int = self._do(self._file.truncate, size)
        return length

    def sync(self) -> None:
        """`flush`, and wait until the data are on the disk (`os.fsync`)."""

        def sync() -> None:
            self._file.flush()
            os.fsync(self._file.fileno())

        self._do(sync)

    def readable(self) -> bool:
        """Whether it can be read."""
        return bool(self._file.readable())

    def writable(self) -> bool:
        """Whether it can be written."""
        return bool(self._file.writable())

    def seekable(self) -> bool:
        """Whether it has positions."""
        return bool(self._file.seekable())

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return bool(self._file.isatty())

    def fileno(self) -> int:
        """The descriptor."""
        return int(self._file.fileno())

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return bool(self._file.closed)

    @property
    def name(self) -> Any:
        """What it was opened by."""
        return self._file.name

    @property
    def mode(self) -> str:
        """The mode, as the standard object has it."""
        return str(self._file.mode)

    @property
    def encoding(self) -> str:
        """The encoding of a text file."""
        return str(self._file.encoding)


def open(
    file: Path | int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> File:
    """Open `file`, a path or a descriptor, on a native thread.

    The arguments (`mode`, `buffering`, `encoding`, `errors`, `newline`, `closefd`, `opener`) and the errors
    are those of the built-in `open`.

    Raises:
        OSError: it cannot be opened.
        ValueError: arguments that do not go together.
    """
    if "b" not in mode:
        encoding = io.text_encoding(encoding)
    opening = _Opening((file, mode, buffering, encoding, errors, newline, closefd, opener))
    try:
        return File(_run(opening.run))
    except BaseException:
        opening.give_up()
        raise


def _read(path: Path, mode: str, *args: Any) -> Any:
    with _native_open(path, mode, -1, *args) as file:
        return file.read()


def _write(path: Path, mode: str, data: Any, *args: Any) -> int:
    with _native_open(path, mode, -1, *args) as file:
        written: int = file.write(data)
    return written


def read_bytes(path: Path) -> bytes:
    """The contents of the file at `path`.

    Raises:
        OSError: it cannot be read.
    """
    data: bytes = _run(_read, path, "rb")
    return data


def read_text(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
    """The contents of the text file at `path`; `encoding` and `errors` are as of `open`.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not in that encoding.
    """
    text: str = _run(_read, path, "r", io.text_encoding(encoding), errors)
    return text


def write_bytes(path: Path, data: bytes | bytearray | memoryview) -> int:
    """Make `data` the contents of the file at `path`, which is made if need be; the number of bytes.

    Raises:
        OSError: it cannot be written.
    """
    return _run(_write, path, "wb", data)


def write_text(
    path: Path,
    text: str,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> int:
    """Make `text` the contents of the file at `path`, which is made if need be; the number of characters.

    `encoding`, `errors` and `newline` are as of `open`.

    Raises:
        OSError: it cannot be written.
        UnicodeEncodeError: the encoding has no such characters.
    """
    return _run(_write, path, "w", text, io.text_encoding(encoding), errors, newline)
