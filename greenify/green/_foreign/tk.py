"""tkinter: the main loop, and what waits for windows and variables.

Tk's own loop would sleep in C.  Here what has happened is handled in turns; between two of them the caller
waits on the hub, with nothing of Tcl on its stack: so other green threads may call Tk meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenify import core
from greenify.green._files.descriptor_io import runs_natively

__all__ = ["REPLACED"]

try:
    import tkinter
except ModuleNotFoundError:  # for who looks at this file where it is not installed
    Misc: Any = None
else:
    Misc = tkinter.Misc

_NAMES = ("after", "mainloop", "quit", "wait_variable", "wait_window")
_native: dict[str, Any] = {name: getattr(Misc, name, None) for name in _NAMES}

# Seconds between two turns: nobody sees a window answer later than this.
_PAUSE = 0.01
# How many events a turn handles at most.
_MANY = 100

# The loops that run, the innermost last: each a list that gets an element when somebody quits.
_loops: list[list[None]] = []


def _handle_events(tk: Any) -> bool:
    """Handle what has happened; whether there may be more."""
    return all(tk.dooneevent(tkinter._tkinter.DONT_WAIT) for _ in range(_MANY))  # type: ignore[attr-defined]


def _goes_on(tk: Any, n: int) -> bool:
    """Whether Tk's own loop would go on: it has windows, and no callback has ended the program.

    It raises what a callback has left for it (SystemExit).
    """
    stopped: list[None] = []

    def stop() -> None:
        stopped.append(None)
        tk.quit()

    timer = tk.createtimerhandler(0, stop)
    try:
        tk.mainloop(n)
    finally:
        if not stopped:
            timer.deletetimerhandler()
    return bool(stopped)


def _loop(tk: Any, n: int) -> None:
    ended: list[None] = []
    _loops.append(ended)
    try:
        while not ended:
            more = _handle_events(tk)
            if ended or not _goes_on(tk, n) or ended:
                return
            core.sleep(0 if more else _PAUSE)
    finally:
        _loops[:] = [loop for loop in _loops if loop is not ended]


def _until(tk: Any, done: Callable[[], object]) -> None:
    while not done():
        more = _handle_events(tk)
        if not done():
            core.sleep(0 if more else _PAUSE)


def mainloop(self: Any, n: int = 0) -> None:
    """See `tkinter.Misc.mainloop`."""
    if runs_natively():
        _native["mainloop"](self, n)
    else:
        _loop(self.tk, n)


def _of_module(n: int = 0) -> None:
    """See `tkinter.mainloop`."""
    mainloop(tkinter._get_default_root("run the main loop"), n)  # type: ignore[attr-defined]


def quit(self: Any) -> None:
    """See `tkinter.Misc.quit`."""
    if _loops:
        _loops[-1].append(None)
    _native["quit"](self)


def wait_window(self: Any, window: Any = None) -> None:
    """See `tkinter.Misc.wait_window`."""
    if runs_natively():
        _native["wait_window"](self, window)
        return
    path = (self if window is None else window)._w
    tk = self.tk
    tk.call("winfo", "class", path)  # raises what the real one raises for what is no window

    def gone() -> bool:
        try:
            return not tk.getboolean(tk.call("winfo", "exists", path))
        except tkinter.TclError:
            return True  # so is the whole application

    _until(tk, gone)


def wait_variable(self: Any, name: Any = "PY_VAR") -> None:
    """See `tkinter.Misc.wait_variable`."""
    if runs_natively():
        _native["wait_variable"](self, name)
        return
    written: list[object] = []
    tk = self.tk
    command = self._register(lambda *why: written.append(why))
    trace = ("variable", str(name), "write unset", command)
    tk.call("trace", "add", *trace)
    try:
        _until(tk, lambda: written)
    finally:
        try:
            tk.call("trace", "remove", *trace)
            self.deletecommand(command)
        except tkinter.TclError:
            pass  # the application is gone, and they with it


def after(self: Any, ms: Any, func: Any = None, *args: Any) -> Any:
    """See `tkinter.Misc.after`; without a function it sleeps."""
    if func is None and type(ms) is int and not runs_natively():
        core.sleep(max(ms, 0) / 1000)
        return None
    return _native["after"](self, ms, func, *args)


#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {}

if Misc is not None:
    REPLACED[tkinter] = {"mainloop": _of_module}
    REPLACED[Misc] = {name: globals()[name] for name in _NAMES}
