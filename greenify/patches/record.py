"""What a patch is: data that names real objects.

A file `greenify/patches/<name>.py` holds ``PATCHES``, a tuple of `Patch`, and may define
``finish(journal)`` for what plain attributes cannot express; that hook writes through the journal only
(see `greenify.patches.journal.Journal`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final, Literal

from greenify.green._copies.builtin import BuiltinTwin, Home, twin_of

__all__ = ["MISSING", "Change", "Patch", "label", "stored"]


class _Missing:
    """The type of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Stands for "there was no such attribute" in a `Change`."""


_NOTHING: Mapping[str, object] = MappingProxyType({})


# No dataclass: importing those takes a fifth of the time in which greenify is imported and patches.
class Patch:
    """Attributes of one module or class, and what they are replaced by.

    Args:
        target: the module or class object itself, never its name.  A class is changed in place, so its
            instances, its subclasses and every reference to it see the change.
        replace: attribute name -> new object.  Each name has to exist on `target`; what depends on the
            Python version or the platform is decided where the mapping is built.  Functions are given the
            names of what they replace (`twin_of`).
        add: attributes that `target` does not have yet.

    Raises:
        TypeError: `target` is neither a module nor a class, or a name is in both mappings.
    """

    target: Any
    replace: Mapping[str, object]
    add: Mapping[str, object]

    def __init__(
        self,
        target: Any,
        replace: Mapping[str, object] = _NOTHING,
        add: Mapping[str, object] = _NOTHING,
    ) -> None:
        if not isinstance(target, ModuleType | type):
            raise TypeError(f"the target of a Patch is a module or class object, not {target!r}")
        both = replace.keys() & add.keys()
        if both:
            raise TypeError(f"{label(target)}: in both replace and add: {sorted(both)}")
        object.__setattr__(self, "target", target)
        module = target.__name__ if isinstance(target, ModuleType) else target.__module__
        twins = {name: twin_of(stored(target, name), new, module) for name, new in replace.items()}
        object.__setattr__(self, "replace", MappingProxyType(twins))
        object.__setattr__(self, "add", MappingProxyType(dict(add)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Patch cannot be changed: {name!r}")

    def __repr__(self) -> str:
        return f"Patch({label(self.target)}, {sorted((*self.replace, *self.add))})"


class Change:
    """One change that is in force now.

    Attributes:
        patch: the name of the patch that made it, as in ``only`` and ``skip``.
        kind: "replaced" for what a patch names; "rebound" for another reference to an object that was
            replaced; "converted" for a reference to an existing native lock, queue or thread-local.
        owner: the object that holds the reference: a module, a class, an instance, a container.
        name: the attribute's name, or the key or index in a container.
        before: what was there (`MISSING` if the owner itself had nothing, as for an inherited method).
        after: what greenify has put there.
    """

    patch: str
    kind: Literal["replaced", "rebound", "converted"]
    owner: object
    name: object
    before: object
    after: object

    def __init__(
        self,
        patch: str,
        kind: Literal["replaced", "rebound", "converted"],
        owner: object,
        name: object,
        before: object,
        after: object,
    ) -> None:
        self.patch = patch
        self.kind = kind
        self.owner = owner
        self.name = name
        self.before = before
        self.after = after

    def __repr__(self) -> str:
        return f"<Change {self}>"

    @property
    def where(self) -> str:
        """The place in words: ``time.sleep``, ``socket.socket.recv``."""
        if isinstance(self.owner, ModuleType | type) and isinstance(self.name, str):
            return f"{label(self.owner)}.{self.name}"
        if isinstance(self.name, str) and not isinstance(self.owner, dict):
            return f"{label(self.owner)}.{self.name}"
        return f"{label(self.owner)}[{self.name!r}]"

    def __str__(self) -> str:
        return f"{self.where} -> {label(self.after)}"


def stored(owner: ModuleType | type[Any], name: str) -> object:
    """The attribute as stored, in the owner or a base class, without running any descriptor."""
    for base in owner.__mro__ if isinstance(owner, type) else (owner,):
        if name in vars(base):
            return vars(base)[name]
    return MISSING


def label(thing: object) -> str:
    """A short name for any object, for messages and tables: never its contents, which may be large."""
    if isinstance(thing, staticmethod | classmethod):
        thing = thing.__func__
    if isinstance(thing, BuiltinTwin):
        thing = thing._function
    if isinstance(thing, MethodType) and isinstance(thing.__self__, Home):
        return f"{thing.__func__.__globals__['__name__']}.{thing.__name__}"
    if isinstance(thing, ModuleType):
        return thing.__name__
    if isinstance(thing, property) and thing.fget is not None:
        thing = thing.fget
    if isinstance(thing, FunctionType):
        home = thing.__globals__["__name__"]
        # A twin says that it comes from where it has been put.
        return (
            f"{home}.{thing.__qualname__ if thing.__module__ == home else thing.__code__.co_name}"
        )
    if isinstance(thing, type) and "_greenify_name" in vars(thing):
        return str(vars(thing)["_greenify_name"])
    name = getattr(thing, "__qualname__", None)
    if isinstance(name, str):
        module = getattr(thing, "__module__", None)
        if module is None:
            owner = getattr(thing, "__self__", None)
            module = owner.__name__ if isinstance(owner, ModuleType) else None
        return name if module in (None, "builtins") else f"{module}.{name}"
    if thing is None or isinstance(thing, bool | int | float | str):
        return repr(thing)
    kind = type(thing)
    return f"<{kind.__module__}.{kind.__qualname__} at {id(thing):#x}>"
