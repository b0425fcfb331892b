"""`queue`: SimpleQueue, which is written in C and blocks in it; the hot methods of Queue.

Queue, LifoQueue and PriorityQueue are Python over threading's locks: they would work as they are, at half the
speed.
"""

from __future__ import annotations

import queue
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.green._threads.primitives import SimpleQueue
from greenify.green._threads.queue_methods import QUEUE_ATTRIBUTES, QUEUE_METHODS
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

_names: dict[str, Any] = {"SimpleQueue": SimpleQueue}

PATCHES = (
    Patch(queue, replace=_names),
    Patch(queue.Queue, replace=QUEUE_METHODS, add=QUEUE_ATTRIBUTES),
)


def finish(journal: Journal) -> None:
    """Patch the C module, from which a fresh `queue` would take the native class."""
    when_imported(journal, "_queue", partial(_patch_native, journal), again=True)


def _patch_native(journal: Journal, module: ModuleType) -> None:
    twin: Any = SimpleQueue
    empty: Any = vars(module)["Empty"]
    if empty is not queue.Empty:
        # A fresh module has an exception of its own.
        twin = type(
            "SimpleQueue",
            (SimpleQueue,),
            {"__slots__": (), "__module__": "_queue", "_empty": empty},
        )
    journal.apply("queue", (Patch(module, replace={"SimpleQueue": twin}),))
