"""viztracer's stacks of calls, one for each green thread.

viztracer keeps in C, for each OS thread, which calls have not returned: in a thread-specific value of the C
library (`pthread_getspecific`), as a structure that has a row of the picture, too.  Green threads would share
one, and a return in one of them would be taken for that of another's call.  So every switch of greenlets puts
the structure of the next one in place, and one that has none yet gets a new one, with a row of its own name.

The structures are viztracer's, of its versions 1.x: `CallStacks.of` finds out whether they are as they are
expected, by looking for known values in them.  Where they are others, nothing is done.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary, ref

from greenlet import greenlet

from greenify.core.c_interface import c_function, ctypes_core
from greenify.core.hub import Hub
from greenify.core.native import get_native_id as _get_native_id
from greenify.core.registry import hubs, on_new_hub
from greenify.green._threads.switches import follow, unfollow
from greenify.green._threads.thread_functions import thread_of

__all__ = ["CallStacks"]

_threads: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]


class _Info(ctypes.Structure):
    """What viztracer has of a thread (``struct ThreadInfo``)."""

    _fields_ = (
        ("paused", ctypes.c_int),
        ("depth", ctypes.c_int),
        ("ignored", ctypes.c_int),
        ("tid", ctypes.c_ulong),
        ("call", ctypes.c_size_t),  # the innermost call
        ("task", ctypes.c_size_t),
        ("frame_of_task", ctypes.c_size_t),
        ("row", ctypes.c_size_t),
    )


class _Row(ctypes.Structure):
    """A row of the picture, in a list of all (``struct MetadataNode``); stays when its thread has ended."""

    _fields_ = (
        ("next", ctypes.c_size_t),
        ("tid", ctypes.c_ulong),
        ("name", ctypes.c_size_t),  # a string, which it owns
        ("info", ctypes.c_size_t),  # zero when the thread has ended
    )


class _Call(ctypes.Structure):
    """A call that has not returned (``struct FunctionNode``); the outermost stands for none."""

    _fields_ = (
        ("next", ctypes.c_size_t),
        ("previous", ctypes.c_size_t),
        ("time", ctypes.c_int64),
        ("args", ctypes.c_size_t),
        ("function", ctypes.c_size_t),
    )


#: What rows are told apart by: above all numbers of the kernel's threads (PID_MAX_LIMIT).
_numbers = count(1 << 22)

_hold: Any = ctypes_core().Py_INCREF
_release: Any = ctypes_core().Py_DECREF
_get_specific: Any = c_function("pthread_getspecific", "I", "P")
_set_specific: Any = c_function("pthread_setspecific", "IP")
_allocate: Any = c_function("PyMem_Calloc", "LL", "P")
_free: Any = c_function("PyMem_Free", "P")


def _new(kind: type[ctypes.Structure]) -> int:
    # viztracer frees it.  Twice as large, should a later version have more at its end.
    address = _allocate(2, ctypes.sizeof(kind))
    if not address:
        raise MemoryError
    return int(address)


def _read(kind: type[ctypes.Structure], address: int | None) -> Any:
    """A copy of what is at an address that may be none; None if it is not."""
    try:
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            data = os.pread(memory.fileno(), ctypes.sizeof(kind), address or 0)
        return kind.from_buffer_copy(data)
    except (OSError, OverflowError, ValueError):
        return None


class _Stack:
    """The structure of one greenlet.

    Args:
        address: where it is; zero if viztracer has still to make it.
        name: of its row, if that is one of ours.
    """

    __slots__ = ("_owner", "address", "name")

    def __init__(self, owner: CallStacks, address: int, name: str | None = None) -> None:
        self._owner = owner
        self.address = address
        self.name = name

    def rename(self, name: str) -> None:
        row = _Row.from_address(_Info.from_address(self.address).row)
        _hold(name)
        row.name = id(name)
        _release(self.name)
        self.name = name

    def __del__(self) -> None:
        # The greenlet is gone.
        if self.name is not None:
            self._owner.give_back(self.address)


class CallStacks:
    """Those of one tracer, for as long as that lives."""

    def __init__(self, tracer: object, key: int, row: int) -> None:
        self._key = key
        self._row = row  # any row: ours come behind it
        self._on = True
        self._spares: list[int] = []
        self._stacks: WeakKeyDictionary[greenlet, _Stack] = WeakKeyDictionary()
        self._gone = ref(tracer, self._end)

    @classmethod
    def of(cls, tracer: Any) -> CallStacks | None:
        """Those of `tracer`, an object of viztracer; None where its structures are not those known here."""
        if None in (_get_specific, _set_specific, _allocate, _free):
            return None
        key = ctypes.c_uint.from_address(id(tracer) + object.__basicsize__).value
        if not _get_specific(key):
            # The calling OS thread has none yet: not if it has been traced.
            tracer.setignorestackcounter(0)
        address = _get_specific(key)
        info = _read(_Info, address)
        if info is None or info.tid != _get_native_id():
            return None
        row, call = _read(_Row, info.row), _read(_Call, info.call)
        if row is None or call is None or row.tid != info.tid or row.info != address:
            return None
        return cls(tracer, key, info.row)

    def follow(self) -> None:
        """Tell green threads apart from now on, on all OS threads that have a hub."""
        _following.add(self)
        self._everywhere(self._adopt)

    def _everywhere(self, call: Callable[[Hub], None]) -> None:
        for hub in tuple(hubs):
            if hub.foreign():
                hub.call_from_thread(call, hub)
            else:
                call(hub)

    def _adopt(self, hub: Hub) -> None:
        # On the hub's OS thread.
        if self._on:
            follow(self._switched)

    def _leave(self, hub: Hub) -> None:
        unfollow(self._switched)

    def _end(self, gone: object) -> None:
        # It is about to free the rows.  The structures of greenlets that live may be in place somewhere.
        self._on = False
        _following.discard(self)
        self._everywhere(self._leave)
        self._stacks.clear()
        while self._spares:
            address = self._spares.pop()
            call = _Info.from_address(address).call
            while call:
                following = _Call.from_address(call).next
                _free(call)
                call = following
            _free(address)

    def _switched(self, origin: greenlet, target: greenlet) -> None:
        if not self._on:
            return
        key, stacks = self._key, self._stacks
        left = stacks.get(origin)
        if left is None:
            stacks[origin] = _Stack(self, _get_specific(key) or 0)
        elif left.name is not None:
            name = _known_name(origin)
            if name is not None and name != left.name:
                left.rename(name)
        elif not left.address:
            left.address = _get_specific(key) or 0
        entered = stacks.get(target)
        if entered is None:
            entered = stacks[target] = self._make(target)
        _set_specific(key, entered.address)

    def _make(self, g: greenlet) -> _Stack:
        address = self._spares.pop() if self._spares else 0
        if not address:
            address = _new(_Info)
            _Info.from_address(address).call = _new(_Call)
        info = _Info.from_address(address)
        info.paused = info.depth = info.ignored = 0
        info.tid = next(_numbers)
        info.row = _new(_Row)
        name = _name_of(g)
        _hold(name)
        row, first, new = _Row.from_address(info.row), _Row.from_address(self._row), info.row
        row.tid, row.name, row.info = info.tid, id(name), address
        # No call between these two: there, another OS thread could take a turn.
        row.next = first.next
        first.next = new
        return _Stack(self, address, name)

    def give_back(self, address: int) -> None:
        """The greenlet whose structure is at `address` is gone."""
        if not self._on:
            return
        info = _Info.from_address(address)
        _Row.from_address(info.row).info = 0
        # Unless it has ended in the middle of a call, as a greenlet that nobody went on with.
        if not info.task and not _Call.from_address(info.call).previous:
            self._spares.append(address)


#: Until its tracer is gone.
_following: set[CallStacks] = set()


def _adopt(hub: Hub) -> None:
    for stacks in tuple(_following):
        stacks._adopt(hub)


on_new_hub(_adopt)


def _known_name(g: Any) -> str | None:
    """What a thread is called while it runs its own code."""
    thread: Any = _threads.get(getattr(g, "ident", 0))
    # Not by its property, which a subclass may have replaced.
    name = None if thread is None else vars(thread).get("_name")
    return name if isinstance(name, str) else None


def _name_of(g: Any) -> str:
    hub = getattr(g.parent, "hub", None)
    if hub is not None and hub.greenlet is g:
        return f"loop of {_name_of(hub.main)}"
    thread = thread_of(g)
    if thread is not g:
        return f"greenlet of {_name_of(thread)}"
    task = getattr(g, "task", None)
    if task is not None:
        return str(task.name)
    name = _known_name(g)
    if name is None:
        # One that begins is unknown to `threading`.
        starting = getattr(getattr(g, "_function", None), "__self__", None)
        if isinstance(starting, threading.Thread):
            name = vars(starting).get("_name")
    return name if isinstance(name, str) else f"thread {id(g):#x}"
