"""Existing native objects, and how a cooperative one takes over from each.

A native lock, queue or thread-local made before its patch would block the whole process, or be shared by
all green threads.  Each row of `ADOPTERS` says how to make the cooperative object that takes its place, and
how to hand the state back when the patch is undone.
"""

from __future__ import annotations

import _thread
import gc
import queue
import select
import sys
import threading
from collections.abc import Callable
from typing import Any

from greenify.green import select as green_select
from greenify.green._threads.primitives import Lock, RLock, SimpleQueue, local

__all__ = ["ADOPTERS", "Adopter", "adopter_of_local", "cooperative_local", "subclasses"]

_get_ident = _thread.get_ident
_current_frames = sys._current_frames
_native_lock: type = type(_thread.allocate_lock())
_native_rlock: type = type(_thread.RLock())
_native_local: type = _thread._local
_native_queue: type = queue.SimpleQueue
_condition_wait = threading.Condition.wait.__code__


class Adopter:
    """How one kind of native object is taken over.

    Attributes:
        patch: the name of the patch that replaces `native`.
        native: the exact type.
        adopt: makes the cooperative object for a native one; None if there is no way.
        give_back: called as ``give_back(native, green)`` when that is undone.
        shared: the cooperative object works on the native one itself, so a reference to that which cannot
            be rewritten does no harm to the others.
        busy: says why an object cannot be taken over at this moment; None if it can.
    """

    def __init__(
        self,
        patch: str,
        native: type,
        adopt: Callable[[Any], Any] | None,
        give_back: Callable[[Any, Any], object] | None = None,
        shared: bool = False,
        busy: Callable[[Any], str | None] = lambda native: None,
    ) -> None:
        self.patch = patch
        self.native = native
        self.adopt = adopt
        self.give_back = give_back
        self.shared = shared
        self.busy = busy


def _return_lock(native: Any, green: Lock) -> None:
    if green.locked() and not native.locked():
        native.acquire()
    elif native.locked() and not green.locked():
        native.release()


def _return_rlock(native: Any, green: RLock) -> None:
    if native._is_owned():
        native._release_save()
    for _ in range(green._recursion_count()):
        native.acquire(blocking=False)


def _owned_elsewhere(native: Any) -> str | None:
    """An RLock has to be released by its owner, and which green thread that would be is not known."""
    if not native._is_owned():
        if not native.acquire(blocking=False):
            return "held by a native thread"
        native.release()
    frames = _current_frames()
    # Not our own: a variable that held it would make a cycle of it.
    frames.pop(_get_ident(), None)
    for frame in frames.values():
        # It has released the lock for as long as it waits, and keeps in a variable what to restore.
        if frame.f_code is _condition_wait and frame.f_locals["self"]._lock is native:
            return "a native thread waits for a condition with it"
    return None


def _adopt_queue(native: Any) -> Any:
    green: Any = SimpleQueue()
    _move(native, green)
    return green


def _move(source: Any, destination: Any) -> None:
    while True:
        try:
            item = source.get_nowait()
        except queue.Empty:
            return
        destination.put(item)


def _return_queue(native: Any, green: Any) -> None:
    _move(green, native)


def adopter_of_local(native: type, green: type) -> Adopter:
    """The adopter of the instances of `native`, a thread-local class, by those of `green`.

    Only the calling thread's values can be read, and are taken over.
    """

    def adopt(old: Any) -> Any:
        args: Any = ()
        kwargs: Any = {}
        # The arguments for __init__, which the new object needs for further threads.
        for part in gc.get_referents(old):
            if isinstance(part, tuple):
                args = part
            elif isinstance(part, dict) and part and all(isinstance(key, str) for key in part):
                kwargs = part
        new = green.__new__(green, *args, **kwargs)
        new.__dict__.update(old.__dict__)
        return new

    def give_back(old: Any, new: Any) -> None:
        old.__dict__.clear()
        old.__dict__.update(new.__dict__)

    return Adopter("thread", native, adopt, give_back)


ADOPTERS: tuple[Adopter, ...] = (
    Adopter("thread", _native_lock, Lock._adopt, _return_lock),
    Adopter("thread", _native_rlock, RLock._adopt, _return_rlock, busy=_owned_elsewhere),
    adopter_of_local(_native_local, local),
    Adopter("queue", _native_queue, _adopt_queue, _return_queue),
    # What is registered in a poll object cannot be asked for.
    Adopter("select", type(green_select.native_poll()), None),
    *(
        Adopter("select", getattr(select, name), getattr(green_select, name)._adopt, shared=True)
        for name in ("epoll", "kqueue")
        if hasattr(select, name)
    ),
)


def subclasses(base: type = _native_local) -> list[type]:
    """All classes that derive from `base`, each after its own bases."""
    found: dict[int, type] = {}
    children: list[type] = base.__subclasses__()
    for cls in children:
        for each in (cls, *subclasses(cls)):
            # Again at its last place, if it derives from `base` in several ways.
            found.pop(id(each), None)
            found[id(each)] = each
    return list(found.values())


def cooperative_local(cls: type, new: dict[int, Any]) -> type | None:
    """`cls`, a subclass of the native thread-local, over again with the cooperative one below it.

    Args:
        cls: the class.
        new: what its bases are replaced by, by their ids.

    Returns:
        None if the class cannot be made again (it has ``__slots__``).
    """
    contents = dict(vars(cls))
    if "__slots__" in contents:
        return None
    for name in ("__dict__", "__weakref__"):
        contents.pop(name, None)
    contents["__qualname__"] = cls.__qualname__
    bases = tuple(new.get(id(base), base) for base in cls.__bases__)
    made: type = type(cls)(cls.__name__, bases, contents)
    return made
