"""psycopg 3: its parts in C and libpq wait in C; ``psycopg.waiting`` can wait in Python, cooperatively.

Everything that psycopg does after it is connected is a generator that says what to wait for, so that another
waiting function is all it takes.  While it connects, libpq asks the name server and reads files in between:
those steps are handed over.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Generator
from functools import update_wrapper
from typing import Any

from greenify.core.clock import monotonic as _monotonic
from greenify.core.registry import current_hub
from greenify.core.tracebacks import leave_out_twin
from greenify.errors import TaskExit
from greenify.green._foreign import hand_over
from greenify.green._selecting.waits import alone
from greenify.libraries.record import Library
from greenify.libraries.remedies import handed_over, instead
from greenify.timeout import Timeout

__all__ = ["LIBRARY"]


def waiting_in_python(original: Any) -> Any:
    """Another function than the one in C; one that the user has chosen in the environment stays."""
    waiting = sys.modules["psycopg.waiting"]
    if original is not getattr(waiting, "wait_c", None):
        # In Python, by way of select: it has found gevent, or PSYCOPG_WAIT_FUNC.
        return original
    general = getattr(waiting, "wait_poll", None) or waiting.wait_selector
    return _on_the_hub(general) if hasattr(select, "poll") else general


def _on_the_hub(general: Callable[..., Any]) -> Callable[..., Any]:
    """A waiting function that asks the hub for the one descriptor, without a poll object.

    An answer that comes in time, to a query that was short enough to be sent at once, is all it waits for.
    The rest, and what needs psycopg's own looks at the connection every tenth of a second, is `general`'s.
    """
    enums = sys.modules["psycopg._enums"]
    masks = {
        enums.Wait.R: (select.POLLIN | select.POLLHUP | select.POLLERR, enums.Ready.R),
        enums.Wait.W: (select.POLLOUT | select.POLLHUP | select.POLLERR, enums.Ready.W),
    }

    def wait(gen: Any, fileno: int, interval: Any = 0.0, timeout: float | None = None) -> Any:
        hub = current_hub()
        if hub is None or not interval or interval < 0:
            return general(gen, fileno, interval, timeout)
        end = None if timeout is None else _monotonic() + timeout
        try:
            state = next(gen)
            while state in masks:
                mask, ready = masks[state]
                deadline = _monotonic() + interval
                if end is not None and end < deadline:
                    break
                if alone(hub, fileno, mask, deadline) is not True:
                    break
                state = gen.send(ready)
        except StopIteration as exc:
            return exc.value
        except BaseException:
            leave_out_twin()
            raise
        rest = None if end is None else max(0.0, end - _monotonic())
        return general(_going_on(gen, state), fileno, interval, rest)

    return update_wrapper(wait, general)


def _going_on(generator: Generator[Any, Any, Any], state: Any) -> Generator[Any, Any, Any]:
    """The same generator, which has been asked for its first `state` already."""
    while True:
        ready = yield state
        try:
            state = generator.send(ready)
        except StopIteration as exc:
            return exc.value


def connecting(original: Callable[..., Any], generator: Any, *args: Any, **kwargs: Any) -> Any:
    return original(_steps(generator), *args, **kwargs)


def _steps(generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The same generator; what it does between two waits is handed over."""
    ready = None
    while True:
        try:
            step = hand_over(generator.send, ready)
        except StopIteration as exc:
            return exc.value
        ready = yield step


def also_ours(original: Any) -> Any:
    """What interrupts a query, so that the server is told to cancel it and the connection can be used on."""
    known = original if isinstance(original, tuple) else (original,)
    return (*known, TaskExit, Timeout)


LIBRARY = Library(
    package="psycopg",
    tested="3.3.9",
    replace={
        "psycopg.waiting": {"wait": waiting_in_python, "wait_conn": instead(connecting)},
        "psycopg.connection": {"_INTERRUPTED?": also_ours},
        # One connection to the server more, made by libpq.
        "psycopg._connection_base:BaseConnection": {"cancel": handed_over},
    },
    stays={
        "psycopg.pq.PGconn.exec_ and the others that wait by themselves": (
            "the bare functions of libpq: call them by greenify.offload"
        ),
    },
)
