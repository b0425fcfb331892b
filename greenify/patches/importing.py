"""Patching a module when it is imported, for modules that are too costly to import for their patch.

The finder and the loader do not derive from `importlib.abc`, whose import alone would double the cost of
`patch_all`; the import system asks for the methods only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from greenify.patches.journal import Journal

__all__ = ["when_imported"]


class _PatchingLoader:
    """Runs a module with its own loader and then the patch."""

    def __init__(
        self,
        loader: Any,
        action: Callable[[ModuleType], object],
        during: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._loader = loader
        self._action = action
        self._during = during

    def __getattr__(self, name: str) -> Any:
        # What `runpy` asks of it for ``-m``, and `inspect` and others for the source.
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module must not be told apart from one that was imported without us.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._during():
            self._loader.exec_module(module)
        self._action(module)


class _Finder:
    """Finds one module, once, by asking the finders after itself."""

    def __init__(
        self,
        name: str,
        action: Callable[[ModuleType], object],
        during: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._name = name
        self._action = action
        self._during = during

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = cast(Any, _PatchingLoader(spec.loader, self._action, self._during))
                return spec
        return None


def when_imported(
    journal: Journal,
    name: str,
    action: Callable[[ModuleType], object],
    again: bool = False,
    during: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Call ``action(module)`` as soon as the module `name` has run; now, if it has already.

    The module is run inside of ``with during():``.  With `again`, also when somebody removes it from
    `sys.modules` and imports it afresh.

    Undoing the journal takes the hook away.  What `action` does to the module is its own to undo: it
    writes through the journal.
    """
    module = sys.modules.get(name)
    if module is not None:
        action(module)
        if not again:
            return
    finder = _Finder(name, action, during)
    sys.meta_path.insert(0, cast(Any, finder))

    def remove() -> None:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)

    journal.on_undo(remove)
