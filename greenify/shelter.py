"""Modules whose references to the standard library are found by no tool that goes through all modules.

pyfakefs and freezegun look into every module for `os`, `io`, `time` and functions of theirs, and put their
own there.  The engine has to close its descriptors and read the clock all the same, as the interpreter does
with threads.  What a module's functions use is not concerned: they have the real dictionary.
"""

from __future__ import annotations

import sys

# Neither from types nor from typing: importing greenify loads nothing besides.
TYPE_CHECKING = False
if TYPE_CHECKING:
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


class Sheltered(ModuleType):
    """The class of greenify's own modules, which each gives to those in it when they have been imported."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        names: dict[str, Any] = _names_of(self)
        if sys._getframe(1).f_globals.get("__name__") == "importlib._bootstrap_external":
            return names  # it runs the module in there
        return {name: value for name, value in names.items() if not _is_foreign(name, value)}

    def __dir__(self) -> list[str]:
        shown = ModuleType.__dir__(self)
        return [name for name in shown if not _is_foreign(name, getattr(self, name, None))]

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
