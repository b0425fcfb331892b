"""Patching a module when it is imported, for modules that are too costly to import for their patch.

The finder and the loader do not derive from `importlib.abc`, whose import alone would double the cost of
`patch_all`; the import system asks for the methods only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from greenify.patches.journal import Journal

__all__ = ["when_imported"]


# What is waited for: what to call afterwards, and what to do it in.
_Action = tuple[Callable[[ModuleType], object], Callable[[], AbstractContextManager[object]]]


class _PatchingLoader:
    """Runs a module with its own loader and then what is to follow."""

    def __init__(self, loader: Any, actions: Sequence[_Action]) -> None:
        self._loader = loader
        self._actions = actions

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
        # Those that have been taken back since it was found do not count.
        with ExitStack() as stack:
            for _, during in tuple(self._actions):
                stack.enter_context(during())
            self._loader.exec_module(module)
        for action, _ in tuple(self._actions):
            action(module)


class _Finder:
    """Finds the modules that somebody waits for, by asking the finders after itself.

    The only one of ours in `sys.meta_path`, and there only while anybody waits: any other import costs a look
    into a dictionary.
    """

    def __init__(self) -> None:
        self._actions: dict[str, list[_Action]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        actions = self._actions.get(fullname)
        if not actions:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = cast(Any, _PatchingLoader(spec.loader, actions))
                return spec
        return None

    def add(self, name: str, action: _Action) -> None:
        self._actions.setdefault(name, []).append(action)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, cast(Any, self))

    def remove(self, name: str, action: _Action) -> None:
        actions = self._actions[name]
        actions.remove(action)
        if not actions:
            del self._actions[name]
        if not self._actions and self in sys.meta_path:
            sys.meta_path.remove(cast(Any, self))


_finder = _Finder()


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
    waiting = (action, during)
    _finder.add(name, waiting)
    journal.on_undo(partial(_finder.remove, name, waiting))
