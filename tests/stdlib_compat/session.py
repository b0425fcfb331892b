"""Runs modules on one interpreter, several at a time, and compares each with its control."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import comparison, supervisor
from .comparison import Comparison
from .control import CACHE, Control
from .expected import EXPECTED, Row, rows_for
from .modules import Interpreter, Module, Part, absence, parts
from .outcomes import ModuleRun, Outcome, merge
from .supervisor import LAYERS, Job

#: How many runs' logs stay on disk.
_LOGS_KEPT = 50

#: How many failures of a module may be an accident of time.
_FEW = 3


@dataclass
class Session:
    """`confirm` is how many more times the control runs a test that fails patched only: one that doesn't pass
    each time is flaky, and out of the measure. `again` runs a module once more in which a few tests fail
    patched only, and takes those that pass then for passing, as regrtest's `--rerun` does: on a busy machine
    a test's own time limits may pass. A hang or a crash stays one. `alone` runs such a test in a process of
    its own, to tell what others leave behind from its own failure. `timeout` limits one test (s)."""

    where: Interpreter
    layer: str = "greenify"
    match: Sequence[str] = ()
    jobs: int = 2
    timeout: float = 60.0
    confirm: int = 0
    again: bool = False
    alone: bool = False
    fresh_control: bool = False
    rows: Iterable[Row] = EXPECTED
    cache: Path = CACHE
    logs: Path = field(init=False)
    stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        self.logs = self.cache / "logs" / f"{stamp}-{os.getpid()}-{self.layer}-{self.where.short}"
        self.control = Control(self.where, self.fresh_control, self.cache, self.stopping)

    def run(
        self, modules: Sequence[Module], progress: Callable[[Comparison], None] = lambda _: None
    ) -> list[Comparison]:
        """One comparison a module, in their order; `progress` is called with each as soon as it is there."""
        self._forget_old_logs()
        found = {module: parts(module, self.where) for module in modules}
        # The longest first: what is left at the end is short, and keeps all workers busy.
        todo = sorted(
            ((module, part) for module, list_ in found.items() for part in list_),
            key=lambda item: -self.control.seconds(item[1]),
        )
        compared = {module: self._absent(module) for module in modules if not found[module]}
        for absent in compared.values():
            progress(absent)
        runs: dict[Part, tuple[ModuleRun, ModuleRun]] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            submitted = {pool.submit(self._run_part, part): (module, part) for module, part in todo}
            try:
                for future in as_completed(submitted):
                    module, part = submitted[future]
                    runs[part] = future.result()
                    if all(part in runs for part in found[module]):
                        compared[module] = self._compared(module, found[module], runs)
                        progress(compared[module])
            except BaseException:
                self.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [compared[module] for module in modules]

    def _forget_old_logs(self) -> None:
        runs = sorted(self.logs.parent.glob("*"), key=lambda folder: folder.name)
        for folder in runs[:-_LOGS_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> None:
        """End all that runs; `run` raises `Stopped`. For any thread."""
        self.stopping.set()

    def _absent(self, module: Module) -> Comparison:
        return Comparison(module.name, absent=absence(module, self.where))

    def _run_part(self, part: Part) -> tuple[ModuleRun, ModuleRun]:
        control = self.control.run(part, self.match)
        if self.layer == "none":
            return control, control
        known = {test: record.seconds for test, record in control.tests.items()}
        lingering = [
            test
            for test in control.tests
            if any(
                row.lingers and row.matches(test)
                for row in self.rows
                if row.applies(self.where.short)
            )
            and (not self.match or matches(test, self.match))
        ]
        job = Job(
            module=part.name,
            target=part.target,
            python=self.where.python,
            layer=self.layer,
            code=LAYERS[self.layer],
            log=self.logs / f"{part.name}.log",
            timeout=self.timeout,
            match=self.match,
            path=part.path,
            resources=part.resources,
            stop=self.stopping,
            known=known,
            skip=[
                *lingering,
                *(
                    test
                    for test, record in control.tests.items()
                    if record.outcome in (Outcome.HANG, Outcome.CRASH)
                ),
            ],
        )
        patched = supervisor.run(job)
        for test in lingering:
            log = self.logs / "alone" / f"{test}.log"
            # How its process ends is expected, and no incident.
            patched.tests |= supervisor.run(replace(job, match=[test], skip=(), log=log)).tests
        if self.match:
            control.tests = {
                test: record
                for test, record in control.tests.items()
                if test in patched.tests or matches(test, self.match)
            }
            control.seconds = sum(record.seconds for record in control.tests.values())
        failing = self._unexpected(part, control, patched)
        # Hundreds of failures are the layer's, not the control's.
        if self.confirm and 0 < len(failing) <= 30:
            self.control.confirm(part, failing, self.confirm)
            failing = self._unexpected(part, control, patched)
        if self.again and 0 < len(failing) <= _FEW:
            self._run_again(job, patched, failing)
        for test in failing if self.alone else ():
            log = self.logs / "alone" / f"{test}.log"
            again = supervisor.run(replace(job, match=[test], log=log)).tests.get(test)
            patched.tests[test].alone = again.outcome if again else Outcome.MISSING
        return control, patched

    def _run_again(self, job: Job, patched: ModuleRun, failing: Sequence[str]) -> None:
        first = {test: patched.tests[test] for test in failing}
        if any(record.outcome in (Outcome.HANG, Outcome.CRASH) for record in first.values()):
            return
        second = supervisor.run(replace(job, log=job.log.with_suffix(".again.log")))
        for test, failed in first.items():
            record = second.tests.get(test)
            if record is not None and record.outcome.passed:
                patched.tests[test] = replace(record, detail=failed.detail, second=True)

    def _unexpected(self, part: Part, control: ModuleRun, patched: ModuleRun) -> list[str]:
        return [
            test
            for test, record in control.tests.items()
            if record.outcome.passed
            and test not in self.control.flaky(part)
            and test in patched.tests
            and not patched.tests[test].outcome.passed
            and not any(row.matches(test) for row in self.rows)
        ]

    def _compared(
        self,
        module: Module,
        module_parts: Sequence[Part],
        runs: Mapping[Part, tuple[ModuleRun, ModuleRun]],
    ) -> Comparison:
        return comparison.compare(
            module.name,
            merge(module.name, [runs[part][0] for part in module_parts]),
            merge(module.name, [runs[part][1] for part in module_parts]),
            rows_for(self.where.short, module.name, self.rows) if self.layer != "none" else (),
            [test for part in module_parts for test in self.control.flaky(part)],
            complete=not self.match,
        )


def matches(test: str, patterns: Sequence[str]) -> bool:
    """As `child.py` chooses tests: a pattern of the id, or one of its parts between dots."""
    from fnmatch import fnmatchcase

    return any(fnmatchcase(test, p) or p in test.split(".") for p in patterns)
