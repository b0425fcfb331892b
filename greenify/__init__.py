"""greenify: blocking Python made cooperative.

    import greenify
    greenify.patch_all()

in the first lines of a program, or ``python -m greenify script.py``, makes the standard library's blocking
calls park the calling greenlet on a libuv loop, so that its threads run concurrently in one OS thread.

Importing this package loads nothing else: each name below is looked up at its first use.  On an
interpreter that greenify does not support it raises ImportError.

PYTEST_DONT_REWRITE: pytest would warn that it cannot, when it finds its plug-in, for this is imported.
"""

from __future__ import annotations

import sys

from greenify._python import import_at_once, refusal
from greenify._version import __version__

if (_problem := refusal()) is not None:
    raise ImportError(_problem, name=__name__)

from greenify.shelter import shelter

shelter(sys.modules[__name__])
import_at_once()

# Not from typing, which takes longer to import than everything here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greenify.channel import (
        Channel,
        select_channels,
    )
    from greenify.condition import (
        Barrier,
        BrokenBarrierError,
        Condition,
    )
    from greenify.errors import (
        ChannelClosed,
        GreenifyError,
        HubError,
        IncompleteReadError,
        LatePatchWarning,
        LibraryPatchWarning,
        NativeLockWarning,
        PatchError,
        PyuvMissingError,
        ReadLimitError,
        RestoreError,
        StreamClosedError,
        TaskExit,
        UnknownPatchError,
        UVError,
    )
    from greenify.event import (
        Event,
    )
    from greenify.futures import (
        NativeThreadPoolExecutor,
        ProcessPoolExecutor,
        TaskPoolExecutor,
        ThreadPoolExecutor,
        run_in_thread,
        set_thread_limit,
    )
    from greenify.green._copies.importing import (
        import_patched,
    )
    from greenify.green._foreign.offloading import (
        Offloaded,
        offload,
    )
    from greenify.inspect.stats import stats
    from greenify.locks import (
        Lock,
        RLock,
    )
    from greenify.loop_access import (
        Handle,
        add_reader,
        add_signal_handler,
        add_writer,
        call_at,
        call_from_thread,
        call_later,
        call_soon,
        remove_reader,
        remove_signal_handler,
        remove_writer,
        run,
        stop,
    )
    from greenify.patches import (
        LIBRARIES,
        ORDER,
        Change,
        changes,
        is_patched,
        original,
        patch_all,
        patched,
        restore,
    )
    from greenify.queue import (
        Empty,
        Full,
        LifoQueue,
        PriorityQueue,
        Queue,
        ShutDown,
        SimpleQueue,
    )
    from greenify.semaphores import (
        BoundedSemaphore,
        Semaphore,
    )
    from greenify.servers import (
        StreamServer,
    )
    from greenify.task import (
        Task,
        current,
        sleep,
        spawn,
    )
    from greenify.task_group import (
        TaskGroup,
    )
    from greenify.timeout import (
        Timeout,
        with_timeout,
    )
    from greenify.tracing.session import (
        Trace,
        trace,
    )
    from greenify.watching import (
        watch,
    )

__all__ = [
    "LIBRARIES",
    "ORDER",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Change",
    "Channel",
    "ChannelClosed",
    "Condition",
    "Empty",
    "Event",
    "Full",
    "GreenifyError",
    "Handle",
    "HubError",
    "IncompleteReadError",
    "LatePatchWarning",
    "LibraryPatchWarning",
    "NativeLockWarning",
    "LifoQueue",
    "Lock",
    "NativeThreadPoolExecutor",
    "Offloaded",
    "PatchError",
    "PriorityQueue",
    "ProcessPoolExecutor",
    "PyuvMissingError",
    "Queue",
    "RLock",
    "ReadLimitError",
    "RestoreError",
    "Semaphore",
    "ShutDown",
    "SimpleQueue",
    "StreamClosedError",
    "StreamServer",
    "Task",
    "TaskExit",
    "TaskGroup",
    "TaskPoolExecutor",
    "ThreadPoolExecutor",
    "Timeout",
    "Trace",
    "UVError",
    "UnknownPatchError",
    "__version__",
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "call_at",
    "call_from_thread",
    "call_later",
    "call_soon",
    "changes",
    "current",
    "import_patched",
    "is_patched",
    "offload",
    "original",
    "patch_all",
    "patched",
    "remove_reader",
    "remove_signal_handler",
    "remove_writer",
    "restore",
    "run",
    "run_in_thread",
    "select_channels",
    "set_thread_limit",
    "sleep",
    "spawn",
    "stats",
    "stop",
    "trace",
    "watch",
    "with_timeout",
]

# The module of every name in __all__ that is not defined here.
_HOMES = {
    "greenify.channel": (
        "Channel",
        "select_channels",
    ),
    "greenify.condition": (
        "Barrier",
        "BrokenBarrierError",
        "Condition",
    ),
    "greenify.errors": (
        "ChannelClosed",
        "GreenifyError",
        "HubError",
        "IncompleteReadError",
        "LatePatchWarning",
        "LibraryPatchWarning",
        "NativeLockWarning",
        "PatchError",
        "PyuvMissingError",
        "ReadLimitError",
        "RestoreError",
        "StreamClosedError",
        "TaskExit",
        "UVError",
        "UnknownPatchError",
    ),
    "greenify.event": ("Event",),
    "greenify.futures": (
        "NativeThreadPoolExecutor",
        "ProcessPoolExecutor",
        "TaskPoolExecutor",
        "ThreadPoolExecutor",
        "run_in_thread",
        "set_thread_limit",
    ),
    "greenify.green._copies.importing": ("import_patched",),
    "greenify.green._foreign.offloading": (
        "Offloaded",
        "offload",
    ),
    "greenify.inspect.stats": ("stats",),
    "greenify.locks": (
        "Lock",
        "RLock",
    ),
    "greenify.loop_access": (
        "Handle",
        "add_reader",
        "add_signal_handler",
        "add_writer",
        "call_at",
        "call_from_thread",
        "call_later",
        "call_soon",
        "remove_reader",
        "remove_signal_handler",
        "remove_writer",
        "run",
        "stop",
    ),
    "greenify.patches": (
        "Change",
        "LIBRARIES",
        "ORDER",
        "changes",
        "is_patched",
        "original",
        "patch_all",
        "patched",
        "restore",
    ),
    "greenify.queue": (
        "Empty",
        "Full",
        "LifoQueue",
        "PriorityQueue",
        "Queue",
        "ShutDown",
        "SimpleQueue",
    ),
    "greenify.semaphores": (
        "BoundedSemaphore",
        "Semaphore",
    ),
    "greenify.servers": ("StreamServer",),
    "greenify.task": (
        "Task",
        "current",
        "sleep",
        "spawn",
    ),
    "greenify.task_group": ("TaskGroup",),
    "greenify.timeout": (
        "Timeout",
        "with_timeout",
    ),
    "greenify.tracing.session": (
        "Trace",
        "trace",
    ),
    "greenify.watching": ("watch",),
}
_home_of = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("aio", "files", "inspect", "io"):
        # With names of their own.  Not in __all__, for a star import would hide the standard library's.
        __import__(f"greenify.{name}")
        return sys.modules[f"greenify.{name}"]
    home = _home_of.get(name)
    if home is None:
        raise AttributeError(f"module 'greenify' has no attribute {name!r}")
    __import__(home)
    value = globals()[name] = getattr(sys.modules[home], name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
