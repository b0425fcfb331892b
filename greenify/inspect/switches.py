"""What the options ``--inspect`` and ``--dump-on`` turn on."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from greenify.inspect.answers import as_table
from greenify.inspect.listening import listen
from greenify.inspect.report import deadlock_lines, records, stack_lines
from greenify.inspect.snapshot import snapshot

__all__ = ["dump", "dump_on", "inspect"]


def inspect(on: bool) -> None:
    """``--inspect``: let this user ask the process."""
    try:
        listen()
    except OSError as exc:
        # A program that runs is worth more than one that can be asked.
        print(f"greenify: nobody can ask this process who waits for what: {exc}", file=sys.stderr)


def dump() -> None:
    """Print who waits for what, with the stacks, to the standard error."""
    answer = as_table(snapshot(stacks=True))
    rows = records(answer)
    lines = [
        f"greenify: process {answer['pid']}",
        *deadlock_lines(answer, rows),
        *stack_lines(rows),
    ]
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def dump_on(number: signal.Signals) -> None:
    """``--dump-on SIGNAL``: have `dump` called whenever the signal comes."""
    signal.signal(number, _dump)


def _dump(signum: int, frame: FrameType | None) -> None:
    dump()
