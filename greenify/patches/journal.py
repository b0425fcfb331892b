"""The journal: the one place that changes anything outside of greenify, and takes it back.

Every change is written down before the next is made.  `Journal.transaction` undoes its own changes when
anything in it fails; `Journal.undo` takes changes back in reverse order, and refuses, before it has
touched anything, when somebody else has replaced the same attribute since.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal

from greenify.core.collector import thawed
from greenify.errors import PatchError, RestoreError
from greenify.patches.places import Attribute, Item, Place, place_of
from greenify.patches.record import MISSING, Change, Patch, label, stored

__all__ = ["Journal"]

Kind = Literal["replaced", "rebound", "converted"]

_native_rlock = _thread.RLock


class _Action:
    """No attribute at all: something that `Journal.on_undo` was told to call."""

    __slots__ = ("call", "name", "owner")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.owner = call
        self.name = "undo"


class _Entry:
    """One line of the journal."""

    __slots__ = ("after", "before", "kind", "patch", "place")

    def __init__(
        self, patch: str, kind: Kind, place: Place | _Action, before: object, after: object
    ) -> None:
        self.patch = patch
        self.kind = kind
        self.place = place
        self.before = before
        self.after = after

    def change(self) -> Change:
        place = self.place
        return Change(self.patch, self.kind, place.owner, place.name, self.before, self.after)

    def conflict(self) -> str | None:
        """Who has replaced a patched attribute after us, in words.

        Rebound references are not asked: a program that stores something else in its own variable has
        not patched anything, and `undo` leaves that variable alone.
        """
        place = self.place
        if self.kind != "replaced" or isinstance(place, _Action):
            return None
        current = place.read()
        if current is self.after:
            return None
        return f"{self.change().where} is now {label(current)}"

    def undo(self) -> None:
        place = self.place
        if isinstance(place, _Action):
            place.call()
        elif self.kind == "replaced" or place.read() is self.after:
            place.write(self.before)


class Journal:
    """What has been changed, by which patch, and what was there before.

    Any thread may call anything; `lock` (native and re-entrant) is held by whoever changes something.

    A patch's ``finish(journal)`` hook runs inside the transaction, after the patch's own attributes have been
    replaced, and may call `replace`, `convert`, `replace_item` and `on_undo`, nothing else.
    """

    def __init__(self) -> None:
        self.lock = _native_rlock()
        self._entries: list[_Entry] = []
        self._patch = ""

    # Writing.

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Undo, in reverse, all that was written in the block if the block raises."""
        with self.lock:
            start = len(self._entries)
            patch = self._patch
            try:
                yield
            except BaseException:
                while len(self._entries) > start:
                    self._entries.pop().undo()
                raise
            finally:
                self._patch = patch

    def apply(
        self,
        name: str,
        patches: Iterable[Patch],
        finish: Callable[[Journal], object] | None = None,
    ) -> None:
        """Apply all of `patches` under the patch name `name`, or none.

        Raises:
            PatchError: an attribute is missing (or, in ``add``, is there already), cannot be set, or has
                been replaced by another patch; everything written by this call has been undone.
        """
        with self.transaction():
            self._patch = name
            for target, attribute, value in _checked(patches):
                self.replace(target, attribute, value)
            if finish is not None:
                finish(self)

    def preview(
        self,
        name: str,
        patches: Iterable[Patch],
        finish: Callable[[Journal], object] | None = None,
    ) -> Iterator[Change]:
        """The changes that `apply` would make, but for those of `finish`, which is not called."""
        for target, attribute, value in _checked(patches):
            before = vars(target).get(attribute, MISSING)
            yield Change(name, "replaced", target, attribute, before, value)

    def replace(self, owner: object, name: str, value: object) -> None:
        """Set an attribute of a module, a class or an instance.

        Raises:
            PatchError: it cannot be set (a class written in C), or another patch has set it.
        """
        place = place_of(owner, name)
        self._refuse_second(place)
        try:
            self._write(self._patch, "replaced", place, value)
        except (TypeError, AttributeError) as exc:
            raise PatchError(f"{label(owner)}.{name} cannot be replaced: {exc}") from exc

    def convert(self, owner: object, name: str, value: object) -> None:
        """Like `replace`, for what holds state and which the program itself replaces now and then.

        So nobody else has patched it when it is another one later, and undoing leaves that other one alone.
        """
        self._write(self._patch, "converted", place_of(owner, name), value)

    def replace_item(self, container: Any, key: object, value: object) -> None:
        """Set ``container[key]`` of a dict (where `key` may be new), list or deque."""
        place = Item(container, key)
        self._refuse_second(place)
        self._write(self._patch, "replaced", place, value)

    def _refuse_second(self, place: Place) -> None:
        for entry in self._entries:
            if entry.kind == "replaced" and _same(entry.place, place):
                raise PatchError(
                    f"{entry.change().where} has been replaced by the patch {entry.patch!r} already"
                )

    def rebind(
        self, place: Place, value: object, *, kind: Literal["rebound", "converted"], patch: str
    ) -> None:
        """Let a reference that no patch names follow a patch.

        Undoing it puts back what was there, unless the program has stored something else there since.
        """
        self._write(patch, kind, place, value)

    def on_undo(self, call: Callable[[], object], patch: str | None = None) -> None:
        """Have ``call()`` called when this point of the journal is undone.  It must not raise.

        `patch` is the patch that this belongs to, by default the one that is being applied.
        """
        name = self._patch if patch is None else patch
        self._entries.append(_Entry(name, "replaced", _Action(call), MISSING, MISSING))

    def _write(self, patch: str, kind: Kind, place: Place, value: object) -> None:
        with self.lock:
            before = place.read()
            # Written down first: a signal handler that raises in between leaves nothing behind.
            self._entries.append(_Entry(patch, kind, place, before, value))
            try:
                place.write(value)
            except BaseException:
                if place.read() is not value:
                    self._entries.pop()
                raise

    # Undoing.

    def undo(self, names: Iterable[str] | None = None) -> None:
        """Take back the changes of the patches `names` (default: all), newest first.

        Raises:
            RestoreError: somebody has replaced some of these attributes after us; the message names them
                all, and nothing has been undone.
        """
        with self.lock, thawed():
            chosen = None if names is None else frozenset(names)
            mine = [e for e in self._entries if chosen is None or e.patch in chosen]
            conflicts = [text for e in mine if (text := e.conflict()) is not None]
            if conflicts:
                raise RestoreError(
                    "nothing was restored, because it would undo what somebody else has patched since: "
                    + "; ".join(conflicts)
                    + ". Undo that first."
                )
            for entry in reversed(mine):
                entry.undo()
                self._entries.remove(entry)

    def forget(self) -> None:
        """The process ends: keep no object of the program's."""
        with self.lock:
            self._entries[:] = [entry for entry in self._entries if entry.kind == "replaced"]

    # Reading.

    @property
    def patch(self) -> str:
        """The name of the patch that is being applied."""
        return self._patch

    def names(self) -> frozenset[str]:
        """The names of the patches that have changed anything."""
        with self.lock:
            return frozenset(entry.patch for entry in self._entries)

    def changes(self) -> tuple[Change, ...]:
        """All changes in force, in the order in which they were made."""
        with self.lock:
            return tuple(e.change() for e in self._entries if not isinstance(e.place, _Action))

    def original(self, owner: ModuleType | type[Any], name: str) -> object:
        """What ``owner.name`` was before any patch; what it is, if it is not patched.

        Raises:
            AttributeError: there is no such attribute.
        """
        with self.lock:
            for entry in self._entries:
                place = entry.place
                if isinstance(place, Attribute) and place.owner is owner and place.name == name:
                    if entry.before is MISSING:
                        return _inherited(owner, name)
                    return _bound(owner, entry.before)
            value: object = getattr(owner, name)
            return value


def _checked(
    patches: Iterable[Patch],
) -> Iterator[tuple[ModuleType | type[Any], str, object]]:
    """The single replacements of `patches`; PatchError for a name that is not there, or should not be."""
    for patch in patches:
        for attribute, value in patch.replace.items():
            if stored(patch.target, attribute) is MISSING:
                raise PatchError(_no_such(patch.target, attribute))
            yield patch.target, attribute, value
        for attribute, value in patch.add.items():
            if stored(patch.target, attribute) is not MISSING:
                raise PatchError(
                    f"{label(patch.target)} has {attribute!r} already: it belongs in replace, not in add"
                )
            yield patch.target, attribute, value


def _same(one: Place | _Action, other: Place) -> bool:
    return type(one) is type(other) and one.owner is other.owner and bool(one.name == other.name)


def _bound(owner: ModuleType | type[Any], value: object) -> object:
    """What reading a stored attribute from its owner gives."""
    getter = getattr(type(value), "__get__", None)
    if isinstance(owner, type) and getter is not None:
        return getter(value, None, owner)
    return value


def _inherited(owner: ModuleType | type[Any], name: str) -> object:
    if isinstance(owner, type):
        for base in owner.__mro__[1:]:
            if name in vars(base):
                return _bound(owner, vars(base)[name])
    raise AttributeError(f"{label(owner)} had no attribute {name!r} before it was patched")


def _no_such(target: ModuleType | type[Any], name: str) -> str:
    import difflib  # for a mistake only

    close = difflib.get_close_matches(name, dir(target), 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{label(target)} has no attribute {name!r}{hint}; what is new belongs in add"
