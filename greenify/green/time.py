"""The cooperative twin of `time`."""

from __future__ import annotations

import sys
import time as _time
from operator import index
from typing import Any

from greenlet import getcurrent

from greenify import core
from greenify.core.clock import monotonic as _monotonic
from greenify.core.clock import monotonic_ns as _monotonic_ns
from greenify.core.timers import LONGEST
from greenify.core.tracebacks import leave_out_wait
from greenify.core.waiters import HubWaiter
from greenify.green._copies.builtin import bound_twin
from greenify.green._copies.rest import complete

__all__ = ["sleep"]

_native_sleep = _time.sleep
_core_sleep = core.sleep
_audit = sys.audit

_audited = sys.version_info >= (3, 13)

# From CPython 3.11 on, `time.sleep` refuses what would end after the last moment that its clock can tell.
_to_a_deadline = sys.version_info >= (3, 11)
# Shorter ones end before that on any machine that has run for less than eight months.
_LONG = 9.2e9
_LAST_MOMENT = 2**63


def _refused(seconds: float) -> bool:
    # Whether the native function raises.
    if not 0 <= seconds <= LONGEST:
        return True
    return _to_a_deadline and int(seconds * 10**9) + _monotonic_ns() >= _LAST_MOMENT


def _sleep(module: Any, seconds: float, /) -> None:
    # Suspends the calling thread; the others go on.  0 lets them run once.
    # ValueError: the time is negative or not a number; OverflowError: it is too large.
    try:
        audited = _audited
    except NameError:  # in a copy: see `bound_twin`
        module.sleep(seconds)
        return
    if seconds.__class__ is int and not seconds:
        # The plain switch, written out: 0.9 instead of 1.2 us, of which the two switches take 0.5.
        if audited:
            _audit("time.sleep", seconds)
        try:
            me: Any = getcurrent()
            hub = me.hub
        except (AttributeError, RuntimeError):
            _core_sleep(0)  # not a thread's own greenlet
            return
        hub._queue.append(me)
        try:
            if hub.next().switch():
                hub.run_interrupts()
        except BaseException:
            leave_out_wait()
            raise
        return
    if type(seconds) is not float and not isinstance(seconds, float):
        try:
            seconds = index(seconds)
        except TypeError:
            if sys.version_info < (3, 15) or not hasattr(type(seconds), "__float__"):
                _native_sleep(seconds)  # raises what the real one raises
            seconds = float(seconds)
    if audited:
        _audit("time.sleep", seconds)
    if not 0 <= seconds < _LONG and _refused(seconds):
        _native_sleep(seconds)
        return
    try:
        hub = getcurrent().hub  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        _core_sleep(seconds)
        return
    try:
        HubWaiter(hub).wait(_monotonic() + seconds)
    except BaseException:
        leave_out_wait()
        raise


sleep = bound_twin(_time.sleep, _sleep)


complete(globals(), _time)


def __getattr__(name: str) -> Any:
    return getattr(_time, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_time)})
