"""Late patching: what was taken or made before the patch follows it.

``from time import sleep`` above ``patch_all()`` leaves a reference to the native function; a lock made at
import is a native lock.  References to replaced functions and classes are rebound, and native locks, queues
and thread-locals are converted, wherever they are kept (`references.py` finds them).  An object that keeps
state of its own is converted only if every single reference to it can be rewritten: two locks in the place
of one would be none.  What stays native is named in one warning.
"""

from __future__ import annotations

import _thread
import builtins
import gc
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from selectors import BaseSelector
from types import FunctionType, ModuleType
from typing import Any

from greenify.patches.adoption import (
    ADOPTERS,
    adopter_of_local,
    cooperative_local,
    subclasses,
)
from greenify.patches.journal import Journal
from greenify.patches.places import Attribute, Item, Member, Place
from greenify.patches.record import Change, label
from greenify.patches.references import Node, Search, is_exempt

__all__ = ["follow", "message"]

_get_ident = _thread.get_ident
_current_frames = sys._current_frames

# More lines than this are counted, not listed.
_LISTED = 25


def message(lines: list[str]) -> str:
    """The text of the warning that names what `follow` could not reach."""
    shown = lines[:_LISTED]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    return (
        "greenify has patched the process, but these were there before and stay native, so that they block "
        "every green thread where they block:\n  - "
        + "\n  - ".join(shown)
        + "\nPatch before they are made: call greenify.patch_all() in the first lines of the program, "
        "or run it with 'python -m greenify'."
    )


def follow(journal: Journal, changes: Iterable[Change], names: Collection[str]) -> list[str]:
    """Rebind and convert what the patches `names` have come too late for.

    Args:
        journal: all that is written goes there.
        changes: what these patches have replaced.
        names: the patches that have just been applied.

    Returns:
        What could not be reached, one line for each.
    """
    # No finaliser may run in between: what has been found would not be true any more.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _Late(journal, changes, names).run()
    finally:
        if collecting:
            gc.enable()


class _Replacement:
    """What takes the place of one native function or class."""

    __slots__ = ("choices", "owners", "patch")

    def __init__(self, patch: str) -> None:
        self.patch = patch
        self.owners: list[object] = []  # the modules in which it was replaced
        self.choices: dict[str, Any] = {}  # by the name under which it was replaced

    def choose(self, name: object = None) -> Any:
        """The same function may have had two names, and two replacements: the name decides."""
        choices = self.choices
        return choices.get(name, next(iter(choices.values())))  # type: ignore[call-overload]


class _Late:
    def __init__(self, journal: Journal, changes: Iterable[Change], names: Collection[str]) -> None:
        self.journal = journal
        self.lines: list[str] = []
        self.replaced: dict[int, _Replacement] = {}
        self.adopters = {row.native: row for row in ADOPTERS if row.patch in names}
        self.new: dict[int, Any] = {}  # what replaces an object, by the object's id
        self.held: list[Any] = []  # keeps those ids valid
        self.known: dict[int, int] = {}  # how often the journal refers to what was replaced
        for change in changes:
            if _is_followed(change):
                replacement = self.replaced.get(id(change.before))
                if replacement is None:
                    replacement = self.replaced[id(change.before)] = _Replacement(change.patch)
                    self.held.append(change.before)
                replacement.choices[str(change.name)] = change.after
                replacement.owners.append(change.owner)
                self.known[id(change.before)] = self.known.get(id(change.before), 0) + 2
        for number, replacement in self.replaced.items():
            self.new[number] = replacement.choose()
        if "thread" in names:
            self._renew_locals()

    def _renew_locals(self) -> None:
        for cls in subclasses():
            if is_exempt(cls.__module__):
                continue
            made = cooperative_local(cls, self.new)
            if made is None:
                self.lines.append(f"the class {label(cls)}, which derives from threading.local")
                continue
            self.held.append(cls)
            self.new[id(cls)] = made
            replacement = self.replaced[id(cls)] = _Replacement("thread")
            replacement.choices[""] = made
            self.adopters[cls] = adopter_of_local(cls, made)

    def run(self) -> list[str]:
        search = Search(self.held, self.known, frozenset(self.adopters))
        try:
            for node in search.nodes.values():
                self._rebind(node)
            chosen = [node for node in search.counted.values() if self._convertible(node)]
            for node in chosen:
                self._adopt(node)
            for node in chosen:
                self._convert(node)
        finally:
            search.forget()
        self._name_threads()
        return self.lines

    # Functions and classes.

    def _rebind(self, node: Node) -> None:
        replacement = self.replaced[id(node.target)]
        for place in node.places:
            # Other names for it in a module that is patched: if they were to follow, the patch would say so.
            if not any(place.owner is owner for owner in replacement.owners):
                self._write(place, replacement.choose(place.name), "rebound", replacement.patch)
        for derived in node.derived:
            if derived.places:
                value = derived.renewed(self.new)
                for place in derived.places:
                    self._write(place, value, "rebound", replacement.patch)
        for found in node.tree():
            for where in found.stuck:
                self._report(f"{label(node.target)}, {where}")

    def _write(self, place: Place, value: Any, kind: Any, patch: str) -> None:
        owner = place.owner
        current = place.read()
        if current is value:
            return  # a derived object belongs to several others, and the first has done it
        if (
            isinstance(place, Attribute)
            and isinstance(owner, type)
            and isinstance(value, FunctionType)
            and not hasattr(type(current), "__get__")
        ):
            # What stood there was no method; a plain function would become one.
            value = staticmethod(value)
        try:
            self.journal.rebind(place, value, kind=kind, patch=patch)
        except (TypeError, AttributeError) as exc:
            self._report(f"{label(current)}, which cannot be replaced: {exc}")

    # Objects.

    def _convertible(self, node: Node) -> bool:
        tree = list(node.tree())
        places = [place for found in tree for place in found.places]
        if any(found.exempt for found in tree) or any(map(_sees_to_itself, places)):
            return False
        adopter = self.adopters[type(node.target)]
        stuck = [where for found in tree for where in found.stuck]
        hidden = sum(found.hidden for found in tree)
        busy = adopter.busy(node.target)
        if busy is not None:
            stuck.append(busy)
        if adopter.adopt is None:
            stuck.append("which cannot be converted")
        elif adopter.shared or not (stuck or hidden):
            return bool(places)
        name = next((text for place in places if (text := _place_name(place))), None)
        if name is None and not places:
            # Known to nobody but a running native thread, or to C code.
            return False
        what = f"{label(type(node.target))} {name or 'in a container'}"
        if hidden and not stuck:
            stuck.append("in use by a 'with' block that is running, a native thread or C code")
        self._report(f"{what}: {'; '.join(dict.fromkeys(stuck))}")
        return False

    def _adopt(self, node: Node) -> None:
        native = node.target
        adopter = self.adopters[type(native)]
        assert adopter.adopt is not None
        green = adopter.adopt(native)
        self.held.append(native)
        self.new[id(native)] = green
        if adopter.give_back is not None:
            self.journal.on_undo(partial(adopter.give_back, native, green), adopter.patch)

    def _convert(self, node: Node) -> None:
        adopter = self.adopters[type(node.target)]
        for found in node.tree():
            if found.places:
                value = found.renewed(self.new)
                for place in found.places:
                    self._write(place, value, "converted", adopter.patch)

    # The warning.

    def _report(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)

    def _name_threads(self) -> None:
        names = list(_native_threads())
        if names:
            self.lines.append(
                f"{len(names)} native threads that were running already: {', '.join(names)}"
                if len(names) > 1
                else f"a native thread that was running already: {names[0]}"
            )


def _is_followed(change: Change) -> bool:
    """Whether other references to what was replaced have to follow.

    Not those to methods, as their class has been changed in place; and not those to plain values and
    builtins, which everybody refers to.
    """
    before = change.before
    return (
        isinstance(change.owner, ModuleType)
        and callable(before)
        and before is not change.after
        and getattr(builtins, getattr(before, "__name__", ""), None) is not before
    )


def _sees_to_itself(place: Place) -> bool:
    owner = place.owner
    if isinstance(owner, BaseSelector):
        return True  # its select method adopts what it finds there
    # C code releases that lock when the native thread ends.
    return (
        isinstance(owner, threading.Thread)
        and place.name == "_tstate_lock"
        and owner is not threading.main_thread()
    )


def _place_name(place: Place) -> str | None:
    if isinstance(place, Attribute | Member):
        return f"at {label(place.owner)}.{place.name}"
    if isinstance(place, Item) and isinstance(place.name, str):
        return f"at [{place.name!r}] of a dict"
    return None


def _native_threads() -> Iterator[str]:
    """The names of the running OS threads but the caller's and greenify's own."""
    active = dict(threading._active)  # type: ignore[attr-defined]
    frames = _current_frames()
    # Not our own: a variable that held it would make a cycle of it.
    frames.pop(_get_ident(), None)
    # Not the main thread's: that one is going to run the green ones.
    frames.pop(threading.main_thread().ident or 0, None)
    for ident, frame in frames.items():
        while frame.f_back is not None:
            frame = frame.f_back
        if is_exempt(frame.f_globals.get("__name__")):
            continue
        thread = active.get(ident)
        yield repr(thread.name) if thread is not None else f"{ident:#x}"
