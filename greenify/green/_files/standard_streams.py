"""The standard streams of a process, made cooperative in place, and `input`.

``sys.stdin`` and its kin exist long before any patch, and half of the program has a reference to them.  So
they stay the same objects, and what is below them is exchanged: an `io.TextIOWrapper` can be initialised a
second time.  What has been read from the descriptor and not yet been asked for is read again from the new
one.
"""

from __future__ import annotations

import atexit
import builtins
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from greenify.green._copies.builtin import builtin_twin
from greenify.green._files.buffered import CooperativeBufferedReader, CooperativeBufferedWriter
from greenify.green._files.descriptor_io import DEVICE, PLAIN, kind_of, runs_natively, write_all
from greenify.green._files.fileobject import CooperativeFileIO, buffer_size

__all__ = ["input", "make_cooperative"]

_input = builtins.input
_TextIOWrapper = io.TextIOWrapper
_FileIO = io.FileIO
_BufferedReader = io.BufferedReader
_BufferedWriter = io.BufferedWriter
_current_frames = sys._current_frames
_open = os.open
_close = os.close

# What the interpreter itself makes them with, on every system but Windows.
_NEWLINE = "\n"


def make_cooperative(text: Any) -> Callable[[], None] | None:
    """Let a standard stream wait cooperatively, if it is one that may have to wait.

    Not one that another native thread may be using now, and nothing that the program has put there itself.

    Returns:
        What takes it back, or None if nothing was done.
    """
    if type(text) is not _TextIOWrapper or text.closed or len(_current_frames()) > 1:
        return None
    buffered: Any = text.buffer
    raw: Any = getattr(buffered, "raw", buffered)
    if type(raw) is not _FileIO or type(buffered) not in (
        _FileIO,
        _BufferedReader,
        _BufferedWriter,
    ):
        return None
    try:
        if kind_of(raw.fileno()) in (PLAIN, DEVICE):
            return None
    except OSError:
        return None  # closed by its number
    reading = raw.readable()
    made: Any = CooperativeFileIO(raw.fileno(), raw.mode, raw.closefd)
    made.name = raw.name
    if reading:
        made.pushed = _drain_native(text, raw)
    if buffered is not raw:
        kind = CooperativeBufferedReader if reading else CooperativeBufferedWriter
        # As large as the native one: what is left in it when a pipe breaks decides about the exit code.
        made = kind(made, buffer_size(buffered))
    _put_below(text, made)

    undo = _Undo(text, made, buffered)
    # Finalisers print when greenify's own modules are gone.
    atexit.register(undo)
    return undo


class _Undo:
    """Puts what has been below a stream back there."""

    def __init__(self, text: Any, made: Any, before: Any) -> None:
        self._parts: tuple[Any, Any, Any] | None = (text, made, before)

    def __call__(self) -> None:
        atexit.unregister(self)
        if self._parts is None:
            return
        text, made, before = self._parts
        # A reference that outlives the interpreter's would keep the stream from its last flush.
        self._parts = None
        if text.closed or text.buffer is not made:
            return
        rest = b""
        if made.readable():
            below = getattr(made, "raw", made)
            below.pushed, later = None, below.pushed
            pending = _drain(text)
            below.pushed = pending + later
            if below.pushed:
                return  # a native object could not be given it
        else:
            rest = _take_unwritten(text, made)
        _put_below(text, before)
        if rest:
            before.write(rest)


def _take_unwritten(text: Any, made: Any) -> bytes:
    """What cannot be written now.  The interpreter tries for the last time, and tells what comes of it."""
    try:
        text.flush()
    except OSError:
        if CooperativeBufferedWriter in type(made).__mro__:  # isinstance takes native ones, too
            collecting: Any = made.raw
            collecting.__class__ = _Collecting
            made.flush()
            return bytes(collecting.pushed)
    return b""


class _Collecting(CooperativeFileIO):
    """Keeps what is written to it."""

    def write(self, data: Any, /) -> int:
        self.pushed = (self.pushed or b"") + bytes(data)
        return len(data)


def _put_below(text: Any, buffered: Any) -> None:
    if text.writable():
        text.flush()
    text.__init__(
        buffered, text.encoding, text.errors, _NEWLINE, text.line_buffering, text.write_through
    )


def _drain_native(text: Any, raw: Any) -> bytes:
    """Take out what `text` and its buffer have read ahead, without waiting for more."""
    fd, mode, closefd, name = raw.fileno(), raw.mode, raw.closefd, raw.name
    null = _open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Another file for a moment, one that is at its end.
        raw.__init__(null, mode, closefd=False)
        try:
            return _drain(text)
        finally:
            raw.__init__(fd, mode, closefd=closefd)
            raw.name = name
    finally:
        _close(null)


def _drain(text: Any) -> bytes:
    """Everything that is left in `text`, whose raw object is at its end."""
    ahead: bytes = text.buffer.read()
    characters: list[str] = []
    rest = b""
    try:
        while True:
            # One at a time: what is wrong is known only when all the rest has been taken.
            character = text.read(1)
            if not character:
                break
            characters.append(character)
    except UnicodeDecodeError as exc:
        rest = exc.object[exc.start :]  # the beginning of a character
    return "".join(characters).encode(text.encoding, text.errors) + rest + ahead


def _cooperative_input(prompt: object = "", /) -> str:
    """`builtins.input`, which lets the other threads run while it waits.

    At a terminal whose lines are edited by GNU readline, `_foreign.line_editing` waits inside of the native
    function.
    """
    stdin: Any = sys.stdin
    stdout: Any = sys.stdout
    if runs_natively() or not _at_terminal(stdin, stdout):
        return _input(prompt)
    if "readline" in sys.modules:
        return _edited(prompt)
    sys.audit("builtins.input", prompt)
    if sys.stderr is not None:
        sys.stderr.flush()
    stdout.flush()
    text = str(prompt)
    if text:
        # To where the native function writes it.
        write_all(2, kind_of(2), text.encode(stdout.encoding, stdout.errors))
    line: str = stdin.readline()
    if not line:
        raise EOFError
    line = line.removesuffix("\n")
    sys.audit("builtins.input/result", line)
    return line


def _edited(prompt: object) -> str:
    editing: Any = sys.modules.get("greenify.green._foreign.line_editing")
    if editing is None:
        return _input(prompt)
    # The native function refuses to be called twice on one OS thread.
    with editing.lock:
        try:
            return _input(prompt)
        except KeyboardInterrupt:
            error = editing.taken()
            if error is None:
                raise
        try:
            raise error
        finally:
            del error


def _at_terminal(stdin: Any, stdout: Any) -> bool:
    """Whether the native function would talk to the terminal behind Python's back."""
    try:
        return bool(stdin.fileno() == 0 and stdout.fileno() == 1 and os.isatty(0) and os.isatty(1))
    except (AttributeError, OSError, ValueError):
        return False


input: Any = builtin_twin(_input, _cooperative_input)
