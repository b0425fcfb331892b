"""Patching: what is replaced by what, as data, and the journal that applies it and takes it back.

    greenify.patch_all()                          # everything, for the rest of the process
    greenify.patch_all(only=["socket", "time"])
    with greenify.patched():                      # for a while
        ...

`ORDER` names the patches.  Each is a file in this folder that holds ``PATCHES`` (see `record.Patch`) and may
hold ``finish(journal)``; adding one takes that file and a word in `selection.ORDER`.  Those of other people's
libraries are in `greenify.libraries`.

Patching starts no loop, no thread and opens no descriptor.  Any thread may call any function here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, overload

from greenify.core.collector import thawed
from greenify.core.lasting import let_go
from greenify.core.rivals import rival
from greenify.errors import LatePatchWarning, PatchError
from greenify.features import turn_on, wanted
from greenify.patches.journal import Journal
from greenify.patches.late import follow, message
from greenify.patches.libraries import await_library
from greenify.patches.record import Change, Patch, label
from greenify.patches.selection import LIBRARIES, ORDER, check, choose

__all__ = [
    "LIBRARIES",
    "ORDER",
    "Change",
    "Patch",
    "changes",
    "is_patched",
    "original",
    "patch_all",
    "patched",
    "planned",
    "planned_libraries",
    "restore",
]

_journal = Journal()
let_go.append(_journal.forget)

# In a child, whoever held the lock in another thread of the parent does not exist.
os.register_at_fork(after_in_child=_journal.lock._at_fork_reinit)  # type: ignore[attr-defined]


def patch_all(
    *,
    only: Iterable[str] | str | None = None,
    skip: Iterable[str] | str | None = None,
    offload: Iterable[str] | str = (),
    native: Iterable[str] | str = (),
) -> None:
    """Make the standard library's blocking calls cooperative, in the whole process, until `restore`.

    Best called in the first lines of a program.  References, locks, queues and thread-locals that exist
    already are adapted; what cannot be is named in one `LatePatchWarning`.  Patches that are in force stay as
    they are, so a second call adds those it names, or does nothing.

    What variables of the environment ask for (``GREENIFY_WATCH=0.1``) is turned on, too.

    Args:
        only: the names of the patches to apply (see `ORDER` and `LIBRARIES`), by default all: an iterable,
            or a string with commas.
        skip: names to leave out, in the same form.
        offload: calls that are handed to native threads (see `greenify.offload`), as
            ``"package.module:function"`` or ``"package.module:Class.method"``, in the same form.  With
            ``@self`` at the end, each object has a native thread of its own; with ``@self.connection``, that
            of the object which this leads to is used.  The modules are not imported for it.
        native: packages and modules whose threads are native, in the same form: those that their code
            starts, and those that run their functions or classes.

    Raises:
        UnknownPatchError: there is no patch of that name; the message lists them.
        PatchError: a patch cannot be applied, or needs one that is left out; a name in `offload` or `native`
            is none; a variable of the environment has a wrong value.  Nothing has been patched.  Names in a
            module that is imported later are looked up then: that import raises it.
        LatePatchWarning: only where warnings are turned into errors.  Nothing has been patched.
    """
    features = wanted()
    _apply(choose(only, skip), _named(offload, native), stacklevel=3)
    turn_on(features)


def restore() -> None:
    """Take back everything that `patch_all` and `patched` have replaced, rebound and converted.

    What has been made cooperative meanwhile (a running thread, a lock made since) stays so and goes on
    working.

    Raises:
        RestoreError: somebody else has replaced one of the same attributes since; the message names them, and
            nothing has been restored.
    """
    _journal.undo()


@contextmanager
def patched(
    *,
    only: Iterable[str] | str | None = None,
    skip: Iterable[str] | str | None = None,
    offload: Iterable[str] | str = (),
    native: Iterable[str] | str = (),
) -> Iterator[None]:
    """Patch for the length of a ``with`` block (or, as a decorator, of a call); see `patch_all`.

    At the end the patches are taken back that were not in force at its beginning.

    Args:
        only, skip, offload, native: as of `patch_all`; so are the errors.  At the end, `RestoreError` as
            of `restore`.
    """
    names = _apply(choose(only, skip), _named(offload, native), stacklevel=4)
    try:
        yield
    finally:
        _journal.undo(names)


def is_patched(name: str) -> bool:
    """Whether the patch `name`, one of `ORDER` or `LIBRARIES`, is in force.

    That of a library is so from the call of `patch_all` on, whether the library is imported or not.

    Raises:
        UnknownPatchError: there is no patch of that name.
    """
    check([name], "is_patched")
    return name in _journal.names()


def changes() -> tuple[Change, ...]:
    """Everything that is changed now: by which patch, where, what was there and what is.

    A snapshot, in the order in which the changes were made; empty if nothing is patched.
    """
    return _journal.changes()


@overload
def original(owner: ModuleType | str) -> ModuleType: ...


@overload
def original(owner: ModuleType | type[Any] | str, name: str) -> Any: ...


def original(owner: ModuleType | type[Any] | str, name: str | None = None) -> Any:
    """What was there before the patch, or what is there if it is not patched.

    With a name, one attribute.  A class that is patched in place (`socket.socket`) has no other object to be:
    ask for its methods, or for the whole module.

    Without a name, a whole module whose calls block the OS thread, in a patched process too::

        native = greenify.original("threading")
        native.Thread(target=work).start()  # an OS thread

    It stays as it is whatever is patched or restored later.  Its classes are not those of the ordinary module
    (save for exceptions), as far as a patch concerns them.  Of a module that no patch concerns it is the
    ordinary one.

    Args:
        owner: a module, the name of a module, or a class (with a name only).
        name: the name of one of its attributes.

    Raises:
        AttributeError: there was no such attribute.
        ImportError: there is no such module.
    """
    if name is None:
        if isinstance(owner, type):
            raise TypeError(f"of the class {label(owner)} the name of an attribute is needed, too")
        # Loaded when it is needed: most programs never do.
        from greenify.patches.originals import unpatched

        modules = unpatched(_journal.changes)
        return modules.module(owner if isinstance(owner, str) else owner.__name__)
    if isinstance(owner, str):
        owner = import_module(owner)
    return _journal.original(owner, name)


def planned(
    *, only: Iterable[str] | str | None = None, skip: Iterable[str] | str | None = None
) -> tuple[Change, ...]:
    """What `patch_all` with these arguments would replace in the standard library, without doing it."""
    return tuple(
        change
        for name in choose(only, skip)
        if name not in LIBRARIES
        for change in _journal.preview(name, *_load(name))
    )


def planned_libraries(
    *, only: Iterable[str] | str | None = None, skip: Iterable[str] | str | None = None
) -> tuple[tuple[str, str, str], ...]:
    """What would be replaced in libraries, when they are imported: the patch, the place, and by what."""
    planned = import_module("greenify.libraries.applying").planned
    names = [name for name in choose(only, skip) if name in LIBRARIES]
    return tuple((name, *row) for name in names for row in planned(name))


def _load(name: str) -> tuple[tuple[Patch, ...], Callable[[Journal], object] | None]:
    if name in LIBRARIES:
        return (), partial(await_library, name)
    module = import_module(f"greenify.patches.{name}")
    patches: tuple[Patch, ...] = module.PATCHES
    return patches, getattr(module, "finish", None)


_Named = dict[str, Callable[[Journal], object]]


def _named(offload: Iterable[str] | str, native: Iterable[str] | str) -> _Named:
    """The patches that the user has named calls and packages for."""
    if not (offload or native):
        return {}
    from greenify.patches.named import finishers, read_native, read_offload  # for these only

    return dict(finishers(read_offload(offload), read_native(native)))


def _apply(names: tuple[str, ...], named: _Named, stacklevel: int) -> tuple[str, ...]:
    """Apply those patches that are not in force, and return their names."""
    with _journal.lock:
        present = _journal.names()
        missing = tuple(name for name in (*names, *named) if name not in present)
        if not missing:
            return ()
        problem = rival()
        if problem is not None:
            raise PatchError(problem)
        # All twins before the first change: they keep the native functions as they find them.
        loaded = [
            (name, (), named[name]) if name in named else (name, *_load(name)) for name in missing
        ]
        with _journal.transaction(), thawed():
            start = len(_journal.changes())
            for name, patches, finish in loaded:
                _journal.apply(name, patches, finish)
            lines = follow(_journal, _journal.changes()[start:], missing)
            if lines:
                warnings.warn(message(lines), LatePatchWarning, stacklevel=stacklevel)
    return missing
