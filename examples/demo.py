"""Crawl a website three times, serially, with threads, and under greenify, and compare.

    $ python examples/demo.py                                 # a slow website on this machine
    $ python examples/demo.py --url https://host.example/     # any other (be polite: --limit)

All three run the same unmodified script, `crawler.py`. The exit code is 0 if they found the same
pages; with --strict also the goals printed below the table must be met.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
SPEED_UP = 10.0  # as many times faster than serial
THREADS_RATIO = 1.2  # at most as many times slower than real threads
RESOLVERS = 16  # native threads besides the main one: they look up host names


class DemoError(Exception):
    """A child failed; the message says which and how."""


@dataclass(frozen=True)
class Mode:
    """One way to run the crawler."""

    name: str
    python: tuple[str, ...]
    crawler: tuple[str, ...]
    repeat: int


@dataclass(frozen=True)
class Run:
    """What the crawler reported of one crawl."""

    pages: list[str]
    redirects: list[str]
    errors: dict[str, str]
    bytes: int
    seconds: float
    cpu_seconds: float
    peak_threads: int
    peak_memory_kib: int

    @classmethod
    def read(cls, report: Path) -> Run:
        values = json.loads(report.read_text(encoding="utf-8"))
        return cls(**{each.name: values[each.name] for each in fields(cls)})

    def found(self) -> tuple[list[str], list[str], dict[str, str]]:
        return self.pages, self.redirects, self.errors


@dataclass(frozen=True)
class Outcome:
    """The runs of one mode."""

    mode: Mode
    runs: Sequence[Run]

    @property
    def seconds(self) -> float:
        return statistics.median_low(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return statistics.median_low(run.cpu_seconds for run in self.runs)

    @property
    def peak_threads(self) -> int:
        return max(run.peak_threads for run in self.runs)

    @property
    def peak_memory_mib(self) -> float:
        return max(run.peak_memory_kib for run in self.runs) / 1024


@contextlib.contextmanager
def site_server(pages: int, delay: float) -> Iterator[dict[str, Any]]:
    """Start `site_server.py` in a process of its own; yields the addresses it prints."""
    command = [sys.executable, str(HERE / "site_server.py")]
    command += ["--pages", str(pages), "--delay", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if not line:
                raise DemoError(f"the server did not start: {shlex.join(command)}")
            yield json.loads(line)
        finally:
            server.terminate()


def crawl_repeatedly(mode: Mode, arguments: Sequence[str], console: Console) -> Outcome:
    script = str(HERE / "crawler.py")
    shown = ["python", *mode.python[1:], os.path.relpath(script), *mode.crawler, *arguments]
    console.print(f"[bold]{mode.name}:[/bold] {shlex.join(shown)}", soft_wrap=True)
    command = [*mode.python, script, *mode.crawler, *arguments]
    return Outcome(mode, [crawl(command) for _ in range(mode.repeat)])


def crawl(command: Sequence[str]) -> Run:
    """Run the crawler once; its progress bar goes to this terminal, its report comes back."""
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        report = Path(directory) / "report.json"
        child = subprocess.run([*command, "--json", str(report)], stdout=subprocess.DEVNULL)
        if not report.exists() or child.returncode not in (0, 1):
            raise DemoError(f"exit code {child.returncode}: {shlex.join(command)}")
        run = Run.read(report)
    if not run.pages:
        raise DemoError(f"not one page was found: {run.errors}")
    return run


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    serial = outcomes[0]
    table = Table("", *(outcome.mode.name for outcome in outcomes))
    for column in table.columns[1:]:
        column.justify = "right"
    runs = [outcome.runs[0] for outcome in outcomes]
    table.add_row("pages", *(str(len(run.pages)) for run in runs))
    table.add_row("redirects", *(str(len(run.redirects)) for run in runs))
    table.add_row("errors", *(str(len(run.errors)) for run in runs))
    table.add_row("megabytes", *(f"{run.bytes / 1e6:.1f}" for run in runs))
    table.add_row("seconds", *(f"{outcome.seconds:.2f}" for outcome in outcomes))
    table.add_row("speed-up", *(f"{serial.seconds / o.seconds:.1f} x" for o in outcomes))
    table.add_row("CPU seconds", *(f"{outcome.cpu_seconds:.2f}" for outcome in outcomes))
    table.add_row("peak OS threads", *(str(outcome.peak_threads) for outcome in outcomes))
    table.add_row("peak memory", *(f"{outcome.peak_memory_mib:.1f} MiB" for outcome in outcomes))
    console.print(table)
    if any(len(outcome.runs) > 1 for outcome in outcomes):
        console.print("seconds: the median of several runs; threads and memory: their highest")


def goals(serial: Outcome, threads: Outcome, green: Outcome) -> list[tuple[str, bool]]:
    """What greenify promises, and whether it kept it."""
    faster, ratio = serial.seconds / green.seconds, green.seconds / threads.seconds
    return [
        (f"at least {SPEED_UP:g} x faster than serial: {faster:.1f} x", faster >= SPEED_UP),
        (f"at most {THREADS_RATIO:g} x the time of threads: {ratio:.2f} x", ratio <= THREADS_RATIO),
        (
            f"one OS thread, plus up to {RESOLVERS} that look up names: {green.peak_threads}",
            green.peak_threads <= 1 + RESOLVERS,
        ),
    ]


def compare(url: str, arguments: Sequence[str], options: argparse.Namespace) -> int:
    console = Console()
    plain, green = (sys.executable,), (sys.executable, "-m", "greenify")
    workers = ("--workers", str(options.workers))
    modes = (
        Mode("serial", plain, ("--serial",), 1),
        Mode(f"{options.workers} threads", plain, workers, options.repeat),
        Mode("greenify", green, workers, options.repeat),
    )
    outcomes = [crawl_repeatedly(mode, [url, *arguments], console) for mode in modes]
    show(outcomes, console)
    # With a limit, the order in which answers come decides which addresses are visited.
    what = "visited as many addresses" if options.limit else "found the same pages and errors"
    results = [(f"all crawls {what}", same(outcomes, by_number=bool(options.limit)))]
    promises = goals(*outcomes)
    for text, kept in results + promises:
        console.print("[green]yes[/green]" if kept else "[red] no[/red]", text, highlight=False)
    if (load := os.getloadavg()[0]) > (processors := os.cpu_count() or 1):
        # The scheduler favours a process of many threads over one that does the same in one thread.
        console.print(f"This machine is busy: {load:.1f} wanted its {processors} processors.")
    must = results + promises if options.strict else results
    return 0 if all(kept for _, kept in must) else 1


def same(outcomes: Sequence[Outcome], by_number: bool) -> bool:
    results = [run.found() for outcome in outcomes for run in outcome.runs]
    if by_number:
        return len({sum(map(len, result)) for result in results}) == 1
    return all(result == results[0] for result in results)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Crawl serially, with threads, under greenify.")
    parser.add_argument("--url", help="a site to crawl instead of one on this machine")
    parser.add_argument("--workers", type=int, default=50, metavar="N", help="default: 50")
    parser.add_argument("--limit", type=int, metavar="N", help="visit at most N addresses")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--pages", type=int, default=300, metavar="N", help="default: 300")
    parser.add_argument(
        "--delay", type=float, default=0.06, metavar="SECONDS", help="default: 0.06"
    )
    parser.add_argument("--strict", action="store_true", help="fail if a goal is not met")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    if find_spec("greenify") is None:
        print("greenify is not installed for this Python: pip install .", file=sys.stderr)
        return 2
    arguments = ["--limit", str(options.limit)] if options.limit else []
    try:
        if options.url:
            return compare(options.url, arguments, options)
        with site_server(options.pages, options.delay) as site:
            # A proxy set for the outside world does not know the loopback of this machine.
            os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost"
            return compare(site["http"], [*arguments, "--ca", site["ca"]], options)
    except DemoError as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
