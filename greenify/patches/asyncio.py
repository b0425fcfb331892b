"""`asyncio`: the running loop is the thread's, and threads are greenlets.

asyncio keeps its running loop in C, per OS thread.  It also has the same functions in Python, over
`threading.local`; those take the place of the C ones.  asyncio is large, so it is patched when the program
imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

PATCHES: tuple[Patch, ...] = ()

_FUNCTIONS = (
    "_get_running_loop",
    "_set_running_loop",
    "get_running_loop",
    "get_event_loop",
    "_get_event_loop",  # gone in CPython 3.12
)


# Given to the function below by `_patch_events`.
_running: Callable[[], Any] = None  # type: ignore[assignment]
_plain: Callable[[Any], Any] = None  # type: ignore[assignment]


def _get_event_loop(self: Any) -> Any:
    # Where C code wants "the" loop it looks for a running one in C, and then asks the policy.
    loop = _running()
    return _plain(self) if loop is None else loop


def _patch_events(journal: Journal, events: ModuleType) -> None:
    replace: dict[str, Any] = {
        name: getattr(events, f"_py_{name}")
        for name in _FUNCTIONS
        if hasattr(events, f"_py_{name}")
    }
    policy: Any = events.BaseDefaultEventLoopPolicy
    asked = FunctionType(
        _get_event_loop.__code__,
        # A deprecation warning in there names the first caller outside of asyncio: not us.
        {
            "__name__": events.__name__,
            "_running": events._py__get_running_loop,
            "_plain": policy.get_event_loop,
        },
        "get_event_loop",
    )
    asked.__doc__ = policy.get_event_loop.__doc__
    journal.apply(
        "asyncio",
        (Patch(events, replace=replace), Patch(policy, replace={"get_event_loop": asked})),
    )


def _patch_tasks(journal: Journal, tasks: ModuleType) -> None:
    # In C only from CPython 3.12 on.
    if hasattr(tasks, "_py_current_task"):
        plain = tasks._py_current_task
        replace = {
            name: plain for name in ("current_task", "_c_current_task") if hasattr(tasks, name)
        }
        journal.apply("asyncio", (Patch(tasks, replace=replace),))


def finish(journal: Journal) -> None:
    """Patch asyncio now if it has been imported, else when it is."""
    when_imported(journal, "asyncio.events", partial(_patch_events, journal))
    when_imported(journal, "asyncio.tasks", partial(_patch_tasks, journal))
    if "asyncio" in sys.modules:
        package: Any = sys.modules["asyncio"]
        events: Any = sys.modules["asyncio.events"]
        replace = {
            name: getattr(events, name)
            for name in _FUNCTIONS
            if getattr(package, name, None) is not None
            and getattr(package, name) is not getattr(events, name)
        }
        tasks: Any = sys.modules["asyncio.tasks"]
        if package.current_task is not tasks.current_task:
            replace["current_task"] = tasks.current_task
        journal.apply("asyncio", (Patch(package, replace=replace),))
