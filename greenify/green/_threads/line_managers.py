"""line_profiler's managers, one for each thread, green or native.

line_profiler keeps by the OS thread's identifier, which it asks for in C, who manages the tracing of a
thread: an object that the outermost call of a profiled function turns on, and off when it ends.  Green
threads would share one, and the first of them to leave would turn it off for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from greenlet import greenlet

from greenify.core.native import _get_ident as _native_get_ident
from greenify.green._threads.tracing import watch
from greenify.identity import current_thread_greenlet

__all__ = ["Managers", "turning"]


class Managers:
    """Takes the place of ``LineProfiler._managers``, which is asked with the OS thread's identifier.

    Args:
        native: the original: those of OS threads, by their identifiers.
    """

    def __init__(self, native: dict[int, Any]) -> None:
        self._native = native
        self._green: WeakKeyDictionary[greenlet, Any] = WeakKeyDictionary()

    def _place(self, ident: int) -> tuple[Any, object]:
        thread = current_thread_greenlet()
        return (self._native, ident) if thread.parent is None else (self._green, thread)

    def __getitem__(self, ident: int) -> Any:
        managers, key = self._place(ident)
        return managers[key]

    def __setitem__(self, ident: int, manager: Any) -> None:
        managers, key = self._place(ident)
        managers[key] = manager

    def values(self) -> Iterator[Any]:
        """Those of all threads."""
        return chain(tuple(self._native.values()), tuple(self._green.values()))


def turning(cls: Any) -> dict[str, Callable[[Any], None]]:
    """``enable`` and ``disable`` for `cls`, line_profiler's ``LineProfiler``, for when it has `Managers`."""
    enable_native, disable_native = cls.enable, cls.disable
    # How many threads of each OS thread have turned a profiler on.
    counts: WeakKeyDictionary[Any, Counter[int]] = WeakKeyDictionary()
    for number, native in cls._managers.items():
        for profiler in native.active_instances:
            counts.setdefault(profiler, Counter())[number] += 1

    def enable(self: Any) -> None:
        # It sets a trace function in C by itself, which `sys.settrace` hears nothing of.
        watch()
        if self not in self._manager.active_instances:
            counts.setdefault(self, Counter())[_native_get_ident()] += 1
        enable_native(self)

    def disable(self: Any) -> None:
        manager = self._manager
        if self in manager.active_instances:
            here = counts.setdefault(self, Counter())
            ident = _native_get_ident()
            here[ident] -= 1
            if here[ident] > 0:
                # The original forgets for all threads of the OS thread which line each is in.
                manager._handle_disable_event(self)
                return
            del here[ident]
        disable_native(self)

    return {"enable": enable, "disable": disable}
