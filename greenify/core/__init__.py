"""The engine: loop, hub, timers, descriptors, signals, native workers, fork.

It knows greenlets and the kernel, and nothing of threads-as-greenlets, the standard library's twins or
patching.
"""

from greenify.core import rivals as _rivals  # noqa: F401 - refuses to work under another layer

# isort: split
from greenify.core import lasting as _lasting  # noqa: F401 - before others have `atexit` call them

# isort: split
from greenify.core import fork as _fork  # noqa: F401 - registers the after-fork hook
from greenify.core import signals as _signals  # noqa: F401 - registers the wake-up descriptor
from greenify.core import undelivered as _undelivered  # noqa: F401 - registers with the time slices
from greenify.core.hub import Hub
from greenify.core.registry import current_hub, get_hub, home_hub, new_waiter, sleep
from greenify.core.waiters import HubWaiter, ThreadWaiter, Waiter
from greenify.core.waiting import forget, look_again, wait

__all__ = [
    "Hub",
    "HubWaiter",
    "ThreadWaiter",
    "Waiter",
    "current_hub",
    "forget",
    "get_hub",
    "home_hub",
    "look_again",
    "new_waiter",
    "sleep",
    "wait",
]
