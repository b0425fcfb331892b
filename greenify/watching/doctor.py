"""What ``python -m greenify doctor`` prints at the end: who has kept the loop, and what to do."""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from greenify.inspect.names import printable
from greenify.inspect.report import columns
from greenify.watching.reports import Place, Report
from greenify.watching.watches import Watch

__all__ = ["FINEST", "PATIENCE", "Doctor", "Options", "rows", "table"]

#: The shortest stay that is counted, in seconds: what is shorter is seen by chance only.
FINEST = 0.02

_HEADINGS = ("PLACE", "FUNCTION", "CALLS", "TOTAL", "WORST", "WHO WAITED", "WHAT TO DO")

#: A stay that goes on for so many seconds is told at once: it may have no end, and the program no table.
PATIENCE = 2.0

# How many names of those that waited are shown.
_NAMES = 3


def rows(places: Iterable[Place]) -> list[dict[str, Any]]:
    """What is said of the places, as plain data; seconds."""
    return [
        {
            "place": f"{place.first.file}:{place.first.line}",
            "function": place.first.function,
            "source": place.first.source,
            "calls": place.calls,
            "total": place.total,
            "worst": place.worst.seconds,
            "waited": dict(sorted(place.waited.items(), key=lambda pair: -pair[1])),
            "remedy": place.worst.remedy,
            "report": place.worst.facts(),
        }
        for place in places
        if place.calls
    ]


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    names = list(row["waited"])
    more = len(names) - _NAMES
    waited = ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
    return (
        os.path.relpath(row["place"]) if _is_below(row["place"]) else row["place"],
        row["function"],
        str(row["calls"]),
        f"{row['total']:.2f} s",
        f"{row['worst']:.2f} s",
        printable(waited) or "nobody",
        row["remedy"],
    )


def _is_below(path: str) -> bool:
    try:
        return path.startswith(os.getcwd() + os.sep)
    except OSError:
        return False


def table(found: list[dict[str, Any]]) -> str:
    """The same for people."""
    if not found:
        return "greenify doctor: nobody has kept the loop.\n"
    return "".join(line + "\n" for line in columns([_HEADINGS, *map(_row, found)]))


@dataclass
class Options:
    """The options of the command.

    Attributes:
        json: print JSON, to standard output; else a table, to standard error.
        output: the file to write to instead, or None.
        fail_over: for how many seconds the loop may be kept at once, or None.
        finest: the shortest stay that counts, in seconds.
    """

    json: bool = False
    output: str | None = None
    fail_over: float | None = None
    finest: float = FINEST


class Doctor:
    """Watches from now on, and prints what it has seen in `finish`, or else at the end of the process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pid = os.getpid()
        # A program may close or replace them.
        self._streams = sys.stdout, sys.stderr
        self._told: set[tuple[str, int, str]] = set()
        self._watch = Watch(options.finest, self._goes_on, patience=PATIENCE)
        atexit.register(self.finish)

    def finish(self) -> bool:
        """Print what was found, once; in the process that was begun with, not in forked children of it.

        Returns:
            Whether the loop was kept for longer than is allowed.
        """
        if self._pid != os.getpid():
            return False
        self._pid = 0
        self._watch.stop()
        found = rows(self._watch.places)
        text = (
            json.dumps({"places": found}, indent=1) + "\n" if self._options.json else table(found)
        )
        self._write(text)
        limit = self._options.fail_over
        return limit is not None and any(row["worst"] > limit for row in found)

    def _goes_on(self, report: Report) -> None:
        # On a native thread of the watch.
        stream = self._streams[1]
        if report.ended or report.place in self._told or stream is None:
            return
        self._told.add(report.place)
        source = f": {report.source}" if report.source else ""
        stream.write(
            f"greenify doctor: {printable(report.thread)} has kept the loop for {report.seconds:.2f} s "
            f"and goes on, at {report.file}:{report.line} in {report.function}{source}\n"
            f"  What to do: {report.remedy}.\n"
        )
        stream.flush()

    def _write(self, text: str) -> None:
        path = self._options.output
        if path is not None:
            try:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            except OSError as exc:
                # What the program has run for is not lost.
                text = f"greenify doctor: {path}: {exc.strerror}\n{text}"
            else:
                return
        stream = self._streams[0 if self._options.json else 1]
        if stream is not None:
            stream.write(text)
            stream.flush()
