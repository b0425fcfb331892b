"""CPython's own tests, one case a module: `pytest tests/stdlib_compat/test_stdlib.py -m ""` for all of them.

The modules that are no quick ones have the mark `stdlib`. `python -m tests.stdlib_compat` does the
same with more to choose from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Thread

import pytest

from . import report as reports
from .comparison import Comparison
from .control import CACHE
from .modules import MODULES, Module, interpreter
from .session import Session

pytestmark = [
    # For all modules together, since a case waits for those before it.
    pytest.mark.timeout(3 * 3600),
    # One run of all of them, also where pytest has several processes.
    pytest.mark.xdist_group("stdlib"),
]


class Results:
    """Runs all the modules that were selected in the background, several at a time."""

    def __init__(self, modules: list[Module]) -> None:
        self.where = interpreter(sys.executable)
        self.session = Session(self.where, jobs=os.cpu_count() or 1, confirm=3)
        self.futures: dict[str, Future[Comparison]] = {module.name: Future() for module in modules}
        self.modules = modules
        self.thread = Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            self.session.run(self.modules, lambda row: self.futures[row.module].set_result(row))
        except BaseException as error:
            for future in self.futures.values():
                if not future.done():
                    future.set_exception(error)

    def report(self) -> reports.Report:
        rows = [future.result() for future in self.futures.values()]
        return reports.Report(self.where.full_version, self.session.layer, rows)


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    selected = [getattr(item, "callspec", None) for item in request.session.items]
    names = {spec.params["name"] for spec in selected if spec is not None and "name" in spec.params}
    running = Results([module for module in MODULES if module.name in names])
    yield running
    if running.thread.is_alive():
        # The run of the tests was cut short.
        running.session.stop()
        running.thread.join()
        return
    report = running.report()
    folder = CACHE / "results"
    folder.mkdir(parents=True, exist_ok=True)
    data = [reports.to_data(report)]
    (folder / f"{running.where.short}.json").write_text(json.dumps(data, indent=1))
    (folder / f"{running.where.short}.md").write_text(reports.to_markdown(data, "pytest"))
    text = [reports.line(row) for row in report.rows] + [reports.total(report)]
    (folder / f"{running.where.short}.txt").write_text("\n".join(text) + "\n")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(module.name, marks=() if module.quick else pytest.mark.stdlib)
        for module in MODULES
    ],
)
def test_module(name: str, results: Results) -> None:
    row = results.futures[name].result()
    if row.absent:
        pytest.skip(row.absent)
    print(reports.line(row))
    if row.problems:
        shown = [reports.line(row), *row.problems, *reports.details(row, tracebacks=True)]
        pytest.fail("\n".join(shown), pytrace=False)


@pytest.mark.stdlib
def test_rate_over_all_modules(results: Results) -> None:
    report = results.report()
    print(reports.total(report))
    assert report.rate >= 0.99
