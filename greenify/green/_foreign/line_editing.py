"""Line editing by GNU readline: `input`, the prompts of Python, `pdb` and `code` wait for keys on the hub.

`readline` gives the interpreter a function that reads a line, and waits for each key in C.  Ours takes its
place: readline's interface for programs with an event loop of their own handles one key at a time.  The rest
is what the module itself does, in `readline.c`: signals, history, the end of the input.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

from greenify import core
from greenify.core.blocking import wait_natively
from greenify.green._files.descriptor_io import runs_natively
from greenify.locks import RLock

__all__ = ["NotFound", "lock", "make_cooperative", "taken"]

# char *(FILE *stdin, FILE *stdout, const char *prompt)
_READ_LINE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_LINE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

#: Held by who reads a line: there is one keyboard, and readline can do one thing at a time.
lock = RLock()

# Whether lines go to the history: `readline.set_auto_history`.
_remembers = True
_held: list[BaseException] = []


class NotFound(Exception):
    """The module `readline` does not show a GNU readline."""


def taken() -> BaseException | None:
    """What has ended the line that the native `input` says to be interrupted, if it was no Ctrl-C."""
    return _held.pop() if _held else None


class _Editor:
    """The readline that a compiled module uses.

    Args:
        module: `readline`.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        try:
            # It calls back into Python, and waits nowhere: the interpreter lock is kept.
            library = ctypes.PyDLL(getattr(module, "__file__", None))
            self._read_char = library.rl_callback_read_char
            self._install = library.rl_callback_handler_install
            self._remove = library.rl_callback_handler_remove
            self._resize = library.rl_resize_terminal
            self._cleanup = [library.rl_free_line_state, library.rl_cleanup_after_signal]
            self._streams = [
                ctypes.c_void_p.in_dll(library, name) for name in ("rl_instream", "rl_outstream")
            ]
            self._catches = ctypes.c_int.in_dll(library, "rl_catch_signals")
            self._prepare = library.rl_prep_terminal
            own = ctypes.PyDLL(None)
            self._free, self._fileno = own.free, own.fileno
        except (OSError, AttributeError, ValueError) as exc:
            raise NotFound(str(exc)) from exc
        self._install.argtypes = [ctypes.c_char_p, _LINE]
        self._install.restype = self._remove.restype = self._read_char.restype = None
        self._free.argtypes = self._fileno.argtypes = [ctypes.c_void_p]
        self._lines: list[bytes | None] = []
        self._on_line = _LINE(self._take)

    def _take(self, line: int | None) -> None:
        # While the handler is there, readline would prompt once more.
        self._remove()
        if line is None:
            self._lines.append(None)
        else:
            self._lines.append(ctypes.string_at(line))
            self._free(line)

    def read(self, stdin: int, stdout: int, prompt: bytes) -> bytes | None:
        """The line that the user enters, without its end; None at the end of the input."""
        if [stream.value for stream in self._streams] != [stdin, stdout]:
            for stream, value in zip(self._streams, (stdin, stdout), strict=True):
                stream.value = value
            self._prepare(1)
        self._catches.value = 0
        fd = self._fileno(stdin)
        size = _size(fd)
        self._lines.clear()
        self._install(prompt, self._on_line)
        try:
            while not self._lines:
                while not wait_natively(fd, False, 0.0):
                    core.wait(fd, False)
                now = _size(fd)
                if now != size:
                    size = now
                    self._resize()
                self._read_char()
        except BaseException:
            for function in self._cleanup:
                function()
            self._remove()
            raise
        line = self._lines.pop()
        if line and _remembers:
            self._remember(line)
        return line

    def _remember(self, line: bytes) -> None:
        module = self._module
        text = line.decode(errors="surrogateescape")
        count = module.get_current_history_length()
        if not count or module.get_history_item(count) != text:
            module.add_history(text)


def _size(fd: int) -> object:
    try:
        return os.get_terminal_size(fd)
    except OSError:
        return None


def make_cooperative(module: Any) -> Callable[[], None]:
    """Have the interpreter read lines by way of the hub.

    Args:
        module: `readline`, which has just been imported.

    Returns:
        A function that takes it back.

    Raises:
        NotFound: it is not GNU's (libedit), or cannot be seen.
    """
    if "libedit" in (module.__doc__ or ""):
        raise NotFound("it is libedit's")
    editor = _Editor(module)
    api = ctypes.pythonapi
    allocate = api.PyMem_RawMalloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p
    pointer = ctypes.c_void_p.in_dll(api, "PyOS_ReadlineFunctionPointer")
    native_address = pointer.value
    native = ctypes.cast(native_address, _READ_LINE)  # type: ignore[arg-type]

    def read_line(stdin: int, stdout: int, prompt: bytes) -> int | None:
        if runs_natively() or sys.is_finalizing():
            found: int | None = native(stdin, stdout, prompt)
            return found
        try:
            with lock:
                line = editor.read(stdin, stdout, prompt or b"")
        except KeyboardInterrupt:
            return None
        except BaseException as exc:
            # No exception can go through C, which takes this for Ctrl-C.
            _held[:] = [exc]
            return None
        data = b"" if line is None else line + b"\n"
        address: int = allocate(len(data) + 1)
        ctypes.memmove(address, data + b"\0", len(data) + 1)
        return address

    ours = _READ_LINE(read_line)
    pointer.value = ctypes.cast(ours, ctypes.c_void_p).value

    def take_back() -> None:
        if pointer.value == ctypes.cast(ours, ctypes.c_void_p).value:
            pointer.value = native_address

    return take_back


def remembering(original: Callable[[bool], None]) -> Callable[[bool], None]:
    """The twin of `readline.set_auto_history`: the native one tells nobody."""

    def set_auto_history(enabled: bool, /) -> None:
        global _remembers
        original(enabled)
        _remembers = bool(enabled)

    return set_auto_history
