"""What one run of a workload gives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Sample", "lowest", "timed"]


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


def lowest(operations: int, run: Callable[[int], object], repetitions: int = 50) -> Sample:
    """Call `run` many times, each time for a part of the `operations`; the cost is the lowest of them.

    For what waits for nobody, and should not be charged with what else the machine does.
    """
    part = max(1, operations // repetitions)
    return min(
        (timed(part, lambda: run(part)) for _ in range(repetitions)),
        key=lambda sample: sample.cost,
    )
