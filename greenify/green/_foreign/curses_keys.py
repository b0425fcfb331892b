"""curses: who waits for a key lets the others run.

curses reads the keyboard in C, and keeps what it has read and not given out yet, so that the descriptor alone
does not tell whether there is a key.  So it is asked without waiting, and the descriptor waited for when it
has none.  How long a window waits is read from curses itself (`wgetdelay`), which Python does not show before
CPython 3.15 at least; the structure of a window begins with the pointer that it takes.

After Escape curses waits in C for the rest of a key's sequence, as long as `curses.get_escdelay` says.
"""

from __future__ import annotations

import _curses
import ctypes
import fcntl
import termios
from collections.abc import Callable
from typing import Any

from greenify import core
from greenify.core.clock import monotonic
from greenify.green._files.descriptor_io import ready, runs_natively

__all__ = ["REPLACED", "NotFound"]

_curses_module: Any = _curses
_Window: Any = _curses_module.window
_error = _curses_module.error
_nodelay = _Window.nodelay
_timeout = _Window.timeout
_napms = _curses_module.napms
_ioctl = fcntl.ioctl

#: What curses reads from: Python's `initscr` names no other.
_KEYBOARD = 0
# The kernel tells curses of a new size of the terminal by a signal, whose handler is in C: how often it is
# asked, in seconds.
_LOOK = 0.2

# `halfdelay`, in seconds; None where there is none.
_half: list[float | None] = [None]


class NotFound(ImportError):
    """The module `_curses` does not show the functions of its library."""


try:
    _wgetdelay = ctypes.PyDLL(getattr(_curses_module, "__file__", None)).wgetdelay
except (OSError, AttributeError) as exc:
    raise NotFound(str(exc)) from exc
_wgetdelay.argtypes = [ctypes.c_void_p]
_wgetdelay.restype = ctypes.c_int


def _delay_of(window: Any) -> int:
    """How many milliseconds it waits for a key; -1 is for ever."""
    place = id(window) + object.__basicsize__
    delay: int = _wgetdelay(ctypes.c_void_p.from_address(place).value)
    return delay


def _ended() -> bool:
    """Whether the keyboard is readable and has nothing: its other end has gone."""
    if not ready(_KEYBOARD, False):
        return False
    try:
        left = _ioctl(_KEYBOARD, termios.FIONREAD, bytes(4))
    except OSError:
        return True
    return left == bytes(4)


def _waiting(native: Any) -> Callable[..., Any]:
    """In the place of a method of windows that waits for a key."""

    def method(self: Any, /, *args: Any) -> Any:
        delay = _delay_of(self)
        if not delay or runs_natively():
            return native(self, *args)
        limit = _half[0] if delay < 0 else delay / 1000
        deadline = None if limit is None else monotonic() + limit
        while True:
            ended = _ended()
            half = _half[0]
            if half is not None:
                # It would be waited for whatever the window says.
                _natives["cbreak"]()
            _nodelay(self, True)
            try:
                key = native(self, *args)
            except _error as exc:
                # `getkey` and `get_wch` say so; but a time-out of 0 says the same as one of an hour.
                if not str(exc).endswith("no input") or ended:
                    raise
                key, failed = -1, exc
            else:
                failed = None
            finally:
                _timeout(self, delay)
                if half is not None:
                    _natives["halfdelay"](round(half * 10))
            now = monotonic()
            if key != -1 or ended or (deadline is not None and now >= deadline):
                if failed is not None:
                    raise failed
                return key
            args = ()  # where the cursor goes first
            failed = None
            core.wait(_KEYBOARD, False, min(now + _LOOK, deadline or now + _LOOK))

    return method


def _halfdelay(tenths: Any) -> Any:
    result = _natives["halfdelay"](tenths)
    _half[0] = tenths / 10
    return result


def _ending_half(native: Any) -> Callable[..., Any]:
    """In the place of what ends `halfdelay`."""

    def function(*args: Any) -> Any:
        result = native(*args)
        _half[0] = None
        return result

    return function


def _sleep(ms: Any, /) -> Any:
    if runs_natively():
        return _napms(ms)
    result = _napms(
        0 if type(ms) is int and ms > 0 else ms
    )  # which says whether it can be called now
    if type(ms) is int and ms > 0:
        core.sleep(ms / 1000)
    return result


_natives = {
    name: getattr(_curses_module, name)
    for name in ("halfdelay", "cbreak", "nocbreak", "raw", "noraw", "initscr")
}

#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {
    _Window: {
        name: _waiting(getattr(_Window, name))
        for name in ("getch", "getkey", "get_wch")
        if hasattr(_Window, name)
    },
    _curses_module: {
        "napms": _sleep,
        **{name: _ending_half(native) for name, native in _natives.items()},
        "halfdelay": _halfdelay,
    },
}
