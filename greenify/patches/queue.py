"""`queue`: SimpleQueue, which is written in C and blocks in it.

Queue, LifoQueue and PriorityQueue are Python over threading's locks: they need nothing of their own.
"""

from __future__ import annotations

import queue
from typing import Any

from greenify.patches.record import Patch
from greenify.queue import SimpleQueue

__all__ = ["PATCHES"]

_names: dict[str, Any] = {"SimpleQueue": SimpleQueue}

PATCHES = (Patch(queue, replace=_names),)
