"""psycopg 3: its parts in C and libpq wait in C; ``psycopg.waiting`` can wait in Python, cooperatively.

Everything that psycopg does after it is connected is a generator that says what to wait for, so that another
waiting function is all it takes.  While it connects, libpq asks the name server and reads files in between:
those steps are handed over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any

from greenify.errors import TaskExit
from greenify.green._foreign import hand_over
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
    return getattr(waiting, "wait_poll", None) or waiting.wait_selector


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
