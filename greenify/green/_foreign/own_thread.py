"""A native thread of its own for an object: all calls of a connection run on it, one after the other.

A pool that is shared deadlocks: twenty threads that wait for one row have taken every thread of it when the
holder wants to commit.  Here every object has a thread, made when it is first needed and ended with the
object.  The object is used by one call at a time; C code that wants the same OS thread every time has it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from greenify.core.workers import Workers
from greenify.green._foreign.calls import Call, Request, alone_at_the_end, inside
from greenify.identity import current_thread_greenlet

__all__ = ["OwnThread", "own_thread"]

T = TypeVar("T")


class OwnThread:
    """One native thread, for the calls of one object.  Keep it as long as the object; any thread may call.

    The thread is started by the first call, and ends when this object is collected.  The program does not
    find it among its threads.  A forked child has none of them; the first call there starts another.
    """

    __slots__ = ("__weakref__", "_nesting", "_workers")

    def __init__(self) -> None:
        self._workers = Workers(limit=1, idle=None, hidden=True)
        # The callbacks that are being served in the caller's thread while the native one waits for them.
        self._nesting: list[tuple[object, Request]] = []

    def __del__(self, _finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if (
            not _finalizing()
        ):  # else modules have been taken apart, and the thread will not run again
            self._workers.dismiss()

    @property
    def running(self) -> bool:
        """Whether there is a native thread now."""
        return self._workers.threads > 0

    def here(self) -> bool:
        """Whether the caller runs on the thread already."""
        return self._workers.here()

    def call(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call ``function(*args, **kwargs)`` on the thread, after the calls before it, and wait for the end.

        As with real threads, the caller does not leave while the call runs: a kill, a time-out or a
        KeyboardInterrupt is raised when it has ended, for nobody may use the object before.  A signal handler
        itself runs at once.

        A call out of a callback (`run_back`) of another call runs inside of that one, as in plain Python, and
        so does one that the function makes itself, or a finaliser that the thread runs between two calls.
        """
        return self._call(None, function, args, kwargs)

    def call_interruptibly(
        self,
        interrupt: Callable[[], object],
        function: Callable[..., T],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> T:
        """As `call`, with something that makes the call end sooner (``connection.cancel``).

        Args:
            interrupt: called once, in the caller's thread, when an exception has hit that one.  It must be
                safe while the call runs, and after it.
        """
        return self._call(interrupt, function, args, kwargs)

    def _call(
        self,
        interrupt: Callable[[], object] | None,
        function: Callable[..., T],
        args: Any,
        kwargs: Any,
    ) -> T:
        if alone_at_the_end():
            return function(*args, **kwargs)
        nesting = self._nesting
        if inside(nesting) or self._workers.here():
            return function(*args, **kwargs)
        call = Call(function, args, kwargs, nesting)
        if nesting and nesting[-1][0] is current_thread_greenlet():
            nesting[-1][1].put(call)
        else:
            try:
                self._workers.start(call.run)
            except RuntimeError:
                # There is no thread to be had, as at the interpreter's end.
                return function(*args, **kwargs)
        result: T = call.wait(stays=True, interrupt=interrupt)
        return result


_threads: dict[int, tuple[weakref.ref[Any], OwnThread]] = {}


def own_thread(owner: object) -> OwnThread:
    """The `OwnThread` of any object that can be referred to weakly: made at the first call, ended with it.

    Nothing is stored in the object.  Any thread may call.

    Raises:
        TypeError: `owner` cannot be referred to weakly: keep an `OwnThread` in an attribute of a subclass, or
            of what stands for it.
    """
    key = id(owner)
    found = _threads.get(key)
    if found is None or found[0]() is not owner:
        if found is not None and _threads.get(key) is found:
            _threads.pop(key, None)
        try:
            reference = weakref.ref(owner, partial(_forget, key))
        except TypeError:
            raise TypeError(
                f"{type(owner).__qualname__} objects cannot be referred to weakly, so that nothing would end "
                "their native thread: keep an OwnThread in an attribute of a subclass or a wrapper"
            ) from None
        found = _threads.setdefault(key, (reference, OwnThread()))
    return found[1]


def _forget(key: int, reference: weakref.ref[Any]) -> None:
    found = _threads.get(key)
    if found is not None and found[0] is reference:
        _threads.pop(key, None)
