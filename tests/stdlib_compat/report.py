"""The table of a run as text, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .comparison import MODULE_RATE, TOTAL_RATE, WHOLE_RATE, Comparison, Failure
from .outcomes import Outcome


@dataclass(frozen=True)
class Report:
    """All chosen modules of one interpreter; `whole` if those are all that there are, or the core of them."""

    version: str
    layer: str
    rows: Sequence[Comparison]
    whole: bool = False

    @property
    def measured(self) -> int:
        return sum(row.measured for row in self.rows)

    @property
    def passed(self) -> int:
        return sum(row.passed for row in self.rows)

    @property
    def rate(self) -> float:
        return self.passed / self.measured if self.measured else 1.0

    @property
    def problems(self) -> list[str]:
        found = [f"{row.module}: {problem}" for row in self.rows for problem in row.problems]
        least = WHOLE_RATE if self.whole else TOTAL_RATE
        if self.rate < least:
            found.append(f"{self.passed} of {self.measured} pass, less than {least:.1%}")
        return found


def line(row: Comparison) -> str:
    """One module as a line of text."""
    if row.absent:
        return f"{row.module:36} {row.absent}"
    assert row.control is not None and row.patched is not None
    if row.control.skipped:
        return f"{row.module:36} skips itself, unpatched: {row.control.skipped}"
    parts = [
        f"{row.module:36}",
        f"{len(row.control.tests):5} tests",
        f"{row.measured:5} pass unpatched",
        f"{row.passed:5} patched",
        f"{_percent(row.rate):>7}",
        f"{row.control.seconds:6.1f} s -> {row.patched.seconds:6.1f} s",
    ]
    for outcome, noun in ((Outcome.HANG, "hangs"), (Outcome.CRASH, "crashes")):
        if row.count(outcome):
            parts.append(f"{row.count(outcome)} {noun}")
    for list_, noun in (
        (row.unexpected, "unexpected"),
        (row.expected, "expected"),
        (row.control_failures, "fail unpatched"),
        (row.flaky, "flaky unpatched"),
        (_second(row), "in a second run"),
    ):
        if list_:
            parts.append(f"{len(list_)} {noun}")
    return "  ".join(parts)


def _second(row: Comparison) -> list[str]:
    """The tests that have passed only when the module was run once more."""
    assert row.patched is not None
    return [test for test, record in row.patched.tests.items() if record.second]


def details(row: Comparison, tracebacks: bool = False) -> Iterable[str]:
    """What went wrong in a module; with `tracebacks`, everything that is known of it.

    Tests that did not run are many at a time, for one reason: they are counted only.
    """
    missing = [failure for failure in row.unexpected if failure.record.outcome is Outcome.MISSING]
    few = len(missing) <= 3
    for failure in row.unexpected:
        if failure.record.outcome is Outcome.MISSING and not few:
            continue
        alone = f"  (alone: {failure.record.alone.value})" if failure.record.alone else ""
        yield f"    {failure.record.outcome.value.upper():7} {failure.test}{alone}"
        yield from _explain(failure, tracebacks)
    if not few:
        yield f"    MISSING {len(missing)} tests, from {missing[0].test} on"
    for test in _second(row) if row.patched is not None else ():
        yield f"    SECOND  {test}"
        assert row.patched is not None
        yield f"            {_last_line(row.patched.tests[test].detail)}"
    for complaint in row.complaints:
        yield f"    PROBLEM {complaint}"
    if tracebacks:
        for failure in row.expected:
            yield f"    expected {failure.record.outcome.value}: {failure.test} ({failure.reason})"
        for failure in row.control_failures:
            yield f"    fails unpatched: {failure.test}: {_last_line(failure.record.detail)}"
        for test in row.flaky:
            yield f"    flaky unpatched: {test}"


def _explain(failure: Failure, tracebacks: bool) -> Iterable[str]:
    if tracebacks:
        yield from ("        | " + text for text in failure.record.detail.splitlines())
    elif failure.record.outcome not in (Outcome.HANG, Outcome.CRASH):
        yield f"            {_last_line(failure.record.detail)}"
    else:
        yield f"            {failure.record.detail.partition(chr(10))[0]}"


def total(report: Report) -> str:
    return (
        f"Python {report.version}: {report.passed} of {report.measured} tests that pass unpatched pass "
        f"with {report.layer}: {_percent(report.rate)}"
    )


def to_data(report: Report) -> dict[str, Any]:
    """Everything of a report, to be written as JSON; `to_markdown` makes the page of it."""
    return {
        "python": report.version,
        "layer": report.layer,
        "measured": report.measured,
        "passed": report.passed,
        "rate": report.rate,
        "problems": report.problems,
        "modules": [_row_data(row) for row in report.rows],
    }


def _row_data(row: Comparison) -> dict[str, Any]:
    if row.absent:
        return {"module": row.module, "absent": row.absent}
    assert row.control is not None and row.patched is not None
    if row.control.skipped:
        return {"module": row.module, "absent": f"skips itself: {row.control.skipped}"}
    return {
        "module": row.module,
        "tests": len(row.control.tests),
        "pass_unpatched": row.measured,
        "pass_patched": row.passed,
        "rate": row.rate,
        "seconds_unpatched": round(row.control.seconds, 2),
        "seconds_patched": round(row.patched.seconds, 2),
        "expected_failures": _failure_data(row.expected),
        "unexpected_failures": _failure_data(row.unexpected),
        "fail_unpatched": _failure_data(row.control_failures),
        "flaky_unpatched": row.flaky,
        "second_run": _second(row),
        "table_complaints": row.table,
    }


def _failure_data(failures: Sequence[Failure]) -> list[dict[str, str]]:
    return [
        {
            "test": failure.test,
            "outcome": failure.record.outcome.value,
            # The rest is in the logs.
            "detail": _last_line(failure.record.detail),
            "reason": failure.reason,
        }
        for failure in failures
    ]


def to_markdown(reports: Sequence[Mapping[str, Any]], command: str) -> str:
    """The page: a table and lists of failures for each of `reports`, which `to_data` made."""
    text = [
        "# CPython's own tests under greenify",
        "",
        f"Written by `{command}`. Of the tests that pass unpatched on the machine that wrote this, "
        "the rate is the share that passes patched, expected failures counted as failures. At least "
        f"{MODULE_RATE:.0%} in each module and {WHOLE_RATE:.1%} over all are required, and no hang "
        "and no crash; the expected failures and their reasons are in [expected.py](expected.py).",
    ]
    text += ["", "| Python | tests | pass unpatched | pass patched | expected failures | rate |"]
    text += ["|---|---:|---:|---:|---:|---:|"]
    for report in reports:
        tests, expected = _totals(report)
        text.append(
            f"| {report['python']} | {tests} | {report['measured']} | {report['passed']} "
            f"| {expected} | **{_percent(report['rate'])}** |"
        )
    for report in reports:
        text += ["", f"## Python {report['python']}", ""]
        text += _markdown_table(report)
        text += _markdown_lists(report["modules"])
    return "\n".join(text) + "\n"


def to_text(reports: Sequence[Mapping[str, Any]]) -> str:
    """The tables of `to_markdown` for a terminal."""
    text = []
    for report in reports:
        text.append(f"Python {report['python']}")
        text.append(
            f"{'module':36} {'tests':>6} {'unpatched':>9} {'patched':>7} {'expected':>8}   rate"
        )
        for row in report["modules"]:
            if "absent" in row:
                text.append(f"{row['module']:36} {row['absent']}")
                continue
            text.append(
                f"{row['module']:36} {row['tests']:6} {row['pass_unpatched']:9} {row['pass_patched']:7} "
                f"{len(row['expected_failures']):8} {_percent(row['rate'])}"
            )
        tests, expected = _totals(report)
        text.append(
            f"{'all':36} {tests:6} {report['measured']:9} {report['passed']:7} {expected:8} "
            f"{_percent(report['rate'])}"
        )
        text.append("")
    return "\n".join(text)


def _totals(report: Mapping[str, Any]) -> tuple[int, int]:
    """How many tests there are, and how many expected failures."""
    rows = [row for row in report["modules"] if "absent" not in row]
    return sum(row["tests"] for row in rows), sum(len(row["expected_failures"]) for row in rows)


def _markdown_table(report: Mapping[str, Any]) -> Iterable[str]:
    yield "| module | tests | pass unpatched | pass patched | expected failures | rate | seconds |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    tests, expected = _totals(report)
    for row in report["modules"]:
        if "absent" in row:
            yield f"| {row['module']} | {row['absent']} | | | | | |"
            continue
        yield (
            f"| {row['module']} | {row['tests']} | {row['pass_unpatched']} | {row['pass_patched']} "
            f"| {len(row['expected_failures'])} | {_percent(row['rate'])} "
            f"| {row['seconds_unpatched']:.0f} -> {row['seconds_patched']:.0f} |"
        )
    yield (
        f"| **all** | {tests} | {report['measured']} | {report['passed']} | {expected} "
        f"| **{_percent(report['rate'])}** | |"
    )


_LISTS = {
    "expected_failures": "Expected failures",
    "unexpected_failures": "Unexpected failures",
    "fail_unpatched": "Out of the measure: fail unpatched on this machine",
    "second_run": "Passed only when the module was run once more",
    "flaky_unpatched": "Out of the measure: pass only sometimes unpatched",
}


def _markdown_lists(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    for key, heading in _LISTS.items():
        items = [item for row in rows for item in row.get(key, ())]
        if items:
            yield from ("", f"{heading}:", "")
            yield from (_markdown_item(item) for item in items)


def _markdown_item(item: str | Mapping[str, str]) -> str:
    if isinstance(item, str):
        return f"- `{item}`"
    return f"- `{item['test']}`: {item['reason'] or item['outcome']}"


def _percent(rate: float) -> str:
    # Never rounded up: 99.96 % is not all of them.
    return f"{int(rate * 1000) / 10:.1f}%"


def _last_line(detail: str) -> str:
    lines = detail.strip().splitlines()
    return lines[-1].strip() if lines else ""
