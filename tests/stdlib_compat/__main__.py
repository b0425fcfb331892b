"""The command line: `python -m tests.stdlib_compat --help`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import report as reports
from .comparison import Comparison
from .interpreters import VERSIONS, installed
from .modules import MODULES, Module, find, interpreter
from .session import Session
from .supervisor import LAYERS

_DESCRIPTION = """\
Runs CPython's own tests of the modules that greenify replaces, plain and under greenify, and
compares. The plain run (the control) is kept and used again. Exit code 1 when a test fails that
passes in the control and is not in expected.py, when a row of expected.py is wrong, when a test
hangs or crashes, or when a rate is too low."""


_COMMAND = "tox -e stdlib"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    modules = _chosen(options)
    if arguments is None:
        # By default that would end this process at once, and leave what it has started.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if options.list:
        return _list(modules, options.python or [sys.executable])
    if options.installed is not None:
        options.python = [*(options.python or []), *installed(options.installed or VERSIONS)]
    found = [_run(python, modules, options) for python in options.python or [sys.executable]]
    data = [reports.to_data(report) for report in found]
    for path in options.add_results:
        data += json.loads(path.read_text())
    data.sort(key=lambda report: [int(number) for number in report["python"].split(".")])
    if options.json:
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(reports.to_markdown(data, _COMMAND))
    if options.text:
        options.text.write_text(reports.to_text(data))
    # Once more, all together: the tables are long.
    problems = [f"Python {each.version}: {problem}" for each in found for problem in each.problems]
    print("\n".join([*problems, f"{len(problems)} problems" if problems else "no problems"]))
    return 1 if problems else 0


def _run(python: str, modules: Sequence[Module], options: argparse.Namespace) -> reports.Report:
    where = interpreter(python)
    session = Session(
        where,
        layer=options.layer,
        match=options.match,
        jobs=options.jobs,
        timeout=options.timeout,
        confirm=options.confirm,
        again=options.again,
        alone=options.alone,
        fresh_control=options.fresh_control,
    )
    print(
        f"Python {where.full_version} ({python}), {options.layer}; logs in {session.logs}",
        flush=True,
    )

    def progress(row: Comparison) -> None:
        print(reports.line(row), flush=True)
        for text in reports.details(row, options.verbose):
            print(text)
        if row.unexpected and row.patched is not None:
            print(f"    logs: {session.logs}/{row.module}*.log", flush=True)

    report = reports.Report(
        where.full_version,
        options.layer,
        session.run(modules, progress),
        whole=(options.all or options.core) and not options.match,
    )
    print(reports.total(report), flush=True)
    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.stdlib_compat", description=_DESCRIPTION)
    add = parser.add_argument
    add(
        "--module",
        "-m",
        action="append",
        default=[],
        metavar="NAME",
        help="test_queue, or queue; repeatable",
    )
    add("--all", action="store_true", help="every module of the table")
    add("--core", action="store_true", help="the core modules")
    add("--quick", action="store_true", help="the quick modules")
    add(
        "--match",
        "-k",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only tests whose id matches (as in file names), or has this part between dots; repeatable",
    )
    add(
        "--python",
        action="append",
        metavar="PATH",
        # The tests run in other folders; a link stays one, for it names an environment.
        type=os.path.abspath,
        help="the interpreter to test; repeatable (default: this one)",
    )
    add(
        "--installed",
        nargs="*",
        choices=VERSIONS,
        metavar="VERSION",
        help="test with these versions of Python (default: with each supported one that is found), "
        "in virtual environments made for it",
    )
    add(
        "--layer",
        choices=LAYERS,
        default="greenify",
        help="what patches the process; none shows the control",
    )
    add("--jobs", "-j", type=int, default=2, help="modules at a time (default: 2)")
    add(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="limit for one test, more where the control needs more (default: 60)",
    )
    add(
        "--confirm",
        type=int,
        default=0,
        metavar="TIMES",
        help="run the control of each test that fails patched that many times more; flaky ones don't count",
    )
    add(
        "--again",
        action="store_true",
        help="run a module once more in which up to three tests fail patched, and take for passing, by "
        "name, what passes then; hangs and crashes stay",
    )
    add(
        "--alone",
        action="store_true",
        help="run each test that fails patched once more in a process of its own, and print how that ends",
    )
    add(
        "--fresh-control",
        action="store_true",
        help="run the control again instead of using the one kept",
    )
    add("--verbose", "-v", action="store_true", help="print tracebacks and stacks")
    add(
        "--list",
        action="store_true",
        help="print the chosen modules, and where each version has them",
    )
    add("--json", type=Path, metavar="FILE", help="write the results as JSON")
    add("--markdown", type=Path, metavar="FILE", help="write the results as a Markdown page")
    add("--text", type=Path, metavar="FILE", help="write the table as text")
    add(
        "--add-results",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="add the results of that JSON file to what is written; repeatable",
    )
    return parser


def _chosen(options: argparse.Namespace) -> list[Module]:
    rows = [find(name) for name in options.module]
    for name, row in zip(options.module, rows, strict=True):
        if row is None:
            known = ", ".join(module.name for module in MODULES)
            sys.exit(
                f"python -m tests.stdlib_compat: no module {name!r} in the table; there are: {known}"
            )
    wanted = {row.name for row in rows if row is not None}
    chosen = [
        row
        for row in MODULES
        if options.all
        or row.name in wanted
        or (options.core and row.core)
        or (options.quick and row.quick)
    ]
    if not chosen:
        sys.exit(
            "python -m tests.stdlib_compat: name modules with --module, or say --all, --core or --quick"
        )
    return chosen


def _list(modules: Sequence[Module], pythons: Sequence[str]) -> int:
    from .modules import absence, parts

    for python in pythons:
        where = interpreter(python)
        print(f"Python {where.full_version} ({python})")
        for module in modules:
            found = parts(module, where)
            what = ", ".join(part.target for part in found) if found else absence(module, where)
            print(f"  {module.name}: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
