"""Locks of other libraries that ask the operating system which thread it is, in C.

All green threads of an OS thread are one to them: several would be in a critical section at once.  What can
be patched is, when the library is imported; for the others there is a warning.  They were found by their use
of the interpreter's `PyThread_get_thread_ident`.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.errors import NativeLockWarning
from greenify.locks import RLock
from greenify.patches.importing import when_imported

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["SHARED", "await_libraries"]

#: Module -> what several green threads of an OS thread share there, and what to do about it.
SHARED = {
    "lmdb": (
        "a write transaction belongs to the thread of the operating system, so another green thread's raises "
        "'Attempt to start a write transaction while another ...' instead of waiting; take a lock of "
        "threading around write transactions"
    ),
    "cupy": (
        "its memory pool takes the locks of fastrlock in C, which all green threads hold together; call it "
        "from one green thread at a time"
    ),
}


def await_libraries(journal: Journal) -> None:
    """Patch the libraries that are imported already, and each other one when it is."""
    when_imported(journal, "fastrlock.rlock", partial(_patch_fastrlock, journal))
    when_imported(journal, "h5py._objects", partial(_patch_h5py, journal))
    for name in SHARED:
        when_imported(journal, name, _warn)


def _warn(module: ModuleType) -> None:
    # At the line of the program that imports the library, or patches.
    passed = ("greenify.", "importlib.", module.__name__ + ".")
    frame: Any = sys._getframe(1)
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith(passed):
        frame = frame.f_back
    warnings.warn_explicit(
        f"{module.__name__} does not tell green threads apart: {SHARED[module.__name__]}. "
        "See 'Locks in C' in the documentation's limits",
        NativeLockWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


class FastRLock(RLock):
    """`fastrlock.rlock.FastRLock` of green threads."""

    __slots__ = ()

    def acquire(self, blocking: bool = True) -> bool:  # type: ignore[override]
        """As `threading.RLock.acquire`, without a time-out."""
        taken: bool = RLock.acquire(self, bool(blocking))
        return taken

    def __enter__(self) -> None:  # type: ignore[override]
        RLock.acquire(self)


FastRLock.__module__ = "fastrlock.rlock"


def _patch_fastrlock(journal: Journal, module: ModuleType) -> None:
    def replace(journal: Journal) -> None:
        journal.replace(module, "FastRLock", FastRLock)

    journal.apply("thread", (), replace)


def _patch_h5py(journal: Journal, module: Any) -> None:
    """Have the one lock of h5py, which all its modules take in C, be a green one."""
    phil = module.phil
    if phil._is_owned() or not phil.acquire(False):
        warnings.warn(
            "h5py is in use by another thread, or by a callback that patches: its lock stays native, and a "
            "green thread that waits in a callback of it lets others in. Patch before h5py is imported",
            NativeLockWarning,
            stacklevel=2,
        )
        return
    phil.release()
    lock = RLock()

    def only_phil(native: Any, green: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self is phil:
                return green(*args, **kwargs)
            return native(self, *args, **kwargs)

        return method

    def acquire(blocking: bool = True) -> bool:
        taken: bool = lock.acquire(bool(blocking))
        return taken

    def leave(*exc: object) -> None:
        lock.release()

    _replace_methods(
        journal,
        type(phil),
        {
            "acquire": partial(only_phil, green=acquire),
            "release": partial(only_phil, green=lock.release),
            "_is_owned": partial(only_phil, green=lock._is_owned),
            "__enter__": partial(only_phil, green=acquire),
            "__exit__": partial(only_phil, green=leave),
        },
    )


def _replace_methods(
    journal: Journal, cls: type, methods: dict[str, Callable[[Any], Callable[..., Any]]]
) -> None:
    """Replace methods of a class in C, which cannot be assigned to; they are looked up in it all the same."""
    import ctypes

    names: dict[str, Any] = gc.get_referents(vars(cls))[0]  # what the read-only view shows
    modified = ctypes.pythonapi["PyType_Modified"]
    modified.argtypes, modified.restype = (ctypes.py_object,), None
    natives = {name: names[name] for name in methods}

    def undo() -> None:
        names.update(natives)
        modified(cls)

    journal.on_undo(undo)
    names.update({name: make(natives[name]) for name, make in methods.items()})
    modified(cls)
