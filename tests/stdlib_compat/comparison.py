"""Compares a module's patched run with its control and with the table of expected failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .expected import Row
from .outcomes import ModuleRun, Outcome, Record

#: The least share of the control's passing tests that must pass patched: in each module, over any choice of
#: them, and over all or the core of them, where one expected failure does not weigh so much.
MODULE_RATE = 0.97
TOTAL_RATE = 0.99
WHOLE_RATE = 0.998


@dataclass(frozen=True)
class Failure:
    test: str
    record: Record
    #: What the same test did in the control; None where it wasn't there.
    control: Outcome | None
    reason: str = ""


@dataclass
class Comparison:
    """One row of the table. `measured` are the tests that pass in the control, `passed` those of them that
    pass patched too."""

    module: str
    absent: str = ""
    control: ModuleRun | None = None
    patched: ModuleRun | None = None
    measured: int = 0
    passed: int = 0
    unexpected: list[Failure] = field(default_factory=list)
    expected: list[Failure] = field(default_factory=list)
    #: Complaints about the table of expected failures.
    table: list[str] = field(default_factory=list)
    #: Tests that fail in the control: outside of the measure.
    control_failures: list[Failure] = field(default_factory=list)
    #: Tests that pass in the control sometimes: outside of the measure, too.
    flaky: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.passed / self.measured if self.measured else 1.0

    def count(self, outcome: Outcome) -> int:
        return sum(failure.record.outcome is outcome for failure in self.unexpected + self.expected)

    @property
    def problems(self) -> list[str]:
        """Why the module does not pass; empty where it does."""
        failures = [
            f"{failure.record.outcome.value}: {failure.test}" for failure in self.unexpected
        ]
        return failures + self.complaints

    @property
    def complaints(self) -> list[str]:
        """The problems that are no unexpected failures."""
        found = list(self.table)
        hangs = [f for f in self.expected if f.record.outcome in (Outcome.HANG, Outcome.CRASH)]
        found += [
            f"expected to fail, but not with a {f.record.outcome.value}: {f.test}" for f in hangs
        ]
        if self.rate < MODULE_RATE:
            found.append(f"{self.passed} of {self.measured} pass, less than {MODULE_RATE:.0%}")
        return found


def compare(
    module: str,
    control: ModuleRun,
    patched: ModuleRun,
    rows: Sequence[Row] = (),
    flaky: Sequence[str] = (),
    complete: bool = True,
) -> Comparison:
    """`rows` are those about this module and version. With `complete=False` (a selection of tests
    was run) a row that matches nothing is no complaint."""
    result = Comparison(module, control=control, patched=patched)
    matched: set[Row] = set()
    for test in {**control.tests, **patched.tests}:
        row = next((row for row in rows if row.matches(test)), None)
        if row is not None:
            matched.add(row)
        _judge(result, test, row, test in flaky)
    for where, record in patched.incidents.items():
        name = f"{module}.{where}"
        row = next((row for row in rows if row.matches(name)), None)
        if row is not None:
            matched.add(row)
        if where not in control.incidents:
            failure = Failure(name, record, None, row.reason if row else "")
            (result.expected if row else result.unexpected).append(failure)
    for where, record in control.incidents.items():
        result.control_failures.append(Failure(f"{module}.{where}", record, record.outcome))
    if complete:
        result.table += [
            f"expected.py: no test is {row.test}" for row in rows if row not in matched
        ]
    return result


def _judge(result: Comparison, test: str, row: Row | None, flaky: bool) -> None:
    assert result.control is not None and result.patched is not None
    before = result.control.tests.get(test)
    after = result.patched.tests.get(test)
    if after is None:
        after = Record(Outcome.MISSING, 0.0, "not among the tests that were loaded")
    if flaky:
        result.flaky.append(test)
    elif before is not None and before.outcome.passed:
        result.measured += 1
        if after.outcome.passed:
            result.passed += 1
            if row is not None:
                result.table.append(f"expected.py: expected to fail, but passes: {test}")
            return
        failure = Failure(test, after, before.outcome, row.reason if row else "")
        (result.expected if row else result.unexpected).append(failure)
        return
    elif before is not None and before.outcome.failed:
        result.control_failures.append(Failure(test, before, before.outcome))
    # Outside of the measure; but nothing may fail that is skipped in the control, say, and nothing
    # may hang or crash.
    known = before.outcome if before is not None else Outcome.MISSING
    worse = after.outcome.failed and not known.failed
    ended = after.outcome in (Outcome.HANG, Outcome.CRASH) and after.outcome is not known
    if not flaky and (worse or ended):
        failure = Failure(test, after, known, row.reason if row else "")
        (result.expected if row else result.unexpected).append(failure)
