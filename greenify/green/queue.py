"""The cooperative twin of `queue`, for programs that are not patched.

The exceptions are the standard library's own, and `Queue` is a subclass of its class.  `ShutDown` and
`Queue.shutdown` are there on every version.
"""

from __future__ import annotations

import queue as _stdlib
from typing import Any

from greenify.queue import (
    Empty,
    Full,
    LifoQueue,
    PriorityQueue,
    Queue,
    ShutDown,
    SimpleQueue,
)

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]


def __getattr__(name: str) -> Any:
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_stdlib)})
