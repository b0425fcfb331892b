"""The command line: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import plots, report
from benchmarks.layers import LAYERS, version_of
from benchmarks.results import Results
from benchmarks.runner import Plan, run
from benchmarks.workloads import WORKLOADS, Workload

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run the same programs under greenify and other layers, and compare.",
    )
    add = parser.add_argument
    add("-w", "--workload", action="append", metavar="PATTERN", help="such as 'echo-*'; repeatable")
    add("-l", "--layers", default=",".join(LAYERS), help="with commas (default: %(default)s)")
    add("-r", "--rounds", type=int, default=5, help="default: %(default)s")
    add("-q", "--quick", action="store_true", help="small numbers: shows that it works, no more")
    add("-t", "--timeout", type=float, default=120.0, help="seconds for one child process")
    add("-o", "--output", type=Path, metavar="FOLDER", help="for JSON, Markdown and plots")
    add("-s", "--suffix", default="", help="of the names of the files there")
    add("--no-plots", action="store_true", help="do without matplotlib")
    add("--again", type=Path, metavar="JSON", help="report on an earlier run; run nothing")
    add("--list", action="store_true", help="print the workloads and their layers")
    return parser


def _chosen(patterns: Sequence[str] | None) -> list[Workload]:
    if not patterns:
        return list(WORKLOADS.values())
    for pattern in patterns:
        if not fnmatch.filter(WORKLOADS, pattern):
            raise SystemExit(f"no workload is called {pattern!r}; --list prints them all")
    return [
        workload
        for name, workload in WORKLOADS.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]


def _measure(plan: Plan, console: Console) -> Results:
    versions = {
        name: version_of(LAYERS[name]) for name in plan.layers if not LAYERS[name].missing()
    }
    results = Results(versions, plan.rounds)
    total = sum(len(plan.pairs(number)) for number in range(plan.rounds))
    columns = (TextColumn("{task.description:45}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=total)
        begun = 0

        def advance(what: str) -> None:
            nonlocal begun
            progress.update(task, description=what, completed=begun)
            begun += 1

        run(plan, results, advance, warn=console.print)
        progress.update(task, description="done", completed=total)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; 1 if any workload failed under greenify."""
    options = _parser().parse_args(arguments)
    # A pipe or a file gets whole tables, whatever the width of nothing.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    if options.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:24} {' '.join(workload.all_layers)}")
        return 0
    if options.again:
        results = Results.load(options.again)
    else:
        layers = options.layers.split(",")
        for layer in layers:
            if layer not in LAYERS:
                raise SystemExit(f"no layer is called {layer!r}; there are {', '.join(LAYERS)}")
        plan = Plan(
            _chosen(options.workload), layers, options.rounds, options.quick, options.timeout
        )
        results = _measure(plan, console)
    report.show(results, console)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        results.save(options.output / f"results{options.suffix}.json")
        table = options.output / f"table{options.suffix}.md"
        table.write_text(report.markdown(results))
        if not options.no_plots:
            plots.draw(results, options.output, options.suffix)
    return int(any("greenify" in row.failures for row in results.rows.values()))


if __name__ == "__main__":
    sys.exit(main())
