"""Where in celery's tracer a task is, and how the tracer is kept from storing what nobody wants any more.

The tracer calls the function of a task, stores what has come of it and sends the next tasks of a chain.  What
it asks the request for when the function is over, and hardly anybody else does, is refused (`disown`).
"""

from __future__ import annotations

from types import FrameType
from typing import NoReturn

from celery import states
from celery.app.task import Context

from greenify.errors import TaskExit

__all__ = ["Late", "disown", "in_function"]

# Where celery is when the task's function has returned, or is not called yet: it stores results, calls
# receivers of signals, sends the next tasks of a chain.
_AROUND = ("celery.app.trace.", "celery.backends.", "celery.utils.dispatch.")
# By way of this the worker calls the function of a task.
_WITHIN = ("celery.app.trace.__protected_call__",)
# What the tracer's `state` is until the function is over; not None for a message that has come again.
_OPEN = (None, states.PENDING, states.RECEIVED, states.STARTED)


class Late(TaskExit):
    """A task that was told to end has come to an end of its own; ``__context__`` is what it has raised."""


class _Disowned(Context):  # type: ignore[misc]
    """The request of a task that has been told to end.

    The tracer asks for `callbacks` when the function has returned, and for `ignore_result` when it has raised
    something.  So does ``self.retry()``, which sends a task.
    """

    def _refuse(self) -> NoReturn:
        raise Late

    callbacks = property(_refuse)
    ignore_result = property(_refuse)


def in_function(frame: FrameType | None) -> bool:
    """Whether a task that waits at `frame` is in its function, and not in what celery does around it."""
    above = ""
    while frame is not None:
        name = _name(frame)
        if name == "celery.app.trace.trace_task":
            return _calls_function(above)
        above = name
        frame = frame.f_back
    return False


def disown(frame: FrameType | None) -> bool:
    """See to it that nothing comes of the task that waits at `frame`: neither a result nor further tasks.

    Returns:
        Whether that is so.  It is not if the function is over, or has not begun.
    """
    above, found, open_ = "", None, False
    # The outermost: the function may be running others (``apply``).
    while frame is not None:
        name = _name(frame)
        if name == "celery.app.trace.trace_task":
            values = frame.f_locals
            if values.get("task_request") is not None:
                found = values["task_request"]
                open_ = values.get("state") in _OPEN and _calls_function(above)
        above = name
        frame = frame.f_back
    if open_ and type(found) is Context:
        found.__class__ = _Disowned
    return open_ and isinstance(found, _Disowned)


def _calls_function(above: str) -> bool:
    return not above.startswith(_AROUND) or above in _WITHIN


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
