"""The results for people: tables on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from benchmarks.goals import judge
from benchmarks.layers import LAYERS
from benchmarks.results import Results, Row

__all__ = ["amount", "markdown", "show"]

_SCALES = {"s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")), "B": ((1024.0, "KiB"),)}


def amount(cost: float, unit: str) -> str:
    """A cost with a unit that suits its size."""
    for factor, name in _SCALES.get(unit, ()):
        if cost >= factor:
            return f"{cost / factor:.3g} {name}"
    return f"{cost:.3g} {unit}".rstrip()


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _layers(results: Results) -> list[str]:
    used = {layer for row in results.rows.values() for layer in (*row.costs, *row.failures)}
    return [layer for layer in LAYERS if layer in used]


def _cell(results: Results, row: Row, layer: str) -> str:
    median = row.median(layer)
    if median is None:
        return "failed" if layer in row.failures else ""
    spread = row.spread(layer) or 0.0
    text = f"{amount(median, row.unit)} ±{spread * 50:.0f}%"
    ratio = results.ratio((row.name, layer), (row.name, "gevent"))
    if ratio is not None and layer != "gevent":
        text += f" ({ratio:.2f})"
    return text


def _lines(results: Results) -> Iterator[list[str]]:
    for row in results.rows.values():
        yield [row.name, *(_cell(results, row, layer) for layer in _layers(results))]


_EXPLAINED = (
    "Cost per operation, half the spread, and in brackets the speed as a multiple of gevent's."
)


def show(results: Results, console: Console) -> None:
    """Print the costs, then the goals, then what failed."""
    table = Table(title="Cost per operation", caption=_EXPLAINED)
    for column in ("workload", *_layers(results)):
        table.add_column(column, no_wrap=True)
    for line in _lines(results):
        table.add_row(*line)
    console.print(table)
    goals = Table(title="Goals")
    for column in ("goal", "at least", "measured", ""):
        goals.add_column(column)
    for verdict in judge(results):
        if verdict.ratio is None:
            continue
        goals.add_row(
            verdict.goal.text,
            f"{verdict.goal.at_least:.2f}",
            _ratio(verdict.ratio),
            "met" if verdict.met else "[bold]not met[/bold]",
        )
    console.print(goals)
    for name, layer, reason in _failures(results):
        console.print(f"{name} / {layer}: {reason}", markup=False)


def _failures(results: Results) -> Iterator[tuple[str, str, str]]:
    for row in results.rows.values():
        for layer, reason in row.failures.items():
            yield row.name, layer, reason


def _table(heading: list[str], lines: Iterator[list[str]]) -> list[str]:
    rows = [heading, ["---"] * len(heading), *lines]
    return ["| " + " | ".join(row) + " |" for row in rows]


def markdown(results: Results) -> str:
    """The same as Markdown."""
    about = results.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"Python {about['python']}, {about['system']}, {about['processors']} processors; "
        f"{about['rounds']} rounds; {versions}.",
        "",
    ]
    goals = (
        [
            verdict.goal.text,
            f"{verdict.goal.at_least:.2f}",
            _ratio(verdict.ratio),
            "met" if verdict.met else "**not met**",
        ]
        for verdict in judge(results)
    )
    lines += _table(["goal", "at least", "measured", ""], goals)
    lines += ["", _EXPLAINED, ""]
    lines += _table(["workload", *_layers(results)], _lines(results))
    failures = [f"- {name} / {layer}: `{reason}`" for name, layer, reason in _failures(results)]
    if failures:
        lines += ["", "No figure:", "", *failures]
    return "\n".join(lines) + "\n"
