"""Keeps greenify's modules whole while the interpreter is finalised.

At its end the interpreter sets every global variable of every module that is still referred to to None, ours
among the first.  Objects of the program are finalised after that: a pipe that a Popen object holds, a lock, a
socket.  C code needs no globals; the Python code that stands in its place here would print "Exception ignored
... 'NoneType' object is not callable".

So the last function that `atexit` calls takes our modules out of the interpreter's sight: `sys.modules` gets
objects in their place that are no modules, and what they have of other modules (``os.WNOHANG``) comes from a
copy.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["let_go"]

#: Called then: what refers to objects of the program's lets go of them, or they would never be finalised.
let_go: list[Callable[[], object]] = []

_PACKAGE = __name__.partition(".")[0]

# These are cleared last of all, and change meanwhile.
_LAST = frozenset({"builtins", "sys"})


class _Kept:
    """Stands for a module in `sys.modules`."""

    __slots__ = ("_module",)

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _is_ours(name: str) -> bool:
    return name == _PACKAGE or name.startswith(_PACKAGE + ".")


def _keep() -> None:
    for call in let_go:
        call()
    modules = sys.modules
    copies: dict[str, SimpleNamespace] = {}
    # A finaliser that runs meanwhile may import something.
    for name, module in modules.copy().items():
        if type(module) is not ModuleType or not _is_ours(name):
            continue
        names = vars(module)
        for key, value in tuple(names.items()):
            if type(value) is ModuleType:
                other = value.__name__
                if other in _LAST or _is_ours(other):
                    continue
                copy = copies.get(other)
                if copy is None:
                    copy = copies[other] = SimpleNamespace(**vars(value))
                names[key] = copy
        modules[name] = _Kept(module)  # type: ignore[assignment]


atexit.register(_keep)
