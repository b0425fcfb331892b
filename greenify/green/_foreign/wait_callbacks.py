"""A C library that has a Python function called where it would wait: its calls run on the hub where they can.

Such a function is one variable of the library, for the process and all its threads.  Left set it changes what
the library does elsewhere (psycopg2 refuses COPY and large objects, and connects otherwise), and the library
reads it where nobody else can tell when.  So it is set for moments only:

* A *window* is the time from setting it to its call, in which the C code finds it set and sends what it has
  to send.  There are windows on the main thread's hub only, and nothing of Python runs in one: no finaliser,
  no switch.  The callback takes itself away before it waits.
* While any call of the library runs on another thread (`WaitCallback.unused`), there is no window, and such a
  call begins when there is none.  So it never sees the callback.  What would have run on the hub meanwhile
  goes to a native thread, as it would without all this.

The C code may look for the callback once in each call.  A call that would wait twice has to be made in two.

The library drops a connection whose callback raises: what hits the green thread in there is held until the
call has ended.
"""

from __future__ import annotations

import errno
import gc
import logging
import select
import weakref
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, Final

from greenlet import getcurrent

from greenify import core
from greenify.core import registry
from greenify.core.blocking import wait_natively
from greenify.core.clock import monotonic as _monotonic
from greenify.core.fork import fork_hooks
from greenify.green._foreign.trying import NOT_YET, NotYet
from greenify.green._foreign.turns import Turns
from greenify.green._selecting.waits import alone

__all__ = ["NOTHING", "WaitCallback"]

_native_sleep = registry._native_sleep

#: What `poll` of a `WaitCallback` returns when there is nothing more to wait for.
NOTHING: Final = -1, False

# What is behind TLS can have come without the descriptor telling of it: a library that was given a part of a
# message looks again after so many seconds.
_LOOK_AGAIN = 0.05

_POLLIN, _POLLOUT = select.POLLIN, select.POLLOUT

# How often a native thread looks whether a window has closed, which takes as long as to send a statement.
_WINDOW = 0.0001

# Calls something with nothing of Python in between: see `WaitCallback.call`.
_apply: Callable[[Any], Any] = partial.__call__


class WaitCallback:
    """The callback of one library.  Any thread may use it.

    Args:
        get: ``get()`` is the callback that the library has, or None.
        put: ``put(callback)`` gives it one; None takes it away.  Both have to be functions in C.
        poll: ``poll(object)`` lets the library go on, without waiting: it returns the descriptor to wait for,
            and whether for writing; or `NOTHING` when its answer is there.  What it raises is the call's.
    """

    __slots__ = (
        "_callback",
        "_calls_back",
        "_collects",
        "_get",
        "_natively",
        "_poll",
        "_put",
        "_strangers",
        "_window",
    )

    def __init__(
        self,
        get: Callable[[], Any],
        put: Callable[[Any], object],
        poll: Callable[[Any], tuple[int, bool]],
    ) -> None:
        self._get = get
        self._put = put
        self._poll = poll
        self._callback = self._wait
        # Whoever comes second sees the other: one element for each call under way outside of windows, and the
        # window.  There is no lock, for the collector may run finalisers where one is held, and they call.
        self._natively: list[None] = []
        self._window: Turns | None = None
        self._collects = False
        self._calls_back = False
        self._strangers: set[weakref.ref[Any]] = set()
        fork_hooks.append(self._forked)

    def _forked(self) -> None:
        # The child has none of the other threads.  One of them may have been the one with the window.
        if self._window is not None:
            self._close()
        self._natively = []

    def users(self) -> bool:
        """Whether the program has set a callback of its own."""
        callback = self._get()
        return callback is not None and callback is not self._callback

    def avoid(self, stranger: object) -> None:
        """Have no window as long as `stranger` lives, an object whose calls are not replaced.

        Another OS thread could use it in one.
        """
        self._strangers.add(weakref.ref(stranger, self._strangers.discard))

    def outside(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which reads or sets the callback, for the program: called while there is no window."""

        return partial(self.unused, function)

    def without(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` for a native thread; see `unused`."""
        return update_wrapper(partial(self.unused, function), function)

    def unused(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``function(*args, **kwargs)``, which does not get to see the callback, and waits in C."""
        natively = self._natively  # a child that is forked in there has another list
        natively.append(None)
        try:
            while self._window is not None:
                _native_sleep(_WINDOW)
            return function(*args, **kwargs)
        finally:
            natively.pop()

    def here(self) -> bool:
        """Whether the caller may wait in the callback: a green thread of the main OS thread.

        The main thread may not, for its signal handlers run where it waits, and may use the same object.
        """
        try:
            g: Any = getcurrent()
            main = g.hub.main
        except (AttributeError, RuntimeError):
            return False
        return (
            main is not g
            and registry.is_main_thread()
            and not self._natively
            and not self._strangers
        )

    def call(
        self,
        turns: Turns,
        interrupt: Callable[[], object] | None,
        function: Callable[..., Any],
        /,
        *args: Any,
        calls_back: bool = False,
    ) -> Any | NotYet:
        """Call ``function(*args)``, a function in C which runs nothing of Python before it waits.

        What hits the caller meanwhile is raised when the call has ended.

        Args:
            turns: of the object; the caller has the turn, and keeps it.
            interrupt: called once when something has hit the caller, to make the call end sooner.
            calls_back: whether the function runs code of the program when it has waited, and has given up the
                object's lock: that may use the object.

        Returns:
            `NOT_YET` if it has not been called: others do so natively now.
        """
        # Before the window opens: a finaliser may call, too.
        collects = gc.isenabled()
        if collects:
            gc.disable()
        self._window = turns
        if self._natively or self._get() is not None:
            self._window = None
            if collects:
                gc.enable()
            return NOT_YET
        self._collects = collects
        self._calls_back = calls_back
        turns._locked = True
        turns._interrupt = interrupt
        result: Any = None
        try:
            run = partial(function, *args)
            # One instruction: the interpreter looks at signals, other threads and garbage between two.
            # (A partial that was kept would be given the twin of `put`, by a patch after a restore.)
            _, result = map(_apply, (partial(self._put, self._callback), run))
        except BaseException:
            if turns._held is None:
                raise
        finally:
            if self._window is turns:
                self._close()  # it has not waited
            turns._locked = False
            turns._interrupt = None
        if turns._held is not None:
            _raise_held(turns)
        return result

    def _close(self) -> None:
        self._put(None)
        self._window = None
        if self._collects:
            gc.enable()

    def _wait(self, owner: Any) -> None:
        turns = self._window
        if turns is None or turns._caller is not getcurrent():
            # Called for an object that is not ours: one from before the patch.
            self._wait_natively(owner)
            return
        calls_back = self._calls_back
        self._close()
        poll = self._poll
        fd, writing = poll(owner)
        deadline: float | None = None
        while fd >= 0:
            closed: OSError | None = None
            try:
                _wait_for(fd, writing, deadline)
            except BaseException as exc:
                if isinstance(exc, OSError) and exc.errno == errno.EBADF:
                    # Closed by somebody else.  The library finds that out now, or there is no way on.
                    closed = exc
                else:
                    _hold(turns, exc)
            fd, writing = poll(owner)
            if fd >= 0:
                if closed is not None:
                    raise closed
                deadline = _monotonic() + _LOOK_AGAIN
        if calls_back:
            turns._locked = False

    def _wait_natively(self, owner: Any) -> None:
        while True:
            fd, writing = self._poll(owner)
            if fd < 0:
                return
            wait_natively(fd, writing, None)


def _wait_for(fd: int, writing: bool, deadline: float | None) -> None:
    """Wait on a descriptor of the library's, once; it may have become another file's meanwhile."""
    mask = _POLLOUT if writing else _POLLIN
    if alone(getcurrent().hub, fd, mask, deadline) is None:  # type: ignore[attr-defined]
        core.wait(fd, writing, deadline)


def _hold(turns: Turns, exc: BaseException) -> None:
    """Keep what has hit the caller for the end of the call, which the first one of it makes end sooner.

    Raises:
        BaseException: `exc`, if nobody is going to wake the caller again.
    """
    if registry.gone(exc):
        raise exc
    held = turns._held
    if held is not None and exc is not held and exc.__context__ is None:
        exc.__context__ = held
    turns._held = exc
    if held is not None or turns._interrupt is None:
        return
    try:
        turns._interrupt()
    except Exception:
        # The exception that is on its way counts; the call takes as long as it takes.
        logging.getLogger("greenify").exception(
            "a call that waits on the hub cannot be interrupted"
        )
    except BaseException as another:
        _hold(turns, another)


def _raise_held(turns: Turns) -> None:
    held, turns._held = turns._held, None
    assert held is not None
    try:
        raise held
    finally:
        # The traceback holds this frame: break the cycle.
        del held
