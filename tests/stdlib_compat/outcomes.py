"""What happened to each test: the records that the supervisor keeps and the report compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any


class Outcome(str, Enum):
    """How one test ended."""

    PASS = "pass"
    #: Marked `expectedFailure` by CPython itself, and failed.
    XFAIL = "xfail"
    SKIP = "skip"
    #: Did not run at all: not loaded, or the process could not be brought to it.
    MISSING = "missing"
    #: Marked `expectedFailure`, and passed.
    XPASS = "xpass"
    FAIL = "fail"
    ERROR = "error"
    #: The process ended while the test ran.
    CRASH = "crash"
    #: No end within the time limit; the process was killed.
    HANG = "hang"

    @property
    def passed(self) -> bool:
        return self in (Outcome.PASS, Outcome.XFAIL)

    @property
    def failed(self) -> bool:
        """Worse than not having run."""
        return self not in (Outcome.PASS, Outcome.XFAIL, Outcome.SKIP, Outcome.MISSING)


@dataclass
class Record:
    """One test's outcome; `detail` is a traceback, a reason for a skip, or the stacks of a hang.

    `alone` is the outcome of the same test in a process of its own, where that was tried. `second` says that
    it passed when the module was run once more; `detail` then tells of its first failure.
    """

    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""
    alone: Outcome | None = None
    second: bool = False


@dataclass
class ModuleRun:
    """All outcomes of one test module in one layer.

    `incidents` are failures outside a test: in `tearDownClass`, at import, at the process's exit.
    """

    module: str
    layer: str
    tests: dict[str, Record] = field(default_factory=dict)
    incidents: dict[str, Record] = field(default_factory=dict)
    skipped: str = ""
    seconds: float = 0.0
    processes: int = 0
    log: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModuleRun:
        fields = dict(data)
        for name in ("tests", "incidents"):
            fields[name] = {
                test: Record(**{**record, "outcome": Outcome(record["outcome"])})
                for test, record in data[name].items()
            }
        return cls(**fields)


def merge(module: str, runs: list[ModuleRun]) -> ModuleRun:
    """The runs of a package's modules as one."""
    whole = ModuleRun(module, runs[0].layer, log=runs[0].log)
    for run in runs:
        whole.tests.update(run.tests)
        part = run.module.removeprefix(module).lstrip(".")
        for where, record in run.incidents.items():
            whole.incidents[f"{part}.{where}" if part else where] = record
        whole.seconds += run.seconds
        whole.processes += run.processes
    if all(run.skipped for run in runs):
        whole.skipped = runs[0].skipped
    return whole
