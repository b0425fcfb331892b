"""A trace as a page: the timeline, drawn with plotly, and the report.  One file, which needs no network."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable

import plotly.graph_objects as go

from greenify.tracing.reading import Line, Picture, Slice

__all__ = ["page"]

# Stretches shorter than this part of the whole are drawn together with their neighbours.
_FINEST = 4000

# How many tracks and arrows are drawn at most.
_TRACKS = 200
_ARROWS = 2000

_COLOURS = {
    "running": "#2e7d32",
    "ready": "#f9a825",
    "waiting": "#b0bec5",
    "native call": "#5e35b1",
    "loop": "#6d4c41",
    "sleeping": "#eceff1",
    "mixed": "#78909c",
}


def page(picture: Picture, text: str, name: str) -> str:
    """The page as HTML.

    Args:
        text: the report in words.
        name: of the trace.
    """
    lines, left_out = _chosen(picture)
    figure = go.Figure()
    rows = {line.uuid: row for row, line in enumerate(lines)}
    for kind, stretches in _by_kind(picture, lines).items():
        figure.add_bar(
            name=kind,
            orientation="h",
            width=0.75,
            y=[rows[line.uuid] for line, _ in stretches],
            base=[_ms(s.begin, picture) for _, s in stretches],
            x=[s.length / 1e6 for _, s in stretches],
            text=[s.name for _, s in stretches],
            textposition="none",
            marker={"color": _COLOURS[kind], "line": {"width": 0}},
            hovertemplate="%{text}<br>%{x:.3f} ms from %{base:.3f} ms<extra></extra>",
        )
    arrows = [
        arrow for arrow in picture.arrows if arrow.source.uuid in rows and arrow.target.uuid in rows
    ][:_ARROWS]
    figure.add_scatter(
        name="wakes",
        mode="lines+markers",
        x=[x for a in arrows for x in (_ms(a.time, picture), _ms(a.time, picture), None)],
        y=[y for a in arrows for y in (rows[a.source.uuid], rows[a.target.uuid], None)],
        line={"width": 1, "color": "#37474f"},
        marker={"symbol": "arrow", "size": 8, "angleref": "previous"},
        hoverinfo="skip",
    )
    figure.update_layout(
        barmode="overlay",
        height=160 + 26 * max(len(lines), 4),
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        xaxis={"title": {"text": "milliseconds"}},
        yaxis={
            "tickvals": list(rows.values()),
            "ticktext": [html.escape(line.name) for line in lines],
            "autorange": "reversed",
            "automargin": True,
        },
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    drawing = figure.to_html(full_html=False, include_plotlyjs=True, config={"scrollZoom": True})
    note = f"<p>{left_out} tracks that ran less are not drawn.</p>" if left_out else ""
    return _PAGE.format(name=html.escape(name), text=html.escape(text), drawing=drawing, note=note)


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{name}</title>
<style>body {{ font-family: sans-serif; margin: 1em; }} pre {{ overflow-x: auto; }}</style></head>
<body>
<h1>{name}</h1>
{drawing}
{note}
<pre>{text}</pre>
</body>
</html>
"""


def _ms(time: int, picture: Picture) -> float:
    return (time - picture.begin) / 1e6


def _chosen(picture: Picture) -> tuple[list[Line], int]:
    """The tracks to draw, in the order of the trace, and how many are left out."""
    lines = [line for line in picture.lines.values() if line.slices]
    ran = {
        line.uuid: sum(s.length for s in line.slices if s.name in ("running", "threads"))
        for line in lines
    }
    most = sorted(lines, key=lambda line: (line.kind == "thread", -ran[line.uuid]))[:_TRACKS]
    kept = {line.uuid for line in most}
    return [line for line in lines if line.uuid in kept], len(lines) - len(kept)


def _kind(line: Line, name: str) -> str:
    if name in _COLOURS:
        return name
    if line.kind == "loop":
        return "waiting" if name == "threads" else "loop"
    return "native call" if line.kind == "native" or name.startswith("native call") else "waiting"


def _by_kind(picture: Picture, lines: Iterable[Line]) -> dict[str, list[tuple[Line, Slice]]]:
    found: dict[str, list[tuple[Line, Slice]]] = {}
    finest = (picture.end - picture.begin) // _FINEST
    for line in lines:
        # While its threads run a loop has nothing to show.
        slices = [s for s in line.slices if not (line.kind == "loop" and s.name == "threads")]
        for stretch in _together(slices, finest):
            kind = stretch.notes.get("kind") or _kind(line, stretch.name)
            found.setdefault(kind, []).append((line, stretch))
    return found


def _together(slices: Iterable[Slice], finest: int) -> Iterable[Slice]:
    """The slices, with runs of such as cannot be told apart as one each."""
    run: list[Slice] = []
    for each in slices:
        if run and (each.length > finest or each.end - run[0].begin > finest):
            yield _as_one(run)
            run = []
        if each.length > finest:
            yield each
        else:
            run.append(each)
    if run:
        yield _as_one(run)


def _as_one(run: list[Slice]) -> Slice:
    if len(run) == 1:
        return run[0]
    names = ", ".join(f"{n} x {name}" for name, n in Counter(s.name for s in run).most_common(4))
    end = max(s.end for s in run)
    return Slice(names, run[0].begin, end, {"kind": "mixed"})
