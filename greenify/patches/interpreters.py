"""`concurrent.interpreters` (CPython 3.14): what other interpreters run, runs on a native thread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from greenify.patches.imported import replace_methods
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

PATCHES: tuple[Patch, ...] = ()


def finish(journal: Journal) -> None:
    """Patch it now if it has been imported, else when it is."""
    when_imported(
        journal,
        "_interpreters",
        partial(replace_methods, journal, "interpreters", "_foreign.interpreters"),
    )
