"""What is asked of a process, and what it answers: one line of JSON each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from greenify._version import __version__
from greenify.inspect.garbage import fewer_collections
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
    rows = [_fields(row, look.time) for row in look.rows if ident is None or row.ident == ident]
    return {**_heading(look), "rows": rows}


def _heading(look: Snapshot) -> dict[str, Any]:
    return {
        "pid": look.pid,
        "command": sys.orig_argv,
        "python": sys.version.split()[0],
        "greenify": __version__,
        "fields": FIELDS,
        "deadlocks": [[row.ident for row in circle] for circle in look.deadlocks],
    }


def answer(request: bytes) -> bytes:
    """The answer to a line; what is no request is answered with an error."""
    try:
        asked = json.loads(request)
        ask = asked["ask"]
        if ask == "snapshot":
            ident = asked.get("ident")
            with fewer_collections():
                text = "".join(_encoded(snapshot(stacks=bool(asked.get("stacks"))), ident))
        elif ask == "stats":
            text = _encode({"pid": os.getpid(), "stats": stats().as_dict()})
        else:
            text = _encode({"error": f"nobody knows how to answer {ask!r}"})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        text = _encode({"error": f"that is no request: {type(exc).__name__}: {exc}"})
    return text.encode() + b"\n"


_encode = json.JSONEncoder(default=str).encode
_quoted = json.encoder.encode_basestring_ascii


class _Writer:
    """`_fields` as JSON: json takes three times as long, and what is made for it keeps the collector busy."""

    def __init__(self, now: float) -> None:
        self._now = now
        # Thousands are in a few lines.  By the identity of a place, which its row keeps.
        self._places: dict[int, str] = {}
        # And of a few OS threads, and of a few parents.
        self._idents: dict[int | None, str] = {None: "null"}

    def written(self, row: Row) -> str:
        """A row."""
        wait = row.wait
        place = row.place
        until = since = kind = where = "null"
        if wait is None:
            what = _quoted(row.what)
        else:
            kind = _quoted(wait.kind)
            what = _quoted(wait.text)
            if wait.until is not None:
                until = f"{wait.until - self._now:.6f}"
        if row.since is not None:
            since = f"{max(0.0, self._now - row.since):.6f}"
        if place is not None:
            found = self._places.get(id(place))
            if found is None:
                found = self._places[id(place)] = _quoted(str(place))
            where = found
        idents = self._idents
        os_thread = idents.get(row.os_thread)
        if os_thread is None:
            os_thread = idents[row.os_thread] = str(row.os_thread)
        parent = idents.get(row.parent)
        if parent is None:
            parent = idents[row.parent] = str(row.parent)
        # The kinds and states of rows are words.
        return (
            f'[{row.ident}, {_quoted(row.name)}, "{row.kind}", "{row.state}", '
            f"{what}, {kind}, {until}, {where}, {os_thread}, {parent}, "
            f"{'null' if row.started is None else _quoted(row.started)}, "
            f"{'null' if row.group is None else row.group}, "
            f"{_encode(row.stack) if row.stack else '[]'}, {since}]"
        )


def _encoded(look: Snapshot, ident: int | None) -> Iterator[str]:
    written = _Writer(look.time).written
    rows = [written(row) for row in look.rows if ident is None or row.ident == ident]
    yield _encode(_heading(look))[:-1]
    yield ', "rows": ['
    yield ", ".join(rows)
    yield "]}"
