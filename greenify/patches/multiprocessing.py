"""`multiprocessing`: its semaphores, which block in the kernel, and children that are patched, too.

Everything else of it is Python over sockets, pipes, threads and processes.  A forked child inherits the
patches.  One that is spawned, or forked by the fork server, starts as a plain Python; what it unpickles first
applies the patches that are in force in its parent.
"""

from __future__ import annotations

import os
import sys
from functools import partial, wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.patches.importing import when_imported
from greenify.patches.record import Patch
from greenify.patches.selection import LIBRARIES, NATIVE, OFFLOAD, ORDER

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

try:
    import _multiprocessing  # type: ignore[import-not-found]

    from greenify.green._processes.semlock import SemLock, make_condition_wait
except ImportError:
    # A Python that was built without semaphores has nothing to patch.
    PATCHES: tuple[Patch, ...] = ()
else:
    PATCHES = (Patch(_multiprocessing, replace={"SemLock": SemLock}),)

__all__ = ["PATCHES", "finish"]

_CHILD = """\
import sys
sys.path[:] = {path!r}
from greenify.patches import patch_all
patch_all(only={names!r}, offload={offload!r}, native={native!r})
"""


class _PatchChild:
    """Is nothing; unpickling it patches the process."""

    def __init__(self, names: list[str], offload: list[str], native: list[str]) -> None:
        # Where the child finds greenify is no matter of the program's own sys.path.
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        path = sys.path if home in sys.path else [*sys.path, home]
        self._source = _CHILD.format(path=path, names=names, offload=offload, native=native)

    def __reduce__(self) -> Any:
        return exec, (self._source, {})


def _patch_spawn(journal: Journal, spawn: ModuleType) -> None:
    plain = spawn.get_preparation_data

    @wraps(plain)
    def get_preparation_data(name: str) -> dict[str, Any]:
        # The child ignores what it does not know.
        present = journal.names()
        names = [patch for patch in (*ORDER, *LIBRARIES) if patch in present]
        offload = [patch.removeprefix(OFFLOAD) for patch in present if patch.startswith(OFFLOAD)]
        native = [patch.removeprefix(NATIVE) for patch in present if patch.startswith(NATIVE)]
        return {"greenify": _PatchChild(names, offload, native), **plain(name)}

    journal.apply(
        "multiprocessing", (Patch(spawn, replace={"get_preparation_data": get_preparation_data}),)
    )


def _patch_synchronize(journal: Journal, synchronize: ModuleType) -> None:
    condition = synchronize.Condition
    patch = Patch(condition, replace={"wait": make_condition_wait(condition.wait)})
    journal.apply("multiprocessing", (patch,))


def finish(journal: Journal) -> None:
    """Patch conditions and the start of children, now if their modules have been imported, else then."""
    if PATCHES:
        when_imported(journal, "multiprocessing.synchronize", partial(_patch_synchronize, journal))
    when_imported(journal, "multiprocessing.spawn", partial(_patch_spawn, journal))
