"""The launcher's commands ``ps``, ``tree`` and ``stacks``."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from greenify.inspect.asking import NoAnswerError, ask, processes
from greenify.inspect.report import (
    deadlock_lines,
    group_lines,
    records,
    stack_lines,
    table,
    tree_lines,
)

__all__ = ["chosen", "parser", "ps", "show", "stacks", "tree"]

# From so many rows on, `ps` shows groups.
_MANY = 100


def parser(prog: str, what: str, pid: str | None = None) -> argparse.ArgumentParser:
    """A parser for a command about one process."""
    made = argparse.ArgumentParser(prog, description=what)
    made.add_argument("pid", type=int, nargs=pid, metavar="PID", help="the process")
    return made


def show(lines: Iterable[str]) -> None:
    """Print lines, to a reader who may go away."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name of any letters comes out, also where the terminal has only a few.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def fail(prog: str, exc: Exception) -> int:
    """Say what is wrong; the exit code."""
    print(f"{prog}: {exc}", file=sys.stderr)
    return 1


def ps(prog: str, args: list[str]) -> int:
    """Who waits for what."""
    reader = parser(prog, "Show the threads and tasks of a process, and what each waits for.", "?")
    reader.add_argument(
        "--all", action="store_true", help=f"a line for each, also if there are more than {_MANY}"
    )
    reader.add_argument("--json", action="store_true", help="as JSON")
    options = reader.parse_args(args)
    if options.pid is None:
        found = sorted(processes())
        show([str(pid) + "  " + _command(pid) for pid in found])
        if not found:
            return fail(prog, NoAnswerError("no process of this user can be asked"))
        return 0
    try:
        answer = ask(options.pid, "snapshot")
    except NoAnswerError as exc:
        return fail(prog, exc)
    if options.json:
        show([json.dumps({**answer, "rows": records(answer, raw=True), "fields": None}, indent=1)])
        return 0
    rows = records(answer)
    few = options.all or len(rows) <= _MANY
    show([*(table(rows) if few else group_lines(rows)), *deadlock_lines(answer, rows)])
    return 0


def tree(prog: str, args: list[str]) -> int:
    """Who has started whom."""
    reader = parser(prog, "Show who has started whom in a process, and its task groups.")
    options = reader.parse_args(args)
    try:
        answer = ask(options.pid, "snapshot")
    except NoAnswerError as exc:
        return fail(prog, exc)
    show(tree_lines(records(answer)))
    return 0


def stacks(prog: str, args: list[str]) -> int:
    """Where everybody is."""
    reader = parser(prog, "Show the stacks of the threads and tasks of a process.")
    reader.add_argument(
        "thread", nargs="?", metavar="THREAD", help="one of them: its name or number"
    )
    options = reader.parse_args(args)
    try:
        answer = ask(options.pid, "snapshot", stacks=True)
    except NoAnswerError as exc:
        return fail(prog, exc)
    rows = records(answer)
    if options.thread is not None:
        rows = chosen(rows, options.thread)
        if not rows:
            return fail(prog, NoAnswerError(f"no thread or task is called {options.thread!r}"))
    show(stack_lines(rows))
    return 0


def chosen(rows: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    """The rows of this name or number."""
    return [row for row in rows if wanted in (row["name"], str(row["ident"]), hex(row["ident"]))]


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
