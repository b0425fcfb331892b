"""The interpreter's guard against recursion in `repr`, for each green thread.

What `repr` of a list, a dictionary and other containers is showing the interpreter notes down in a list, one
for each OS thread, and shows a container that is in it as ``[...]``.  While an item's ``__repr__`` waits,
another green thread's `repr` of the same container would find it there.  So from such a wait on, until there
is none, every switch of greenlets puts in place what the next one is showing.  A hub asks whether its list is
empty whenever it is switched from (`Hub.next`); that is all it costs otherwise.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakSet

from greenlet import greenlet

from greenify.core.c_interface import c_function, ctypes_core
from greenify.core.fork import fork_hooks
from greenify.core.hub import Hub
from greenify.core.registry import hubs, on_new_hub
from greenify.green._threads.switches import follow, unfollow

__all__ = ["allow"]

# The key in the dictionary of the OS thread's state (Objects/object.c).
_KEY = "Py_Repr"

_allowed = False

# What belongs to one OS thread: ``reprs``.
_here = _thread._local()


class _Reprs:
    """What the greenlets of one OS thread are showing; `shown` is the interpreter's own list."""

    __slots__ = ("holders", "shown")

    def __init__(self, shown: list[object]) -> None:
        self.shown = shown
        self.holders: WeakSet[greenlet] = WeakSet()

    def follow(self) -> None:
        """The current greenlet is about to wait while something is being shown."""
        follow(self.switched)

    def switched(self, origin: Any, target: Any) -> None:
        shown = self.shown
        if shown:
            origin.shown = shown[:]
            self.holders.add(origin)
            shown.clear()
        mine = getattr(target, "shown", None)
        if mine is not None:
            del target.shown
            self.holders.discard(target)
            shown.extend(mine)
        if not self.holders:
            unfollow(self.switched)


def allow(allowed: bool) -> None:
    """Begin to tell apart what green threads show, or give that up."""
    global _allowed
    _allowed = allowed
    if allowed:
        _dict_getter()  # imports, which the making of a hub must not do
    for hub in tuple(hubs):
        if hub.foreign():
            hub.call_from_thread(_adopt, hub)
        else:
            _adopt(hub)


def _adopt(hub: Hub) -> None:
    # On the hub's OS thread.
    if not _allowed:
        hub.shown = ()
    else:
        reprs: _Reprs | None = getattr(_here, "reprs", None)
        if reprs is None:
            shown = _shown()
            if shown is None:
                return
            reprs = _here.reprs = _Reprs(shown)
        hub.shown = reprs.shown
        hub.on_shown = reprs.follow
        if sys.version_info < (3, 11):
            # Otherwise the way to the hub's greenlet is one in C.
            hub.next = hub.next_by_hub  # type: ignore[method-assign]


def _shown() -> list[object] | None:
    """The interpreter's list for the calling OS thread; None if it cannot be reached."""
    get_dict = _dict_getter()
    state = None if get_dict is None else get_dict()
    return None if state is None else state.setdefault(_KEY, [])


@cache
def _dict_getter() -> Callable[[], dict[str, Any] | None] | None:
    # As a number: the interpreter keeps its reference, which ctypes would give up.
    get = c_function("PyThreadState_GetDict", result="P")
    if get is None:
        return None
    object_at = ctypes_core().PyObj_FromPtr

    def get_dict() -> dict[str, Any] | None:
        address = get()
        return object_at(address) if address else None

    return get_dict


def _after_in_child() -> None:
    # The other greenlets stay with the parent.
    reprs: _Reprs | None = getattr(_here, "reprs", None)
    if reprs is not None:
        reprs.holders.clear()


on_new_hub(_adopt)
fork_hooks.append(_after_in_child)
