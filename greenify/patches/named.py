"""What the user names: calls to be handed over (``offload``), packages whose threads are native (``native``).

The modules may not have been imported yet; then the names are looked up when they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.errors import PatchError
from greenify.green._foreign import library_threads
from greenify.green._foreign.offloading import offload
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch, label
from greenify.patches.selection import NATIVE, OFFLOAD

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["finishers", "read_native", "read_offload"]


def read_offload(names: Iterable[str] | str) -> tuple[str, ...]:
    """The names of ``offload``, each of the right form.

    Args:
        names: an iterable, or a string with commas.

    Raises:
        PatchError: one is not of the form ``package.module:Class.method``, with ``@self`` or
            ``@self.attribute`` at its end or without.
    """
    found = _split(names, "offload")
    for name in found:
        _parse(name)
    return found


def read_native(names: Iterable[str] | str) -> tuple[str, ...]:
    """The names of ``native``: packages and modules.

    Raises:
        PatchError: one cannot be the name of a module.
    """
    found = _split(names, "native")
    for name in found:
        if not _dotted(name):
            raise PatchError(f"native: {name!r} is no name of a package or module (package.module)")
    return found


def finishers(
    offloaded: Iterable[str], native: Iterable[str]
) -> list[tuple[str, Callable[[Journal], object]]]:
    """The names of the patches, and the ``finish`` hook of each."""
    found: list[tuple[str, Callable[[Journal], object]]] = []
    found += [(OFFLOAD + name, partial(_offload, name)) for name in offloaded]
    found += [(NATIVE + name, partial(_make_native, name)) for name in native]
    return found


def _split(names: Iterable[str] | str, option: str) -> tuple[str, ...]:
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    found = tuple(dict.fromkeys(names))
    for name in found:
        if not isinstance(name, str):
            raise PatchError(f"{option} takes names, as strings: {name!r} is none")
    return found


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _parse(name: str) -> tuple[str, str, str | None]:
    """The module, the path in it, and whose thread is meant."""
    place, at, thread_of = name.partition("@")
    module, _, path = place.partition(":")
    if not (_dotted(module) and _dotted(path)):
        raise PatchError(
            f"offload: {name!r} is not of the form package.module:function or package.module:Class.method"
        )
    if module == "builtins":
        raise PatchError(
            f"offload: {name!r}: greenify itself calls what is built in, as everybody does: name a function "
            "that calls it"
        )
    if at and not (_dotted(thread_of) and thread_of.split(".")[0] == "self"):
        raise PatchError(
            f"offload: {name!r}: what follows the @ is self, or leads from there to the object whose "
            "native thread is meant (@self.connection)"
        )
    return module, path, thread_of if at else None


def _make_native(name: str, journal: Journal) -> None:
    library_threads.add(name)
    journal.on_undo(partial(library_threads.remove, name))


def _offload(name: str, journal: Journal) -> None:
    module, path, thread_of = _parse(name)
    when_imported(journal, module, partial(_replace, journal, name, path, thread_of))


def _replace(
    journal: Journal, name: str, path: str, thread_of: str | None, module: ModuleType
) -> None:
    where, _, attribute = path.rpartition(".")
    try:
        owner: Any = attrgetter(where)(module) if where else module
    except AttributeError as exc:
        raise PatchError(f"offload: {name!r}: {exc}") from None
    if not isinstance(owner, type | ModuleType):
        raise PatchError(f"offload: {name!r}: {label(owner)} is neither a class nor a module")
    original = _stored(owner, attribute)
    try:
        twin = offload(original, thread_of=thread_of)
        journal.apply(OFFLOAD + name, (Patch(owner, replace={attribute: twin}),))
    except (PatchError, TypeError) as exc:
        hint = ""
        if isinstance(owner, type) and owner.__flags__ & _FLAGS != _HEAP:
            hint = (
                ". It is written in C and cannot be changed: derive a class with "
                "greenify.offload methods, or offload the functions that use it"
            )
        # What `Patch` offers to those who write one is nothing to a name.
        what = str(exc).removesuffix("; what is new belongs in add")
        raise PatchError(f"offload: {name!r}: {what}{hint}") from exc


# Py_TPFLAGS_HEAPTYPE without Py_TPFLAGS_IMMUTABLETYPE: a class that can be changed.
_HEAP = 1 << 9
_FLAGS = _HEAP | 1 << 8


def _stored(owner: Any, name: str) -> Any:
    places = owner.__mro__ if isinstance(owner, type) else (owner,)
    for place in places:
        if name in vars(place):
            return vars(place)[name]
    # `Journal.apply` says what is missing, and what may be meant; it does not come to the twin.
    return _stored
