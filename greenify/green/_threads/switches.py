"""What the interpreter keeps per OS thread and a program has set for one thread: swapped at switches.

Hooks, functions that observe, the event loop that runs: fields of the OS thread's state, which all green
threads on it would share.  From the first use of such a setting on, and while any thread has one, every
switch from a thread to another puts in place what the next one has set, or what a new thread begins with.
Programs that set none pay nothing: nobody looks at their switches.  Nor do those whose threads with settings
wait in their event loops (`resting`): such a thread puts in place what it has set by itself when it goes on.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Any, TypeVar, cast
from weakref import WeakSet

import greenlet as greenlets
from greenlet import getcurrent, greenlet

from greenify.core.fork import fork_hooks
from greenify.core.registry import current_hub
from greenify.core.signals import before_handlers
from greenify.identity import current_thread_greenlet

__all__ = ["Follower", "Setting", "follow", "followed_in_c", "in_use", "resting", "unfollow"]

T = TypeVar("T")

Follower = Callable[[greenlet, greenlet], None]
"""Called in the greenlet that runs now, with the one that ran before and the one that runs now."""


class _Switches:
    """What follows the switches of one OS thread."""

    __slots__ = ("chained", "followers", "function")

    def __init__(self, chained: Any, followers: tuple[Follower, ...]) -> None:
        self.chained = chained  # somebody else's function, called for the same switches
        self.followers = followers
        #: What `greenlet.settrace` is given.
        self.function: Any = _in_turn(self._tell, chained) if _is_in_c(chained) else self._tell_all

    def _tell(self, event: str, args: tuple[greenlet, greenlet]) -> None:
        if event == "switch" or event == "throw":
            for follower in self.followers:
                follower(*args)

    def _tell_all(self, event: str, args: tuple[greenlet, greenlet]) -> None:
        if event == "switch" or event == "throw":
            for follower in self.followers:
                follower(*args)
        if self.chained is not None:
            self.chained(event, args)


def _is_in_c(function: object) -> bool:
    return type(function).__name__ in ("builtin_function_or_method", "cython_function_or_method")


def _in_turn(first: Callable[..., None], then: Callable[..., Any]) -> Any:
    """What calls both, so that `then`, a function of C, finds no frame of ours below it.

    memray's takes down all frames, and reads them later: one that ends while tracing is turned off, as it is
    for these calls, would crash it.
    """

    class InTurn:
        # Calling a class calls two functions, from C.
        def __new__(cls, event: str, args: Any) -> InTurn:
            first(event, args)
            return cast(InTurn, made)

        __init__: Any = staticmethod(then)

    made = object.__new__(InTurn)
    return InTurn


def followed_in_c() -> bool:
    """Whether a tool in C follows the switches of this OS thread, too: it wants to know all greenlets."""
    mine = _switches()
    return mine is not None and _is_in_c(mine.chained)


# What belongs to one OS thread: ``switches``, ``settings``.
_here = _thread._local()


def follow(follower: Follower) -> None:
    """Have `follower` called after every switch of greenlets on the calling OS thread, from now on.

    It may be called for a greenlet that has ended.  It must not raise: greenlet would drop it and all others.
    To follow twice is to follow once.
    """
    present = greenlets.gettrace()
    mine = _switches()
    followers: tuple[Follower, ...] = () if mine is None else mine.followers
    if follower not in followers:
        followers += (follower,)
    if mine is not None and present is mine.function:
        mine.followers = followers
        return
    if mine is not None:
        # Somebody has put a function of his own in place, which may or may not call ours.
        mine.followers = ()
    _here.switches = _Switches(present, followers)
    greenlets.settrace(_here.switches.function)


def _switches() -> _Switches | None:
    return getattr(_here, "switches", None)


def unfollow(follower: Follower) -> None:
    """Undo `follow` on the calling OS thread."""
    mine = _switches()
    if mine is None:
        return
    # `!=`, for a bound method is a new object each time.
    mine.followers = tuple(each for each in mine.followers if each != follower)
    if not mine.followers and greenlets.gettrace() is mine.function:
        greenlets.settrace(mine.chained)
        _here.switches = None


class Setting:
    """One thing that the interpreter keeps per OS thread, and that is to be each thread's own.

    Args:
        get: tells what is in force on the calling OS thread.
        put: puts a value in force there; must not raise for what `get` has told.
        initial: what a new thread has.
        volatile: it changes without `change` being called, so it is read again whenever a thread that has
            set it is left.
    """

    __slots__ = ("get", "initial", "put", "volatile")

    def __init__(
        self,
        get: Callable[[], Any],
        put: Callable[[Any], object],
        initial: Any,
        *,
        volatile: bool = False,
    ) -> None:
        self.get = get
        self.put = put
        self.initial = initial
        self.volatile = volatile

    def change(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call ``call(*args, **kwargs)``, which changes what is in force, for the calling thread alone."""
        settings = _settings()
        settings.adopt(self)
        try:
            return call(*args, **kwargs)
        finally:
            settings.changed(self)

    def adopt(self) -> None:
        """Take what is in force on this OS thread, if no thread has set it, for its main thread's."""
        if self.get() != self.initial:
            _settings().adopt(self)

    def forget(self) -> None:
        """What is in force on this OS thread now stays so, for all its threads."""
        _settings().forget(self)


class _Values(dict[Setting, Any]):
    """What one thread has set; its greenlet's ``settings``."""

    __slots__ = ("at_rest", "may_rest")

    def __init__(self) -> None:
        super().__init__()
        #: It waits where it puts these in place by itself afterwards.
        self.may_rest = False
        #: It has been left there, and the switch back may be one that nobody looks at.
        self.at_rest = False


class _Settings:
    """Whose settings are in force on one OS thread."""

    __slots__ = ("holders", "known", "live", "resting")

    def __init__(self) -> None:
        self.live: Any = current_thread_greenlet()
        self.known: set[Setting] = set()
        #: The threads that have set something and whose switches have to be followed.
        self.holders: WeakSet[greenlet] = WeakSet()
        #: Those that have set something and are at rest.
        self.resting: WeakSet[greenlet] = WeakSet()

    def adopt(self, setting: Setting) -> None:
        if setting in self.known:
            return
        self.known.add(setting)
        value = setting.get()
        if value != setting.initial:
            self._keep(_main(), setting, value)
            if current_thread_greenlet() is not _main():
                setting.put(setting.initial)
            self._follow_or_not()

    def changed(self, setting: Setting) -> None:
        self._keep(current_thread_greenlet(), setting, setting.get())
        self._follow_or_not()

    def forget(self, setting: Setting) -> None:
        self.known.discard(setting)
        for thread in (*self.holders, *self.resting):
            self._keep(thread, setting, setting.initial)
        self._follow_or_not()

    def forked(self) -> None:
        me: Any = current_thread_greenlet()
        self.live = me
        self.holders = WeakSet()
        self.resting = WeakSet()
        for setting in tuple(getattr(me, "settings", ())):
            self._keep(me, setting, setting.get())
        self._follow_or_not()

    def _keep(self, thread: Any, setting: Setting, value: Any) -> None:
        values: _Values | None = getattr(thread, "settings", None)
        if values is None:
            values = _Values()
        if value != setting.initial:
            values[setting] = value
        else:
            values.pop(setting, None)
        if values:
            thread.settings = values
            if not values.at_rest:
                self.holders.add(thread)
        else:
            if hasattr(thread, "settings"):
                del thread.settings
            self.holders.discard(thread)
            self.resting.discard(thread)

    def _follow_or_not(self) -> None:
        if self.holders:
            self.live = current_thread_greenlet()
            follow(self._switched)
        else:
            unfollow(self._switched)

    def _switched(self, origin: greenlet, target: Any) -> None:
        # `current_thread_greenlet`, written out.
        after = target
        while not hasattr(after, "hub"):
            parent = after.parent
            if parent is None:
                break
            after = parent
        # Not `origin`: a switch that was not seen does no harm this way.
        before = self.live
        if after is before:
            return
        self.live = after
        mine = getattr(before, "settings", None)
        theirs = getattr(after, "settings", None)
        if mine is not None:
            for setting in mine:
                if setting.volatile:
                    mine[setting] = setting.get()
                if theirs is None or setting not in theirs:
                    setting.put(setting.initial)
            if mine.may_rest:
                mine.at_rest = True
                self.holders.discard(before)
                self.resting.add(before)
        if theirs is not None:
            for setting, value in theirs.items():
                setting.put(value)
            if theirs.at_rest:
                self._end_rest(after, theirs)
        if mine is not None:
            if before.dead:
                self.holders.discard(before)
                self.resting.discard(before)
            if not self.holders:
                unfollow(self._switched)

    def _end_rest(self, thread: greenlet, values: _Values) -> None:
        values.at_rest = False
        self.resting.discard(thread)
        self.holders.add(thread)

    def go_on(self, thread: Any) -> None:
        """The calling thread goes on after a rest.  Does nothing if the switch to it was followed."""
        values: _Values | None = getattr(thread, "settings", None)
        if values is not None and values.at_rest:
            self._end_rest(thread, values)
            for setting, value in values.items():
                setting.put(value)
            self._follow_or_not()


def _settings() -> _Settings:
    found: _Settings | None = getattr(_here, "settings", None)
    if found is None:
        found = _here.settings = _Settings()
        if not in_use:
            in_use.append(found)
            before_handlers.append(_before_handler)
    return found


#: Not empty once any thread of the process has set anything: to be asked before `resting` is called.
in_use: list[_Settings] = []


def resting(wait: Callable[..., T], /, *args: Any) -> T:
    """Call ``wait(*args)``; while the calling thread waits in there its settings cost the others nothing.

    For calls in which threads with settings wait most of their time: nobody follows the switches for their
    sake meanwhile.  What else is right inside of `wait` stays so: handlers of signals have the settings.
    """
    settings: _Settings | None = getattr(_here, "settings", None)
    if settings is None:
        return wait(*args)
    me: Any = current_thread_greenlet()
    values: _Values | None = getattr(me, "settings", None)
    if values is None:
        return wait(*args)
    before = values.may_rest  # a handler of a signal may wait inside of a wait
    values.may_rest = True
    try:
        return wait(*args)
    finally:
        values.may_rest = before
        settings.go_on(me)


def _before_handler() -> None:
    settings: _Settings | None = getattr(_here, "settings", None)
    if settings is not None:
        settings.go_on(current_thread_greenlet())


def _main() -> Any:
    hub = current_hub()
    if hub is not None:
        return hub.main
    g = getcurrent()
    while g.parent is not None:
        g = g.parent
    return g


def _after_in_child() -> None:
    found: _Settings | None = getattr(_here, "settings", None)
    if found is not None:
        found.forked()


fork_hooks.append(_after_in_child)
