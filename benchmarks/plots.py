"""The results as pictures, if matplotlib is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.layers import LAYERS
from benchmarks.results import Results

__all__ = ["draw"]

_COLOURS = {
    "greenify": "#2a9d3a",
    "gevent": "#4363d8",
    "eventlet": "#911eb4",
    "threads": "#808080",
    "asyncio": "#e6a117",
    "uvloop": "#e6550d",
    "floor": "#000000",
}


def _bars(results: Results, plt: Any) -> Any:
    rows = [
        (row.name, results.ratio((row.name, "greenify"), (row.name, "gevent")))
        for row in results.rows.values()
    ]
    found = [(name, ratio) for name, ratio in rows if ratio is not None]
    figure, axes = plt.subplots(figsize=(9, max(2.0, 0.24 * len(found))))
    names = [name for name, _ in found][::-1]
    ratios = [ratio for _, ratio in found][::-1]
    colours = [_COLOURS["greenify"] if ratio >= 1 else "#c0392b" for ratio in ratios]
    axes.barh(names, ratios, color=colours)
    axes.axvline(1.0, color=_COLOURS["gevent"])
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("speed, or smallness, as a multiple of gevent's (line)")
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(y=0.01)
    axes.set_title(f"greenify against gevent, Python {results.about['python']}")
    return figure


def _curve(results: Results, axes: Any, prefix: str, inverted: bool) -> bool:
    drawn = False
    for layer in LAYERS:
        points = []
        for row in results.rows.values():
            number = row.name.removeprefix(prefix)
            median = row.median(layer)
            if row.name.startswith(prefix) and number.isdigit() and median and median > 0:
                points.append((int(number), 1 / median if inverted else median / 1024))
        if points:
            drawn = True
            axes.plot(*zip(*sorted(points), strict=True), "o-", label=layer, color=_COLOURS[layer])
    axes.set_xscale("log")
    axes.set_xlabel("connections")
    if inverted:
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend()
    return drawn


def _curves(results: Results, plt: Any) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    drawn = _curve(results, left, "server-", inverted=True)
    left.set_ylabel("round trips per second of the server's processor time")
    drawn = _curve(results, right, "memory-connection-", inverted=False) or drawn
    right.set_ylabel("KiB per parked connection and its thread")
    figure.suptitle(f"An echo server, Python {results.about['python']}")
    return figure if drawn else None


def draw(results: Results, folder: Path, suffix: str) -> list[Path]:
    """Write ``ratios*.svg`` and ``connections*.svg``, and the same as PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "greenify"
    from matplotlib import pyplot as plt

    written = []
    for name, make in (("ratios", _bars), ("connections", _curves)):
        figure = make(results, plt)
        if figure is None:
            continue
        figure.tight_layout()
        for kind in ("svg", "png"):
            path = folder / f"{name}{suffix}.{kind}"
            metadata = {"Date": None} if kind == "svg" else {}
            figure.savefig(path, metadata=metadata, dpi=110)
            written.append(path)
        plt.close(figure)
    return written
