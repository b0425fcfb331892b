"""`curses`: who waits for a key lets the others run."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from greenify.patches.imported import replace_methods
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

PATCHES: tuple[Patch, ...] = ()


def _patch(journal: Journal, module: ModuleType) -> None:
    try:
        replace_methods(journal, "curses", "_foreign.curses_keys", module)
    except ImportError:
        return  # a library that does not show its functions: it waits in C, and the others with it


def finish(journal: Journal) -> None:
    """Patch it now if it has been imported, else when it is."""
    when_imported(journal, "_curses", partial(_patch, journal))
