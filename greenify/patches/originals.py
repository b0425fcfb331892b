"""Modules as they are without any patch, for `greenify.original`.

A module whose functions alone are patched gets a *view*: a module of the same contents, with the originals
back in their places.  One whose classes are patched in place, or whose code calls patched modules, is copied:
the same code, executed once more over other views and copies.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from greenify.event import Event
from greenify.green._copies.copies import Library
from greenify.green._copies.needs import STANDARD, Needs
from greenify.green._copies.rest import copy_function
from greenify.green._threads.main_thread import set_main_thread
from greenify.locks import RLock
from greenify.patches.record import MISSING, Change

__all__ = ["Originals", "unpatched"]

_VIEWS = (
    "_imp",
    "_io",
    "_multiprocessing",
    "_queue",
    "_thread",
    "builtins",
    "io",
    "os",
    "posix",
    "select",
    "signal",
    "sys",
    "time",
)

# Late patching leaves alone what comes from greenify.
PREFIX = "greenify.originals."

_COPIES = STANDARD | {"queue", "selectors", "socket", "ssl", "subprocess", "threading"}


class Originals:
    """The unpatched modules, each made at its first use and kept.  Any thread may use it.

    Args:
        changes: tells what is changed now.
    """

    def __init__(self, changes: Callable[[], Iterable[Change]]) -> None:
        self._changes = changes
        self._needs = Needs()
        self._given: dict[str, Callable[[], ModuleType]] = {
            name: partial(self._view, name) for name in _VIEWS
        }
        self._given["threading"] = self._threading
        self._library: Library | None = None

    def module(self, name: str) -> ModuleType:
        """The module `name` without patches; itself if no patch ever concerns it.

        Raises:
            ImportError: there is no such module.
        """
        real = importlib.import_module(name)
        library = self._load()
        if name in library.modules or name in self._given or self._copied(name):
            return library.copy(name)
        if any(change.owner is real for change in self._changes()):
            self._given[name] = partial(self._view, name)
            return library.copy(name)
        return real

    def _load(self) -> Library:
        if self._library is None:
            native: Any = self._view("builtins")
            self._library = Library(self._given, self._copied, {"open": native.open}, PREFIX)
        return self._library

    def _copied(self, name: str) -> bool:
        return name in _COPIES or self._needs.copy(name)

    def _view(self, name: str) -> ModuleType:
        real = importlib.import_module(name)
        view = ModuleType(real.__name__, real.__doc__)
        contents = vars(view)
        contents.update(vars(real))
        contents["__name__"] = PREFIX + name
        restored: set[object] = set()
        for change in self._changes():
            # The first one has found the original.
            if change.owner is real and change.name not in restored:
                restored.add(change.name)
                if change.before is MISSING:
                    del contents[str(change.name)]
                else:
                    contents[str(change.name)] = change.before
        for attribute, value in list(contents.items()):
            if isinstance(value, FunctionType) and value.__globals__ is vars(real):
                contents[attribute] = copy_function(value, contents)
        return view

    def _threading(self) -> ModuleType:
        library = self._load()
        if sys.version_info >= (3, 13):
            copy: Any = library.make("threading")
        else:
            # A second sentinel would take the place of the main thread's own.
            primitives: Any = library.copy("_thread")
            native = primitives._set_sentinel
            primitives._set_sentinel = primitives.allocate_lock
            try:
                copy = library.make("threading")
            finally:
                primitives._set_sentinel = native
            vars(copy)["_set_sentinel"] = native
        set_main_thread(copy)
        _join_at_exit(copy)
        found: ModuleType = copy
        return found


_made: list[Originals] = []
_making = RLock()


def unpatched(changes: Callable[[], Iterable[Change]]) -> Originals:
    """The one set of unpatched modules of the process; see `Originals`."""
    with _making:
        if not _made:
            _made.append(Originals(changes))
    return _made[0]


def _join_at_exit(copy: Any) -> None:
    """Have the end of the program wait for the threads of the copy, while green threads go on."""
    ended = Event()
    bootstrap = copy.Thread._bootstrap

    def _bootstrap(self: Any) -> None:
        try:
            bootstrap(self)
        finally:
            ended.set()

    def join() -> None:
        main = copy.main_thread()
        while True:
            ended.clear()
            if all(thread is main or thread.daemon for thread in copy.enumerate()):
                break
            ended.wait()
        copy._shutdown()

    copy.Thread._bootstrap = _bootstrap
    try:
        threading._register_atexit(join)  # type: ignore[attr-defined]
    except RuntimeError:
        pass  # the program is ending: nobody waits for threads any more
