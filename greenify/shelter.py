"""Modules whose references to the standard library are found by no tool that goes through all modules.

pyfakefs and freezegun look into every module for `os`, `io`, `time` and functions of theirs, and put their
own there.  The engine has to close its descriptors and read the clock all the same, as the interpreter does
with threads.  Whoever names a name finds it, as in any module: pytest and mock save and restore what they
replace.  What a module's functions use is not concerned: they have the real dictionary.
"""

from __future__ import annotations

import sys

# Neither from types nor from typing: importing greenify loads nothing besides.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any
else:
    ModuleType = type(sys)

__all__ = ["shelter"]

_names_of = vars(ModuleType)["__dict__"].__get__
_FUNCTIONS = (type(len), type(lambda: None))


def _is_foreign(name: str, value: object) -> bool:
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0] != "greenify"
    if name.startswith("_") and isinstance(value, _FUNCTIONS):
        return str(value.__module__).partition(".")[0] != "greenify"
    return False


class _Names(dict[str, "Any"]):
    """What `vars` gives of a module: all names for whoever names one, without the foreign ones for a walk.

    Its own items, all of them, are for what reads them in C, such as `exec`.
    """

    __slots__ = ("_all",)

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names)
        self._all = names

    def _shown(self) -> dict[str, Any]:
        return {name: value for name, value in self._all.items() if not _is_foreign(name, value)}

    # By name.

    def __getitem__(self, name: str) -> Any:
        return self._all[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def get(self, name: str, default: Any = None) -> Any:
        return self._all.get(name, default)

    def __setitem__(self, name: str, value: Any) -> None:
        self._all[name] = value
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        del self._all[name]
        super().pop(name, None)

    def pop(self, name: str, *default: Any) -> Any:
        super().pop(name, None)
        return self._all.pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        return super().setdefault(name, self._all.setdefault(name, default))

    def update(self, *others: Any, **names: Any) -> None:
        # A copy, as mock.patch.dict takes one, gives back what it does not show.
        others = tuple(each._all if isinstance(each, _Names) else each for each in others)
        self._all.update(*others, **names)
        super().update(self._all)

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    # All of them.

    def __iter__(self) -> Iterator[str]:
        return iter(self._shown())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._shown())

    def __len__(self) -> int:
        return len(self._shown())

    def __repr__(self) -> str:
        return repr(self._shown())

    def __eq__(self, other: object) -> bool:
        return self._all == (other._all if isinstance(other, _Names) else other)

    __hash__ = None

    def __or__(self, other: Any) -> Any:
        return self._shown() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._shown()

    def keys(self) -> Any:
        return self._shown().keys()

    def values(self) -> Any:
        return self._shown().values()

    def items(self) -> Any:
        return self._shown().items()

    def copy(self) -> _Names:
        return _Names(self._all.copy())

    def popitem(self) -> tuple[str, Any]:
        for name in reversed(self._shown()):
            return name, self.pop(name)
        raise KeyError("popitem(): dictionary is empty")

    def clear(self) -> None:
        for name in self._shown():
            del self[name]


class Sheltered(ModuleType):
    """The class of greenify's own modules, which each gives to those in it when they have been imported."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        names: dict[str, Any] = _names_of(self)
        if sys._getframe(1).f_globals.get("__name__") == "importlib._bootstrap_external":
            return names  # it runs the module in there
        return _Names(names)

    def __dir__(self) -> list[str]:
        names: dict[str, Any] = _names_of(self)
        # A twin shows all that the module shows which it stands for.
        parent, _, name = self.__name__.rpartition(".")
        twin_of = sys.modules.get(name) if parent == "greenify.green" else None
        known = frozenset(() if twin_of is None else dir(twin_of))
        list_all = names.get("__dir__", names.copy)
        return [
            name
            for name in list_all()
            if name in known or name not in names or not _is_foreign(name, names[name])
        ]

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}":
            shelter(value)


def shelter(module: ModuleType) -> None:
    """Hide what `module`, one of greenify's, and those in it have of the standard library."""
    if type(module) is not ModuleType:
        return  # done, or a private copy of a module of the standard library
    module.__class__ = Sheltered
    for name, value in tuple(_names_of(module).items()):
        if isinstance(value, ModuleType) and value.__name__ == f"{module.__name__}.{name}":
            shelter(value)
