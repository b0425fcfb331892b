"""What observing costs: ``python -m benchmarks.observing [-r ROUNDS] [-o WORKLOAD]``.

The rows of the tables come from one process for each layer.  A watch costs less than such processes differ
by, the more so on a machine that does something else as well.  So here one process measures without, with
``--inspect``, with the watch and with the trace by turns, in random order, and compares those of the same
round: by the clock, and by the processor time of all its threads, which says the same on a busy machine.
"""

# ruff: noqa: E402 - the patch comes first, as in a program

from __future__ import annotations

import greenify
import greenify.inspect

greenify.patch_all()

import argparse
import contextlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

from benchmarks.resources import RESOURCES
from benchmarks.sample import Sample
from benchmarks.workloads import scheduling, web

__all__ = ["main"]

_Way = Callable[[], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def _inspected() -> Iterator[None]:
    greenify.inspect.listen()
    try:
        yield
    finally:
        greenify.inspect.close()


_WAYS: dict[str, _Way] = {
    "off": contextlib.nullcontext,
    "inspect": _inspected,
    "watch": lambda: greenify.watch(0.1, lambda report: None),
    "trace": lambda: greenify.trace(os.devnull),
}


def _measured(run: Callable[[], Sample], way: _Way) -> tuple[float, float]:
    """Seconds by the clock for an operation, and of the processor's."""
    with way():
        used = time.process_time()
        begun = time.perf_counter()
        cost = run().cost
        took = time.perf_counter() - begun
        return cost, cost * (time.process_time() - used) / took


def _compare(name: str, run: Callable[[], Sample], rounds: int) -> None:
    run()
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
    for _ in range(rounds):
        for way in random.sample(list(_WAYS), len(_WAYS)):
            found[way].append(_measured(run, _WAYS[way]))
    for way, samples in found.items():
        clock, used = (
            median(
                sample[kind] / base[kind]
                for sample, base in zip(samples, found["off"], strict=True)
            )
            for kind in (0, 1)
        )
        best = min(sample[0] for sample in samples) * 1e6
        print(
            f"{name:20} {way:6} {best:8.2f} us at best; of off: by the clock {clock:.3f}, processor "
            f"{used:.3f}",
            flush=True,
        )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observing", description=__doc__)
    parser.add_argument("-r", "--rounds", type=int, default=15)
    parser.add_argument("-o", "--only", default="", help="what the workload's name begins with")
    asked = parser.parse_args()
    rounds, only = asked.rounds, asked.only
    print(f"Python {sys.version.split()[0]}, {rounds} rounds")
    with RESOURCES["nginx"]() as nginx:
        for name, run, times in (
            ("switch", lambda: scheduling.switch(20_000), rounds * 2),
            ("requests-keep-alive", lambda: web.keep_alive(1000, nginx), rounds),
            ("requests-fresh", lambda: web.fresh(800, nginx), rounds),
        ):
            if name.startswith(only):
                _compare(name, run, times)


if __name__ == "__main__":
    main()
