"""The patches of `greenify.libraries`: each waits here for its library to be imported."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from greenify.patches.importing import when_imported
from greenify.patches.selection import LIBRARIES

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["await_library"]


def await_library(name: str, journal: Journal) -> None:
    """Apply the patch of a library now, if it has been imported, else when it is.  A ``finish`` hook."""
    in_force = True

    def forget() -> None:
        nonlocal in_force
        in_force = False

    # What does not fit is undone, this with it: the other modules need not be waited for then.
    journal.on_undo(forget)
    for module in LIBRARIES[name]:
        if in_force:
            when_imported(journal, module, partial(_apply, journal, name))


def _apply(journal: Journal, name: str, module: ModuleType) -> None:
    # Loaded now, for most programs use few of them.
    import_module("greenify.libraries.applying").apply(journal, name, module)
