"""Run a program with a trace, and find things in what it has drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenify.tracing.reading import Line, Picture, Slice, read
from tests.support import run_python


def drawn(program: str, folder: Path, *options: str, **more: Any) -> Picture:
    """What a program under greenify has drawn, run to its end."""
    file = folder / "trace.pftrace"
    run_python(program, options=("--trace", str(file), *options), check=True, **more)
    return read(file)


def line(picture: Picture, name: str) -> Line:
    """The only track of that name."""
    (found,) = (each for each in picture.lines.values() if each.name == name)
    return found


def named(track: Line, name: str) -> list[Slice]:
    """The slices of a track whose names begin like that."""
    return [each for each in track.slices if each.name.startswith(name)]


def arrows(picture: Picture) -> list[tuple[str, str]]:
    """Who has woken or started whom, in the order of time."""
    return [(arrow.source.name, arrow.target.name) for arrow in picture.arrows]


def states(track: Line) -> list[str]:
    """The names of a track's slices, in order."""
    return [each.name for each in track.slices]
