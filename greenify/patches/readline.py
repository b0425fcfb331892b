"""`readline`: who waits for a line at a terminal lets the others run."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

PATCHES: tuple[Patch, ...] = ()


def _patch(journal: Journal, module: ModuleType) -> None:
    from greenify.green._foreign import line_editing  # ctypes is costly

    try:
        take_back = line_editing.make_cooperative(module)
    except line_editing.NotFound:
        return  # it waits in C, and the others with it
    twin = line_editing.remembering(module.set_auto_history)
    journal.apply(
        "readline",
        [Patch(module, replace={"set_auto_history": twin})],
        lambda journal: journal.on_undo(take_back, "readline"),
    )


def finish(journal: Journal) -> None:
    """Patch it now if it has been imported, else when it is."""
    when_imported(journal, "readline", partial(_patch, journal))
