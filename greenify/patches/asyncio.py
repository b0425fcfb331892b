"""`asyncio`: the running loop is the thread's, and threads are greenlets.

asyncio keeps its running loop in C, per OS thread, as the interpreter keeps the loop's hooks for async
generators; all of them are swapped at a switch.  So what asyncio has in C stays as it is, and a loop that
runs when greenify patches goes on.  asyncio is large, so it is patched when the program imports it.
"""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.green._copies.builtin import builtin_twin
from greenify.green._threads.thread_settings import make_set_running_loop
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

PATCHES: tuple[Patch, ...] = ()

_NAME = "_set_running_loop"


def _patch_events(journal: Journal, module: ModuleType) -> None:
    events: Any = module
    native = getattr(events, "_c__set_running_loop", None)
    if native is None:
        return  # asyncio in Python keeps it in a `threading.local`
    function, forget = make_set_running_loop(events._c__get_running_loop, native)
    twin = builtin_twin(native, function)
    patches = [
        Patch(sys.modules["_asyncio"], replace={_NAME: twin}),
        Patch(events, replace={_NAME: twin, f"_c_{_NAME}": twin}),
    ]
    package: Any = sys.modules["asyncio"]
    if hasattr(package, _NAME):
        patches.append(Patch(package, replace={_NAME: twin}))
    journal.apply("asyncio", patches, lambda journal: journal.on_undo(forget))


def finish(journal: Journal) -> None:
    """Patch asyncio now if it has been imported, else when it is."""
    when_imported(journal, "asyncio.events", partial(_patch_events, journal))
