"""The Thread objects that `threading` makes up for tasks: gone with the task.

A task is no Thread, so ``threading.current_thread()``, which every log record asks, makes a `_DummyThread`
and puts it into the module's table.  A real thread's identifier is used again, which bounds the table; a
task's is the address of its greenlet, and thousands of tasks would leave as many objects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from greenify.identity import on_task_end

__all__ = ["forget_dummies"]


def forget_dummies(threading: Any) -> Callable[[], None]:
    """Have the dummies of tasks taken from `threading`, the module or a copy of it, when the task ends.

    Returns:
        What undoes it.
    """
    active: dict[int, Any] = threading._active
    dummy: type = threading._DummyThread

    def forget(ident: int) -> None:
        if type(active.get(ident)) is dummy:
            active.pop(ident, None)

    on_task_end.append(forget)
    return partial(on_task_end.remove, forget)
