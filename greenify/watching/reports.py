"""What the watch says: of one stay on the loop, and of all stays at one place."""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass
from typing import Any

from greenify.inspect.names import printable
from greenify.watching.advice import remedy
from greenify.watching.looking import Stay
from greenify.watching.stacks import Line, call_in, is_ours, lines, users

__all__ = ["Place", "Report", "report"]


@dataclass(frozen=True)
class Report:
    """One green thread has kept the loop for too long; times in seconds.

    Attributes:
        seconds: how long; so far, if it goes on.
        ended: whether it is over.
        thread: the name of the thread.
        file: where: the innermost line that is neither the standard library's nor greenify's.
        line: the number of that line.
        function: the function that it is in.
        source: its text; empty if there is none to be had.
        call: the call that the thread was in, as the source has it; None if nobody can tell.
        stack: the whole stack, the outermost line first.
        computed: whether it used the processor; it has waited otherwise.
        cpu: how much processor time it used; None if that is not known.
        lock_kept: how long the interpreter lock was kept by C code, 0 if it was not.
        system_call: the system call that it sat in, by name; None if it was in none, or nobody can tell.
        fd: the descriptor that this was about, or None.
        target: what that is open on: a path, ``socket:[1234]``, ``pipe:[1234]``; or None.
        ready: how many others were ready to run.
        waited: for how long the first of them.
        waiting: the names of some of them.
        news: whether the kernel had news for others: connections, data, room to write.
        remedy: what can be done about it.
    """

    seconds: float
    ended: bool
    thread: str
    file: str
    line: int
    function: str
    source: str
    call: str | None
    stack: tuple[Line, ...]
    computed: bool
    cpu: float | None
    lock_kept: float
    system_call: str | None
    fd: int | None
    target: str | None
    ready: int
    waited: float
    waiting: tuple[str, ...]
    news: bool
    remedy: str

    @property
    def place(self) -> tuple[str, int, str]:
        """The file, the line and the function."""
        return self.file, self.line, self.function

    def facts(self) -> dict[str, Any]:
        """Everything as plain dictionaries, lists, strings and numbers, for JSON."""
        found = asdict(self)
        found["stack"] = [asdict(line) for line in self.stack]
        found["waiting"] = list(self.waiting)
        return found

    def __str__(self) -> str:
        going_on = "" if self.ended else " and goes on"
        source = f": {self.source}" if self.source else ""
        stack = traceback.format_list(
            [
                traceback.FrameSummary(
                    line.file, line.line, line.function, lookup_line=False, line=line.text
                )
                for line in self.stack
            ]
        )
        return "\n".join(
            (
                f"{printable(self.thread)} has kept the loop for {self.seconds:.2f} s{going_on}, at "
                f"{self.file}:{self.line} in {self.function}{source}",
                f"  It {self._doing()}.",
                f"  {self._others()}",
                f"  What to do: {self.remedy}.",
                "  The stack (innermost call last):",
                "".join(stack).rstrip("\n"),
            )
        )

    def _doing(self) -> str:
        if self.computed:
            text = "computed"
        elif self.cpu is None and self.system_call is None:
            text = "computed or waited"
        else:
            text = "waited"
        if self.system_call is not None and not self.computed:
            on = "" if self.fd is None else f" on descriptor {self.fd}"
            on += "" if self.target is None else f" ({self.target})"
            text += f" in the system call {self.system_call}{on}"
        if self.cpu is not None:
            text += f", with {self.cpu:.2f} s of processor time"
        if self.lock_kept:
            text += f"; C code kept the interpreter lock for {self.lock_kept:.2f} s"
        return text

    def _others(self) -> str:
        news = "the kernel had news for others" if self.news else ""
        if not self.ready:
            return f"No other thread was ready{'; but ' + news if news else ''}."
        count = "1 other was" if self.ready == 1 else f"{self.ready} others were"
        names = ", ".join(map(printable, self.waiting)) + (
            ", ..." if self.ready > len(self.waiting) else ""
        )
        since = f", for up to {self.waited:.2f} s" if self.waited else ""
        return f"{count} ready{since}{': ' + names if self.waiting else ''}{'; ' + news if news else ''}."


class Place:
    """All the stays at one place.

    Attributes:
        first: the first report.
        worst: the report of the longest.
        calls: how many there were.
        total: seconds in all of them.
        waited: names of who was ready meanwhile, each with how often.
    """

    def __init__(self, first: Report) -> None:
        self.first = first
        self.worst = first
        self.calls = 0
        self.total = 0.0
        self.waited: dict[str, int] = {}

    def add(self, found: Report) -> None:
        """Count `found`, the report of a stay that has ended."""
        self.calls += 1
        self.total += found.seconds
        if found.seconds >= self.worst.seconds or not self.worst.ended:
            self.worst = found
        for name in found.waiting:
            self.waited[name] = self.waited.get(name, 0) + 1


def report(stay: Stay) -> Report:
    """What is to be said of it.  Reads source files."""
    found = lines(stay.stack)
    at = users(stay.stack) if stay.stack else 0
    place = found[at] if found else Line("?", 0, "?", "")
    # Not a call of our own: who was sent aside in the middle of computing is in one.
    inner = next((raw for raw in stay.stack if not is_ours(raw)), None)
    call = None if inner is None else call_in(inner)
    system_call = stay.system_call
    return Report(
        seconds=stay.seconds,
        ended=stay.ended,
        thread=stay.thread,
        file=place.file,
        line=place.line,
        function=place.function,
        source=place.text,
        call=None if call is None else call.text,
        stack=tuple(reversed(found)),
        computed=stay.computed,
        cpu=None if stay.cpu is None else min(stay.cpu, stay.seconds),
        lock_kept=min(stay.lock_kept, stay.seconds) if stay.keeps_lock else 0.0,
        system_call=None if system_call is None else system_call.name,
        fd=None if system_call is None else system_call.fd,
        target=None if system_call is None else system_call.target,
        ready=stay.ready,
        waited=stay.waited,
        waiting=tuple(stay.names),
        news=stay.news,
        remedy=remedy(
            stay.stack,
            call,
            computed=stay.computed,
            lock_kept=stay.keeps_lock,
            system_call=system_call,
        ),
    )
