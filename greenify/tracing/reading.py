"""A trace read back: its tracks, with what has happened on each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenify.tracing import wire

__all__ = ["Arrow", "Line", "Picture", "Slice", "read"]

_OPEN = -1

# By how their descriptions begin.
_KINDS = {"loop": "loop", "thread": "thread", "native thread": "native"}


@dataclass(slots=True)
class Slice:
    """A stretch of a track.

    Attributes:
        name: ``running``, ``ready``, what is waited for, or which call runs.
        begin, end: in nanoseconds.
        notes: what is written down beside it.
    """

    name: str
    begin: int
    end: int = _OPEN
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """In nanoseconds."""
        return self.end - self.begin


@dataclass
class Line:
    """A track.

    Attributes:
        kind: ``process``, ``loop``, ``thread`` (or task), ``native`` or ``counter``.
        loop: the name of the loop that it belongs to.
        slices: in the order of their beginnings; one in another follows that.
        instants: what has taken no time: when, and what.
        values: of a counter: when, and how much.
    """

    uuid: int
    name: str
    loop: str = ""
    kind: str = "thread"
    slices: list[Slice] = field(default_factory=list)
    instants: list[tuple[int, str]] = field(default_factory=list)
    values: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Arrow:
    """From who wakes, or starts, to who is woken."""

    time: int
    source: Line
    target: Line


@dataclass
class Picture:
    """A whole trace.

    Attributes:
        lines: the tracks, by their numbers.
        arrows: in the order of time.
        begin, end: the times of the first event and of the last one, in nanoseconds.
    """

    lines: dict[int, Line] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    begin: int = 0
    end: int = 0

    def of_kind(self, kind: str) -> list[Line]:
        """The tracks of a kind."""
        return [line for line in self.lines.values() if line.kind == kind]


@dataclass(frozen=True)
class _Event:
    kind: int
    uuid: int
    name: str
    value: int
    flow: int
    ends_flow: int
    notes: dict[str, str]


def read(file: str | Path) -> Picture:
    """Read a trace.  One that is cut off is read as far as it goes.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no trace that greenify has written.
    """
    picture = Picture()
    heads: dict[bytes, _Event] = {}
    timed: list[tuple[int, _Event]] = []
    # What events within 16 us have in common, of their times' nine bytes the last seven.
    ages: dict[bytes, int] = {}
    for message in wire.packets(Path(file).read_bytes()):
        # Heads come again and again, so each is understood once.
        found = heads.get(message[: -wire.STAMP])
        if found is None:
            found = _understand(message, picture)
            if found is None:
                continue
            heads[message[: -wire.STAMP]] = found
        age = ages.get(message[-7:])
        if age is None:
            age = ages[message[-7:]] = wire.number_at(message, len(message) - 7)[0] << 14
        timed.append((message[-9] & 0x7F | (message[-8] & 0x7F) << 7 | age, found))
    if not picture.lines:
        raise ValueError("there is nothing in this trace")
    # Those of several OS threads are not in order.  Of equal times the one that was written down first.
    timed.sort(key=lambda event: event[0])
    if timed:
        picture.begin, picture.end = timed[0][0], timed[-1][0]
    _draw(picture, timed)
    return picture


def _understand(message: bytes, picture: Picture) -> _Event | None:
    for number, value in wire.fields(message):
        if number == 60 and isinstance(value, bytes):
            line = _line(value)
            picture.lines.setdefault(line.uuid, line)
        elif number == 11 and isinstance(value, bytes):
            return _event(value)
    return None


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace")


def _line(message: bytes) -> Line:
    line = Line(0, "")
    for number, value in wire.fields(message):
        if number == 1 and isinstance(value, int):
            line.uuid = value
        elif number == 2:
            line.name = _text(value)
        elif number == 3 and isinstance(value, bytes):
            line.kind = "process"
            line.name = next((_text(v) for n, v in wire.fields(value) if n == 6), "")
        elif number == 14:
            kind, _, line.loop = _text(value).partition(", ")
            line.kind = _KINDS.get(kind, line.kind)
        elif number == 8:
            line.kind = "counter"
    return line


def _event(message: bytes) -> _Event:
    found: dict[int, Any] = {}
    notes = {}
    for number, value in wire.fields(message):
        if number == 4 and isinstance(value, bytes):
            note = dict(wire.fields(value))
            notes[_text(note[10])] = _text(note[6])
        else:
            found[number] = value
    return _Event(
        found.get(9, 0),
        found.get(11, 0),
        _text(found.get(23, b"")),
        found.get(30, 0),
        found.get(47, 0),
        found.get(48, 0),
        notes,
    )


def _draw(picture: Picture, timed: list[tuple[int, _Event]]) -> None:
    stacks: dict[int, list[Slice]] = {uuid: [] for uuid in picture.lines}
    sources: dict[int, Line] = {}
    for time, event in timed:
        line = picture.lines.get(event.uuid)
        if line is None:
            continue
        if event.kind == wire.BEGIN:
            fresh = Slice(event.name, time, notes=event.notes)
            stacks[event.uuid].append(fresh)
            line.slices.append(fresh)
        elif event.kind == wire.END:
            # One whose beginning is not in the trace ends nothing.
            if stacks[event.uuid]:
                stacks[event.uuid].pop().end = time
        elif event.kind == wire.INSTANT:
            line.instants.append((time, event.name))
        else:
            line.values.append((time, event.value))
        if event.flow:
            sources[event.flow] = line
        if event.ends_flow and event.ends_flow in sources:
            picture.arrows.append(Arrow(time, sources.pop(event.ends_flow), line))
    for stack in stacks.values():
        for left in stack:
            left.end = picture.end
