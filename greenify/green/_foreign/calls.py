"""Handing over: a call runs on a native thread, and the greenlet waits.

The caller stays until the call has ended, if the call belongs to an object that nobody may touch before
(`OwnThread`).  Otherwise it leaves at once when it is killed or interrupted, and the outcome is dropped.

On the native thread the call is the caller's: `identity` gives it the greenlet of the thread that waits, and
it runs in a copy of that one's context, whose changes are taken over at the end.

The caller's code in here counts as one C function for signal handlers (`core.signals`): they run where it
waits, never between.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import update_wrapper
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent

from greenify import core
from greenify.core import registry, waiters
from greenify.core.native import call_is_over, callers_mask, forget_name, set_mask
from greenify.core.workers import Workers
from greenify.errors import HubError
from greenify.identity import current_thread_greenlet, get_ident

__all__ = [
    "Call",
    "Request",
    "alone_at_the_end",
    "compute",
    "compute_with",
    "hand_over",
    "hand_over_interruptibly",
    "inside",
    "run_back",
]

T = TypeVar("T")

_MISSING = object()
_native_lock = waiters._native_lock

# Calls that wait may wait for one another, so that they need a thread each.
_waiting = Workers(limit=10_000, hidden=True)
# Those that compute do not; a few more than processors, for they do not compute all the time.
_computing = Workers(limit=(os.cpu_count() or 1) + 2, hidden=True)


class Request:
    """A Python function that C code calls on a native thread, on its way to the caller's thread."""

    __slots__ = ("_door", "_inbox", "args", "error", "function", "here", "kwargs", "result")

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.error: BaseException | None = None
        self.here = False  # nobody waits for the call any more: the native thread calls it itself
        self._inbox: deque[Call | None] = deque()
        self._door = _native_lock()
        self._door.acquire()

    def put(self, call: Call | None) -> None:
        """Have the native thread, which waits for the answer, run `call` first; None is the answer."""
        self._inbox.append(call)
        try:
            self._door.release()
        except RuntimeError:
            pass  # it has not looked yet since the last one

    def answer(self) -> Any:
        """On the native thread: what the function gives."""
        while True:
            self._door.acquire()
            while self._inbox:
                call = self._inbox.popleft()
                if call is not None:
                    call.run()
                    continue
                if self.here:
                    return self.function(*self.args, **self.kwargs)
                error, self.error = self.error, None
                if error is None:
                    return self.result
                try:
                    raise error
                finally:
                    del error

    def serve(self) -> None:
        """In the caller's thread: call the function, and answer."""
        try:
            self.result = self.function(*self.args, **self.kwargs)
        except BaseException as exc:
            # Also one that ends the caller: C code sees it as from any callback.
            self.error = exc
        finally:
            self.put(None)


class Call:
    """One call on a native thread: made, submitted and waited for by the caller.

    Args:
        nesting: told of the requests that are being served; see `OwnThread`.
    """

    __slots__ = (
        "_args",
        "_before",
        "_caller",
        "_context",
        "_error",
        "_function",
        "_generation",
        "_ident",
        "_kwargs",
        "_left",
        "_mask",
        "_nesting",
        "_requests",
        "_result",
        "_waiter",
        "ended",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        nesting: list[tuple[object, Request]] | None = None,
    ) -> None:
        self._function: Callable[..., Any] | None = function
        self._args = args
        self._kwargs = kwargs
        self._before: Context = copy_context()
        self._context: Context = self._before.copy()
        self._caller: Any = current_thread_greenlet()
        self._ident = get_ident()
        self._mask = callers_mask(function)
        self._waiter = core.new_waiter()
        self._generation = waiters.generation
        self._requests: deque[Request] = deque()
        self._nesting = nesting
        self._left = False
        self._result: Any = None
        self._error: BaseException | None = None
        self.ended = False

    # On the native thread.

    def run(self) -> None:
        """Do it, and wake the caller.  Never raises."""
        if self._left:
            return  # before it began
        root: Any = getcurrent()
        outer = vars(root).copy()
        root.stands_for = self._caller
        root.ident = self._ident
        root.call = self
        before = None if self._mask is None else set_mask(self._mask)
        try:
            assert self._function is not None
            self._result = self._context.run(self._function, *self._args, **self._kwargs)
        except BaseException as exc:
            self._error = exc
        finally:
            if before is not None:
                set_mask(before)
            vars(root).clear()
            vars(root).update(outer)
        self._function = None
        self._args = self._kwargs = ()
        if waiters.generation == self._generation:
            forget_name()
            call_is_over()
            self.ended = True
            self._waiter.wake()

    def back(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a function in the caller's thread, and wait natively for what it gives."""
        request = Request(function, args, kwargs)
        self._requests.append(request)
        if self._left:
            try:
                self._requests.remove(request)
            except ValueError:
                pass  # who has left has taken it, and sends it back
            else:
                return function(*args, **kwargs)
        self._waiter.wake()
        return request.answer()

    # In the caller's thread.

    def wait(self, *, stays: bool, interrupt: Callable[[], object] | None = None) -> Any:
        """Wait for the end, and return or raise what the call has.

        Args:
            stays: whether an exception that hits the caller meanwhile is held until the call has ended.
            interrupt: called once when there is such an exception, to make the call end sooner.
        """
        hub = core.current_hub()
        held: BaseException | None = None
        if hub is not None:
            hub.lent += 1
        try:
            while True:
                try:
                    self._waiter.wait()
                except GreenletExit:
                    # The greenlet is being collected, or its hub closed: it must not wait again.
                    raise
                except BaseException as exc:
                    if not stays:
                        raise
                    if held is None and interrupt is not None:
                        _interrupt(interrupt)
                    if held is not None and exc is not held and exc.__context__ is None:
                        exc.__context__ = held
                    held = exc
                # A new one before the look: whoever has seen the old one has left something to be found.
                self._waiter = core.new_waiter()
                if self._generation != waiters.generation:
                    raise HubError(
                        "the process was forked inside a callback of a call on a native thread, "
                        "and that thread is not in the child: end the child inside the callback"
                    )
                while self._requests:
                    self._serve(self._requests.popleft())
                if self.ended:
                    break
        except BaseException:
            self._leave()
            raise
        finally:
            if hub is not None:
                hub.lent -= 1
        return self._outcome(held)

    def _serve(self, request: Request) -> None:
        nesting = self._nesting
        if nesting is None:
            request.serve()
            return
        nesting.append((self._caller, request))
        try:
            request.serve()
        finally:
            nesting.pop()

    def _leave(self) -> None:
        self._left = True
        while self._requests:
            request = self._requests.popleft()
            request.here = True
            request.put(None)

    def _outcome(self, held: BaseException | None) -> Any:
        before = self._before
        for variable, value in self._context.items():
            if before.get(variable, _MISSING) is not value:
                variable.set(value)
        result, self._result = self._result, None
        error, self._error = self._error, None
        try:
            if held is not None:
                raise held
            if error is not None:
                raise error
            return result
        finally:
            # The traceback holds this frame: break the cycle.
            del error, held


def _interrupt(interrupt: Callable[[], object]) -> None:
    try:
        interrupt()
    except Exception:
        # The exception that is on its way counts; the call takes as long as it takes.
        logging.getLogger("greenify").exception("a call on a native thread cannot be interrupted")


def inside(nesting: list[tuple[object, Request]]) -> bool:
    """Whether the caller is itself on the native thread that `nesting` belongs to."""
    call = getattr(getcurrent(), "call", None)
    return type(call) is Call and call._nesting is nesting


def alone_at_the_end() -> bool:
    """Whether the interpreter is being finalised: no other thread will run again."""
    return sys.is_finalizing() or registry.finalising()


def _run(
    pool: Workers,
    function: Callable[..., T],
    args: Any,
    kwargs: Any,
    stays: bool = False,
    interrupt: Callable[[], object] | None = None,
) -> T:
    if alone_at_the_end() or (core.current_hub() is None and not registry.is_main_thread()):
        return function(*args, **kwargs)
    call = Call(function, args, kwargs)
    try:
        pool.start(call.run)
    except RuntimeError:
        # There is no thread to be had, as at the interpreter's end.
        return function(*args, **kwargs)
    result: T = call.wait(stays=stays, interrupt=interrupt)
    return result


def hand_over(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call ``function(*args, **kwargs)`` on a native thread, and wait for it cooperatively.

    For calls that wait in C, and whose objects nobody else uses meanwhile.  There is a thread for each, so
    that calls may wait for one another; for what belongs to an object (a connection) there is `OwnThread`.
    The call sees the caller's context variables, thread-local data and identity.  On an OS thread without a
    hub the function is called directly, and so it is where no thread can be started.

    What the function raises is raised here.  When the caller is killed or interrupted, it leaves at once; the
    call goes on (it does not begin if it has not yet), and its outcome is dropped.
    """
    return _run(_waiting, function, args, kwargs)


def hand_over_interruptibly(
    interrupt: Callable[[], object], function: Callable[..., T], /, *args: Any, **kwargs: Any
) -> T:
    """As `hand_over`, for a method of an object that says itself what several calls at once may do.

    Who is killed or interrupted meanwhile leaves when the call has ended, as a thread does.

    Args:
        interrupt: called once, in the caller's thread, to make the call end sooner when an exception has hit
            that one.  It must be safe while the call runs, and after it.
    """
    return _run(_waiting, function, args, kwargs, stays=True, interrupt=interrupt)


def compute(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """As `hand_over`, for calls that compute in C without the interpreter lock, and never wait.

    As many run at a time as there are processors, and two more.  It costs 4 to 30 us: do shorter work
    (a hash of 1 KiB) where it is.
    """
    return _run(_computing, function, args, kwargs)


def compute_with(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """As `compute`, for a method of an object that others may use at once: a compressor, a hash.

    Who is killed or interrupted meanwhile leaves when the call has ended, as a thread does.
    """
    return _run(_computing, function, args, kwargs, stays=True)


def run_back(function: Callable[..., T]) -> Callable[..., T]:
    """`function` for C code to call: while that runs on a native thread, it runs in the thread of the caller.

    So it may wait, and sees what is that thread's.  What it raises, and what ends the caller meanwhile, goes
    to the C code.  Called anywhere else (in a green thread, in a thread that the library has started, or when
    the caller has left), it is a plain call.
    """

    def called(*args: Any, **kwargs: Any) -> T:
        try:
            call = getattr(getcurrent(), "call", None)
        except RuntimeError:  # the interpreter is being finalised
            call = None
        if type(call) is not Call:
            return function(*args, **kwargs)
        result: T = call.back(function, args, kwargs)
        return result

    try:
        update_wrapper(called, function)
    except AttributeError:
        pass  # an object without a name
    return called
