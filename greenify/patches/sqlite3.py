"""`sqlite3`: waiting for a database that another connection has locked, and `check_same_thread`.

It is patched when the program imports it.  What computes in SQLite (a long query) keeps the other threads
waiting; `docs/howto/databases.md` says how such a connection gets a native thread.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from greenify.errors import LatePatchWarning
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

PATCHES: tuple[Patch, ...] = ()


def _patch(journal: Journal, earlier: bool, module: ModuleType) -> None:
    # ctypes, which few programs need otherwise.
    from greenify.green._foreign.sqlite_sleep import NotFound, make_cooperative
    from greenify.green._foreign.sqlite_threads import follow_threads

    try:
        forget = follow_threads(module, earlier)
    except NotFound:
        pass  # not a CPython of which that is known: native threads only are told apart
    else:
        journal.apply("sqlite3", (), lambda journal: journal.on_undo(forget))

    try:
        take_back = make_cooperative(getattr(module, "__file__", None))
    except NotFound as exc:
        warnings.warn(
            f"sqlite3: waiting for a locked database keeps all threads waiting, since SQLite's functions are "
            f"not to be seen in {module!r} ({exc})",
            LatePatchWarning,
            stacklevel=2,
        )
        return
    journal.apply("sqlite3", (), lambda journal: journal.on_undo(take_back))


def finish(journal: Journal) -> None:
    """Patch SQLite now if it has been imported, else when it is."""
    when_imported(journal, "_sqlite3", partial(_patch, journal, "_sqlite3" in sys.modules))
