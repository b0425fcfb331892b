"""What is asked of a process, and what it answers: one line of JSON each."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from greenify._version import __version__
from greenify.inspect.snapshot import Row, Snapshot, snapshot
from greenify.inspect.stats import stats

__all__ = ["FIELDS", "answer", "as_table"]

#: What each row of an answer has, in this order.
FIELDS = (
    "ident",
    "name",
    "kind",
    "state",
    "what",
    "waits",
    "left",
    "place",
    "os_thread",
    "parent",
    "started",
    "group",
    "stack",
    "for",
)


def _fields(row: Row, now: float) -> list[Any]:
    wait = row.wait
    left = None if wait is None or wait.until is None else wait.until - now
    return [
        row.ident,
        row.name,
        row.kind,
        row.state,
        row.what,
        None if wait is None else wait.kind,
        left,
        None if row.place is None else str(row.place),
        row.os_thread,
        row.parent,
        row.started,
        row.group,
        [list(place) for place in row.stack],
        None if row.since is None else max(0.0, now - row.since),
    ]


def as_table(look: Snapshot, ident: int | None = None) -> dict[str, Any]:
    """A snapshot in plain types.

    Args:
        ident: the only row that is wanted, or None for all.
    """
    return {
        "pid": look.pid,
        "command": sys.orig_argv,
        "python": sys.version.split()[0],
        "greenify": __version__,
        "fields": FIELDS,
        "rows": [
            _fields(row, look.time) for row in look.rows if ident is None or row.ident == ident
        ],
        "deadlocks": [[row.ident for row in circle] for circle in look.deadlocks],
    }


def answer(request: bytes) -> bytes:
    """The answer to a line; what is no request is answered with an error."""
    try:
        asked = json.loads(request)
        ask = asked["ask"]
        if ask == "snapshot":
            ident = asked.get("ident")
            found: dict[str, Any] = as_table(snapshot(stacks=bool(asked.get("stacks"))), ident)
        elif ask == "stats":
            found = {"pid": os.getpid(), "stats": stats().as_dict()}
        else:
            found = {"error": f"nobody knows how to answer {ask!r}"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        found = {"error": f"that is no request: {type(exc).__name__}: {exc}"}
    return json.dumps(found, default=str).encode() + b"\n"
