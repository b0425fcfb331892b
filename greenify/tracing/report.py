"""What a trace shows, in words: who kept the loop, what was waited for, how long ready threads waited."""

from __future__ import annotations

from dataclasses import dataclass, field

from greenify.inspect.names import printable
from greenify.tracing.reading import Line, Picture, Slice

__all__ = ["Report", "Stay", "Total", "analyse", "in_words"]

# How many rows each table has.
_ROWS = 10

_RUNNING, _READY = "running", "ready"


@dataclass(frozen=True)
class Stay:
    """One thread has kept a loop.

    Attributes:
        thread: its name.
        begin: seconds from the beginning of the trace.
        length: seconds.
        waited: how many others were ready all the time or a part of it.
        after: what it had waited for before.
        before: what it waited for afterwards.
    """

    thread: str
    begin: float
    length: float
    waited: int
    after: str
    before: str


@dataclass
class Total:
    """What has been waited for.

    Attributes:
        name: the wait.
        seconds: of all threads together.
        times: how often.
        threads: by how many.
    """

    name: str
    seconds: float = 0.0
    times: int = 0
    threads: set[int] = field(default_factory=set)


@dataclass
class Report:
    """What is to be said of a trace.

    Attributes:
        seconds: how long it is.
        busy: the part of that in which the loop did not sleep, by the names of the loops.
        switches: how often a thread has begun to run.
        threads: how many threads and tasks there were.
        stays: the longest ones, the longest first.
        totals: of the waits, the longest first.
        delays: from ready to running, in seconds, from the shortest to the longest.
        calls: those that ran on native threads, as waits are counted.
    """

    seconds: float
    busy: dict[str, float]
    switches: int
    threads: int
    stays: list[Stay]
    totals: list[Total]
    delays: list[float]
    calls: list[Total]

    def delay(self, part: float) -> float:
        """The delay that a part of all (0.5, 0.99, 1) does not exceed, in seconds."""
        if not self.delays:
            return 0.0
        return self.delays[min(len(self.delays) - 1, int(part * len(self.delays)))]


def analyse(picture: Picture, rows: int = _ROWS) -> Report:
    """Find out what there is to say of a trace.

    Args:
        rows: how long the lists are.
    """
    threads = picture.of_kind("thread")
    ready = [s for line in threads for s in line.slices if s.name == _READY]
    running = [
        (s, line, i) for line in threads for i, s in enumerate(line.slices) if s.name == _RUNNING
    ]
    longest = sorted(running, key=lambda row: -row[0].length)[:rows]
    return Report(
        seconds=(picture.end - picture.begin) / 1e9,
        busy={line.name: _busy(line, picture) for line in picture.of_kind("loop")},
        switches=len(running),
        threads=len(threads),
        stays=[_stay(row, line, i, picture, threads) for row, line, i in longest],
        totals=_totals(threads, rows, leave_out=(_RUNNING, _READY)),
        delays=sorted(s.length / 1e9 for s in ready),
        calls=_totals(picture.of_kind("native"), rows),
    )


def _busy(loop: Line, picture: Picture) -> float:
    if not loop.slices:
        return 0.0
    whole = picture.end - loop.slices[0].begin
    asleep = sum(s.length for s in loop.slices if s.name == "sleeping")
    return 1.0 - asleep / whole if whole else 0.0


def _stay(slice: Slice, line: Line, index: int, picture: Picture, threads: list[Line]) -> Stay:
    waits = [s.name for s in line.slices[:index] if s.name not in (_RUNNING, _READY)]
    after = line.slices[index + 1].name if index + 1 < len(line.slices) else "its end"
    if after == _READY:
        after = "its next turn"
    others = sum(
        any(s.name == _READY and s.begin < slice.end and s.end > slice.begin for s in other.slices)
        for other in threads
        if other is not line and other.loop == line.loop
    )
    return Stay(
        line.name,
        (slice.begin - picture.begin) / 1e9,
        slice.length / 1e9,
        others,
        waits[-1] if waits else "its start",
        after,
    )


def _totals(lines: list[Line], rows: int, leave_out: tuple[str, ...] = ()) -> list[Total]:
    found: dict[str, Total] = {}
    for line in lines:
        for s in line.slices:
            if s.name not in leave_out:
                total = found.setdefault(s.name, Total(s.name))
                total.seconds += s.length / 1e9
                total.times += 1
                total.threads.add(line.uuid)
    return sorted(found.values(), key=lambda total: -total.seconds)[:rows]


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 0.001:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.0f} us"


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Columns, of which those before the last are set to the right."""
    widths = [max(len(row[i]) for row in (heading, *rows)) for i in range(len(heading) - 1)]
    return [
        "  " + "  ".join((*(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=False)), row[-1]))
        for row in (heading, *rows)
    ]


def in_words(report: Report, name: str) -> str:
    """The report as a text for people."""
    lines = [
        f"{name}: {_time(report.seconds)}, {report.threads} threads and tasks, "
        f"{report.switches} times one began to run"
    ]
    for loop, part in report.busy.items():
        lines.append(f"{printable(loop)}: busy {part:.0%} of the time")
    lines.append(
        "From ready to running: "
        f"half within {_time(report.delay(0.5))}, 99% within {_time(report.delay(0.99))}, "
        f"at most {_time(report.delay(1))}"
    )
    if report.stays:
        lines += ["", "Who kept the loop longest:"]
        lines += _table(
            ("time", "at", "others ready", "thread (from ... to ...)"),
            [
                (
                    _time(stay.length),
                    f"{stay.begin:.3f} s",
                    str(stay.waited),
                    printable(f"{stay.thread} (from {stay.after} to {stay.before})"),
                )
                for stay in report.stays
            ],
        )
    for heading, totals in (
        ("What most time was waited for:", report.totals),
        ("Calls on native threads:", report.calls),
    ):
        if totals:
            lines += ["", heading]
            lines += _table(
                ("time", "times", "threads", "what"),
                [
                    (_time(t.seconds), str(t.times), str(len(t.threads)), printable(t.name))
                    for t in totals
                ],
            )
    return "\n".join(lines) + "\n"
