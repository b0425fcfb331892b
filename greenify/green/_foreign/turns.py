"""Taking turns with an object whose calls run on the hub or on its native thread, as it comes.

The lock of the C code is the OS thread's: two calls of one object on the hub would stop the process in it.
So no call may begin before the one before it has ended, wherever that runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greenify import core
from greenify.green._foreign.calls import alone_at_the_end, inside
from greenify.green._foreign.own_thread import OwnThread
from greenify.identity import current_thread_greenlet
from greenify.locks import Lock

if TYPE_CHECKING:
    from greenify.green._foreign.wait_callbacks import WaitCallback

__all__ = ["Turns", "in_turn", "turns_of"]


# Who waits for a turn or has one.  They and the hub's greenlet run finalisers on top of what they do, which
# may want another: waited for there, it could be given to a wait below, which does not go on before.
_inside: set[Any] = set()


def in_turn() -> bool:
    """Whether the caller waits for a turn or has one."""
    return getcurrent() in _inside


def _is_hub(current: Any) -> bool:
    hub = core.current_hub()
    return hub is not None and hub.greenlet is current


class Turns:
    """Who uses an object: its calls run one after the other, on the hub or on its native thread.

    Args:
        busy: makes what is raised when a call of the object is made by the thread whose call waits on the hub
            (a finaliser can): it would wait for itself.

    Attributes:
        thread: the native one.  A call on it from `natively`, or without a turn if `begin` says so.
        dropped: what is to be collected when nobody uses the object.
        entered: for whom it belongs to.
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_caller",
        "_first",
        "_held",
        "_interrupt",
        "_lock",
        "_locked",
        "dropped",
        "entered",
        "thread",
    )

    def __init__(self, busy: Callable[[], BaseException]) -> None:
        self._busy = busy
        self._lock = Lock()
        self._caller: Any = None  # who has the turn, also while a native thread runs the call
        self._first = False  # whether that one has no other, of another object
        # Of the call that is under way on the hub: whether the C code holds its lock, what ends it sooner,
        # what has hit the caller.
        self._locked = False
        self._interrupt: Callable[[], object] | None = None
        self._held: BaseException | None = None
        self.thread = OwnThread()
        self.dropped: list[Any] = []
        self.entered = False

    @property
    def taken(self) -> bool:
        """Whether somebody has the turn."""
        return self._lock.locked()

    @property
    def on_hub(self) -> bool:
        """Whether a call is under way that waits on the hub."""
        return self._locked

    def begin(self) -> bool:
        """Wait for the turn, and take it.  Who is killed or interrupted meanwhile has not got it.

        Returns:
            False if the caller has the turn already, for a call that calls back, or in a finaliser; if it is
            inside of another call, on the native thread, or the hub's own greenlet, and would have to wait;
            or if the interpreter is being finalised: call by ``thread.call``, which is made for that.
        """
        lock = self._lock
        try:
            current = getcurrent()
        except RuntimeError:
            current = None  # the interpreter is being finalised
        waits = current is None or lock.locked()
        if waits:
            # Else nobody uses it, so that all these questions are answered.
            if alone_at_the_end():
                if self._locked:
                    raise self._busy()  # it will not go on
                return False
            if self._caller is current:
                if self._locked:
                    raise self._busy()
                return False
            nesting = self.thread._nesting
            if inside(nesting) or (nesting and nesting[-1][0] is current_thread_greenlet()):
                return False
            if current in _inside or _is_hub(current) or self.thread.here():
                return False
        first = current not in _inside
        if first:
            _inside.add(current)
        taken = False
        try:
            taken = lock.acquire(waits)
        finally:
            if first and not taken:
                _inside.discard(current)
        if not taken:
            return self.begin()  # another OS thread was faster
        self._caller = current
        self._first = first
        return True

    def try_to_begin(self) -> bool:
        """Take the turn if nobody has it."""
        return self._lock.acquire(False)

    def end(self) -> None:
        """Give up the turn.  Any OS thread."""
        if self.dropped:
            self.dropped.clear()
        self._leave()
        self._lock.release()

    def _leave(self) -> None:
        if self._first:
            self._first = False
            _inside.discard(self._caller)
        self._caller = None

    def natively(
        self,
        callback: WaitCallback,
        interrupt: Callable[[], object] | None,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
    ) -> Any:
        """Call ``function(*args, **kwargs)`` on the native thread.

        The caller has the turn, and the end of the call ends it.
        """
        call = _Natively(self, callback, function)
        try:
            if interrupt is None:
                return self.thread.call(call, *args, **kwargs)
            return self.thread.call_interruptibly(interrupt, call, *args, **kwargs)
        finally:
            call.leave()


class _Natively:
    """A call on the native thread, which ends the turn: also one that its caller does not wait for."""

    __slots__ = ("__wrapped__", "_begun", "_callback", "_turns")

    def __init__(self, turns: Turns, callback: WaitCallback, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function
        self._turns = turns
        self._callback = callback
        self._begun = [None]  # taken by the call, or by the caller who has left before that

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            self._begun.pop()
        except IndexError:
            return None
        try:
            return self._callback.unused(self.__wrapped__, *args, **kwargs)
        finally:
            self._turns.end()

    def leave(self) -> None:
        try:
            self._begun.pop()
        except IndexError:
            return
        self._turns.end()


_turns: dict[int, tuple[weakref.ref[Any], Turns]] = {}


def turns_of(owner: object, busy: Callable[[], BaseException]) -> Turns:
    """The `Turns` of any object that can be referred to weakly: made at the first call, ended with it.

    Nothing is stored in the object.  Any thread may call.
    """
    key = id(owner)
    found = _turns.get(key)
    if found is None or found[0]() is not owner:
        if found is not None and _turns.get(key) is found:
            _turns.pop(key, None)
        fresh = weakref.ref(owner, partial(_forget, key)), Turns(busy)
        found = _turns.setdefault(key, fresh)
    return found[1]


def _forget(key: int, reference: weakref.ref[Any]) -> None:
    found = _turns.get(key)
    if found is not None and found[0] is reference:
        _turns.pop(key, None)
