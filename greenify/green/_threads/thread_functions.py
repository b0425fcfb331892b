"""How trace and profile functions change places when greenlets are switched.

`PointerExchange` moves what the interpreter itself has of them, so that it does for those of C, too.
`NameExchange` stands in where that cannot be reached: it knows functions of Python and cProfile's objects.

What a greenlet that does not run has is kept in two attributes of it: ``tracing``, the functions of the
thread, and ``in_tracer``, whether and how it waits in a call of one.
"""

from __future__ import annotations

import _lsprof
import sys
from collections.abc import Callable
from typing import Any

from greenify.green._threads.switches import followed_in_c
from greenify.green._threads.thread_state import (
    IDLE,
    ThreadState,
    release,
    set_in_c,
    this_thread_state,
)

__all__ = ["NameExchange", "PointerExchange", "thread_of"]

_settrace = sys.settrace
_setprofile = sys.setprofile
_gettrace = sys.gettrace
_getprofile = sys.getprofile

_NOBODY = [0, 0, 0, 0]
_NEW: Any = object()


def thread_of(g: Any) -> Any:
    """The greenlet that stands for the thread `g` runs in; the hub's own stands for itself."""
    while not hasattr(g, "hub"):
        parent = g.parent
        if parent is None:
            break
        hub = getattr(parent, "hub", None)
        if hub is not None and hub.greenlet is g:
            break
        g = parent
    return g


class Functions:
    """The functions of a thread that does not run, and the references to their objects.

    Attributes:
        words: what `ThreadState.functions` has had, None when that has it again.
        tracer: the object of the trace function.
    """

    __slots__ = ("tracer", "words")

    def __init__(self, words: list[int], tracer: object = None) -> None:
        self.words: list[int] | None = words
        self.tracer = tracer

    def take(self) -> list[int]:
        """What the thread's state is to have, references included."""
        words, self.words = self.words, None
        return _NOBODY if words is None else words

    # The interpreter takes modules apart at its end, when greenlets are still there.
    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.words is None or finalizing():
            return
        if sys.version_info < (3, 12):
            for word in self.words[2:]:
                release(word)
            return
        # The interpreter counts the threads that have functions.
        state = this_thread_state()
        if state is not None:
            with _Acting(state, self.take()):
                _settrace(None)
                _setprofile(None)


class _Acting:
    """Have the functions of another thread in a ``with`` block; they are in `words` after it.

    From CPython 3.12 on.  Before, a flag tells the interpreter whether there are functions.
    """

    def __init__(self, state: ThreadState, words: list[int]) -> None:
        self._state = state
        self.words = words

    def __enter__(self) -> None:
        self._state.calls[0] += 1
        self._own = self._state.functions[:]
        self._state.functions[:] = self.words

    def __exit__(self, *exc: object) -> None:
        self.words = self._state.functions[:]
        self._state.functions[:] = self._own
        self._state.calls[0] -= 1


class PointerExchange:
    """For the OS thread that makes it."""

    __slots__ = ("_state",)

    def __init__(self, state: ThreadState) -> None:
        self._state = state

    def switch(self, origin: Any, target: Any) -> None:
        """Put in place what `target` has.  To be called where greenlet reports the switch."""
        calls = self._state.calls
        # One is greenlet's, which has turned tracing off for this call.
        before = calls[:]
        if before[0] > 1:
            origin.in_tracer = before
        inside = getattr(target, "in_tracer", None)
        if inside is not None:
            target.in_tracer = None
            calls[:] = inside
        elif before[0] > 1:
            calls[:] = (IDLE[0] + 1, IDLE[1])[: len(before)]
        origin, target = thread_of(origin), thread_of(target)
        if origin is not target:
            self._switch_threads(origin, target)

    def _switch_threads(self, origin: Any, target: Any) -> None:
        functions = self._state.functions
        present = functions[:]
        staying = None
        if present[0] not in (0, self._state.trampolines[0]) and followed_in_c():
            # memray's, which goes by all calls: one that it misses would crash it.
            staying = Functions([present[0], 0, present[2], 0])
            present[0] = present[2] = 0
        if present != _NOBODY:
            saved = Functions(present, _gettrace())
            # A thread that has ended (its greenlet may become another one) has none any more.
            if not origin.dead and getattr(origin, "_function", origin) is not None:
                origin.tracing = saved
        functions[:] = _NOBODY
        wanted: Functions | None = getattr(target, "tracing", _NEW)
        if wanted is not None:
            if wanted is not _NEW:
                functions[:] = wanted.take()
            elif hasattr(target, "hub"):
                self._share(target.hub.main, hasattr(target, "task"))
            target.tracing = None
        if staying is not None and not functions[0]:
            functions[0], _, functions[2], _ = staying.take()

    def _share(self, main: Any, task: bool) -> None:
        # What begins has the tools in C of its OS thread's main greenlet, as where nobody follows the
        # switches, if it is a task, which is no thread, so that `threading.settrace` does not reach it; or if
        # the tool tells greenlets apart: coverage's with ``concurrency = greenlet``.
        functions: Functions | None = getattr(main, "tracing", None)
        if functions is None or functions.words is None:
            return
        profile, trace, profiled, traced = functions.words
        if profile not in (0, self._state.trampolines[0]) and task:
            set_in_c("PyEval_SetProfile", profile, profiled)
        if trace not in (0, self._state.trampolines[1]) and (
            task or getattr(functions.tracer, "concur_id_func", None) is not None
        ):
            set_in_c("PyEval_SetTrace", trace, traced)

    def change(self, g: Any, setter: Callable[[Any], object], function: Any) -> None:
        """Have ``setter(function)`` done for `g`, a thread that does not run.  From CPython 3.12 on."""
        present: Functions | None = getattr(g, "tracing", None)
        acting = _Acting(self._state, _NOBODY if present is None else present.take())
        with acting:
            setter(function)
        g.tracing = None if acting.words == _NOBODY else Functions(acting.words)


class NameExchange:
    """The same with what `sys` has to offer, where the interpreter's own cannot be reached."""

    __slots__ = ()

    def switch(self, origin: Any, target: Any) -> None:
        """As `PointerExchange.switch`, but for who waits in such a function."""
        origin, target = thread_of(origin), thread_of(target)
        if origin is target:
            return
        present = (_gettrace(), _getprofile())
        origin.tracing = present
        wanted = getattr(target, "tracing", None) or (None, None)
        if wanted[0] is not present[0]:
            _settrace(wanted[0])
        if wanted[1] is not present[1]:
            _setprofile(None)
            if isinstance(wanted[1], _lsprof.Profiler):
                # The only way to put it back; it goes on where it was.
                _lsprof.Profiler.enable(wanted[1])
            else:
                _setprofile(wanted[1])

    def change(self, g: Any, setter: Callable[[Any], object], function: Any) -> None:
        """As `PointerExchange.change`."""
        trace, profile = getattr(g, "tracing", None) or (None, None)
        g.tracing = (function, profile) if setter is _settrace else (trace, function)
