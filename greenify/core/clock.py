"""The engine's clock, which no tool that moves the program's clock can stop.

freezegun replaces the functions of `time` wherever a module has them, time-machine changes them below that,
and tests put mocks there.  With real threads the kernel goes on counting all the same: what sleeps wakes up.
"""

from __future__ import annotations

import _imp
import time
from collections.abc import Callable

__all__ = ["monotonic", "monotonic_ns"]


def _own_module() -> object:
    """`time` once more, with function objects of its own: it may have been patched before we came."""
    spec = time.__spec__
    if spec is None or spec.origin != "built-in":
        return time
    module = _imp.create_builtin(spec)
    _imp.exec_builtin(module)
    return module


_time: object = _own_module()


# The same clock under a name that time-machine leaves alone.
_name = (
    "perf_counter"
    if time.get_clock_info("monotonic") == time.get_clock_info("perf_counter")
    else "monotonic"
)
monotonic: Callable[[], float] = getattr(_time, _name)
"""Seconds, as `time.monotonic` counts them in a program whose clock nobody moves."""
monotonic_ns: Callable[[], int] = getattr(_time, _name + "_ns")
"""The same in nanoseconds."""
