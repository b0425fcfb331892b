"""Snapshots as text: a table, a tree, stacks."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from greenify.inspect.names import printable

__all__ = [
    "columns",
    "deadlock_lines",
    "group_lines",
    "natural",
    "records",
    "stack_lines",
    "state_text",
    "table",
    "tree_lines",
]

_Record = dict[str, Any]

_STATES = {"running": 0, "ready": 1, "new": 2, "waiting": 3}


def natural(text: str) -> list[Any]:
    """A key that sorts ``worker-2`` before ``worker-10``."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", text)
    ]


# What the program has a say in.
_TEXTS = ("name", "what", "waits", "place", "started")

# What takes more columns than these moves its own line only.
_WIDEST = 60


def records(answer: dict[str, Any], raw: bool = False) -> list[_Record]:
    """The rows of an answer: the main thread first, then by kinds and names.

    Args:
        raw: whether texts are left as they are; else they are made `printable`.
    """
    fields = answer["fields"]
    rows = [dict(zip(fields, row, strict=True)) for row in answer["rows"]]
    for row in () if raw else rows:
        for key in _TEXTS:
            text = row.get(key)
            if text is not None and not text.isprintable():
                row[key] = printable(text)
    rows.sort(key=lambda row: (row["kind"] != "main", row["kind"], natural(row["name"])))
    return rows


def _width(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def columns(lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of cells, one below the other; the last cell of each is as long as it is."""
    rows = list(lines)
    widths = [
        max((width for row in rows if (width := _width(row[number])) <= _WIDEST), default=0)
        for number in range(len(rows[0]) - 1)
    ]
    for row in rows:
        cells = [
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False)
        ]
        yield "  ".join([*cells, row[-1]]).rstrip()


def state_text(row: _Record) -> str:
    """The state, and for how long if that is known."""
    # A process of an older version does not say for how long.
    seconds = row.get("for")
    return row["state"] if seconds is None else f"{row['state']} {seconds:.1f} s"


def table(rows: list[_Record]) -> Iterator[str]:
    """A line for each row."""
    lines = [("NAME", "KIND", "STATE", "WAITS FOR, OR IS AT")]
    lines += [(row["name"], row["kind"], state_text(row), row["what"]) for row in rows]
    return columns(lines)


def group_lines(rows: list[_Record]) -> Iterator[str]:
    """A line for all rows that do the same in the same place."""
    groups: dict[tuple[Any, ...], list[_Record]] = defaultdict(list)
    for row in rows:
        key = (row["kind"], row["state"], row["waits"], row["place"])
        groups[key].append(row)
    lines = [("COUNT", "KIND", "STATE", "WAITS FOR, OR IS AT")]
    ordered = sorted(groups.values(), key=lambda group: (_STATES[group[0]["state"]], -len(group)))
    for group in ordered:
        first = group[0]
        what = first["what"]
        if len(group) > 1 and first["waits"] is not None:
            place = first["place"]
            short = "" if place is None else f" at {place.rpartition('/')[2]}"
            what = f"{first['waits']}{short}, as {first['name']}: {what}"
        lines.append((str(len(group)), first["kind"], first["state"], what))
    return columns(lines)


def deadlock_lines(answer: dict[str, Any], rows: list[_Record]) -> Iterator[str]:
    """What is told of dead locks."""
    by_ident = {row["ident"]: row for row in rows}
    for circle in answer["deadlocks"]:
        yield "Deadlock:"
        for ident in circle:
            row = by_ident[ident]
            yield f"  {row['name']} waits for {row['what']}"


def tree_lines(rows: list[_Record]) -> Iterator[str]:
    """Who has started whom, as far as is known."""
    known = {row["ident"] for row in rows}
    children: dict[int | None, list[_Record]] = defaultdict(list)
    for row in rows:
        parent = row["parent"]
        alone = parent not in known or parent == row["ident"]
        children[None if alone else parent].append(row)

    def lines(row: _Record, indent: str) -> Iterator[str]:
        state = row["state"] if row["waits"] is None else ""
        group = ", in a TaskGroup" if row["group"] is not None else ""
        started = row["started"]
        where = "" if started is None else f", started at {started.rpartition('/')[2]}"
        what = " ".join(part for part in (state, row["what"]) if part)
        yield f"{indent}{row['name']} ({row['kind']}{group}{where}): {what}"
        for child in children.get(row["ident"], ()):
            yield from lines(child, indent + "  ")

    for row in children[None]:
        yield from lines(row, "")


def stack_lines(rows: list[_Record]) -> Iterator[str]:
    """Every row with its stack, the innermost line last, as in a traceback."""
    for number, row in enumerate(rows):
        if number:
            yield ""
        yield f"{row['name']} ({row['kind']}, {state_text(row)}): {row['what']}"
        for filename, line, function in reversed(row["stack"]):
            yield f'  File "{filename}", line {line}, in {function}'
