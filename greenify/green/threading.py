"""The cooperative twin of `threading`: its own code, executed once more over the twin of `_thread`.

The module that ``from greenify.green import threading`` gives is that copy.  Threads are greenlets in it, and
its registry of threads is its own: `enumerate` names none of the original's, nor the other way round.
"""

from __future__ import annotations

import sys
import threading as _stdlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from greenify.green import _thread
from greenify.green._copies.copies import Library, shell
from greenify.green._threads import thread
from greenify.green._threads.conditions import (
    CONDITION_METHODS,
    EVENT_METHODS,
    RLOCK_METHODS,
    event_attributes,
)
from greenify.green._threads.dummies import forget_dummies
from greenify.green._threads.green_thread import GreenThread
from greenify.green._threads.main_thread import set_main_thread

if TYPE_CHECKING:
    from threading import *  # noqa: F403


def _set_sentinel() -> thread.Lock:
    # The main thread's is the original's.
    return thread.set_sentinel() if isinstance(getcurrent(), GreenThread) else thread.Lock()


def _primitives() -> ModuleType:
    if sys.version_info >= (3, 13):
        return _thread
    return shell(_thread, _set_sentinel=_set_sentinel)


_copy: Any = Library({"_thread": _primitives}, lambda name: False, {}).copy("threading")
set_main_thread(_copy)
forget_dummies(_copy)
for _owner, _methods in (
    (_copy.Condition, CONDITION_METHODS),
    (_copy._RLock, RLOCK_METHODS),
    (_copy.Event, EVENT_METHODS | event_attributes(_copy)),
):
    for _name, _method in _methods.items():
        setattr(_owner, _name, _method)
try:
    # Its threads, too, are joined at the end of the program.
    _stdlib._register_atexit(_copy._shutdown)  # type: ignore[attr-defined]
except RuntimeError:
    pass  # the program is ending: nobody waits for threads any more
sys.modules[__name__] = _copy
