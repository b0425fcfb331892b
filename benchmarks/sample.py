"""What one run of a workload gives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Sample", "timed"]


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        cost: what one operation costs, in the workload's unit; less is better.
        also: further figures by the name of the row they belong to (``memory-connection-100``: bytes).
        seconds: the same for figures in seconds.
    """

    cost: float
    also: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def timed(operations: int, run: Callable[[], object]) -> Sample:
    """Call `run`, which does `operations` operations; the cost is seconds per operation."""
    begun = time.perf_counter()
    run()
    return Sample((time.perf_counter() - begun) / operations)
