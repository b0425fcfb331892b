"""Applies the patch of a library when one of its modules has been imported.

All of it or nothing: what does not fit the version that is there is undone, with one warning, and the library
works as if nobody had patched it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.errors import LibraryPatchWarning, PatchError
from greenify.green._foreign import library_threads
from greenify.libraries.record import Library
from greenify.patches.record import MISSING, Patch, label

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["apply", "load", "planned", "replacement", "stored"]


def load(name: str) -> Library:
    """The description of the library whose patch is called `name`."""
    found: Library = import_module(f"greenify.libraries.{name}").LIBRARY
    return found


def planned(name: str) -> Iterator[tuple[str, str]]:
    """What would be replaced, and by what, in words; the library need not be installed."""
    library = load(name)
    for place, names in library.replace.items():
        for attribute, remedy in names.items():
            kind = repr(remedy) if "<" not in repr(remedy) else label(remedy)
            yield f"{place.replace(':', '.')}.{attribute.rstrip('?')}", kind
    for module in library.finish:
        yield module, label(library.finish[module])
    for package in library.native_threads:
        yield f"threads of {package}", "native threads"


def apply(journal: Journal, name: str, module: ModuleType) -> None:
    """Apply what the library says of `module`, which has just been imported.  Any thread.

    Raises:
        LibraryPatchWarning: only where warnings are turned into errors.
    """
    library = load(name)
    try:
        with journal.transaction():
            _apply(journal, name, library, module)
    except Exception as exc:
        # Whatever a new version has become: that is no error of the program that imports it.
        journal.undo([name])
        _warn(name, library, module, exc)


def _apply(journal: Journal, name: str, library: Library, module: ModuleType) -> None:
    patches = list(_patches(library, module))
    # Undone last, when the originals are back in their places.
    journal.on_undo(partial(_put_back, module.__name__, patches), name)
    finish = library.finish.get(module.__name__)
    journal.apply(name, patches, None if finish is None else partial(_finish, finish, module))
    if module.__name__ in library.native_threads:
        library_threads.add(module.__name__)
        journal.on_undo(partial(library_threads.remove, module.__name__), name)


def _put_back(home: str, patches: list[Patch]) -> None:
    """Undo what the library itself has taken over since: ``from .core import connect`` in its package."""
    originals = {
        id(twin): (twin, vars(patch.target)[name])
        for patch in patches
        if isinstance(patch.target, ModuleType)
        for name, twin in patch.replace.items()
    }
    package = home.partition(".")[0]
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(package + "."):
            for attribute, value in list(vars(module).items()):
                twin, original = originals.get(id(value), (None, None))
                if twin is value and twin is not None:
                    setattr(module, attribute, original)


def _finish(finish: Any, module: ModuleType, journal: Journal) -> None:
    finish(journal, module)


def _patches(library: Library, module: ModuleType) -> Iterator[Patch]:
    for place, names in library.replace.items():
        home, _, path = place.partition(":")
        if home != module.__name__:
            continue
        try:
            owner = attrgetter(path)(module) if path else module
        except AttributeError:
            raise PatchError(f"there is no {path} in {home}") from None
        replace = {}
        for name, remedy in names.items():
            attribute = name.rstrip("?")
            original = stored(owner, attribute)
            if original is not MISSING:
                replace[attribute] = replacement(original, remedy)
            elif attribute == name:
                raise PatchError(f"{label(owner)} has no attribute {attribute!r}")
        yield Patch(owner, replace=replace)


def stored(owner: Any, name: str) -> Any:
    """The attribute as a module, a class or one of its bases stores it, or `MISSING`."""
    for place in owner.__mro__ if isinstance(owner, type) else (owner,):
        if name in vars(place):
            return vars(place)[name]
    return MISSING


def replacement(original: Any, remedy: Any) -> Any:
    """What takes the place of `original`, of its kind."""
    if isinstance(original, staticmethod | classmethod):
        return type(original)(remedy(original.__func__))
    return remedy(original)


def _warn(name: str, library: Library, module: ModuleType, exc: Exception) -> None:
    from importlib import metadata  # for a misfit only

    try:
        version = metadata.version(library.package)
    except metadata.PackageNotFoundError:
        version = "of an unknown version"
    what = str(exc) if isinstance(exc, PatchError) else f"{type(exc).__name__}: {exc}"
    message = (
        f"greenify does not fit {library.package} {version} ({what}; tested: {library.tested}). It works as "
        "it is without greenify, and where it waits in C all green threads wait. "
        f"patch_all(skip={name!r}) says that this is known"
    )
    # The program that imports the library, or patches.
    passed = ("greenify.", "importlib.", "contextlib.", module.__name__.partition(".")[0] + ".")
    frame: Any = sys._getframe(1)
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith(passed):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        LibraryPatchWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )
