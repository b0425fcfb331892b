"""The measure and the table of expected failures, on made-up runs; and the report that shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from . import report
from .comparison import Comparison, compare
from .expected import EXPECTED, Row, rows_for
from .modules import MODULES, find
from .outcomes import ModuleRun, Outcome, Record, merge
from .report import Report

REASON = "asserts the repr of a C lock, which is ours"


def module_run(layer: str, **outcomes: Outcome) -> ModuleRun:
    run = ModuleRun("test_m", layer)
    run.tests = {
        f"test_m.C.{test}": Record(outcome, 0.1, "why") for test, outcome in outcomes.items()
    }
    return run


def compared(
    control: dict[str, Outcome],
    patched: dict[str, Outcome],
    rows: Sequence[Row] = (),
    **options: Any,
) -> Comparison:
    return compare(
        "test_m", module_run("none", **control), module_run("x", **patched), rows, **options
    )


PASS, FAIL, SKIP, HANG, CRASH = (
    Outcome.PASS,
    Outcome.FAIL,
    Outcome.SKIP,
    Outcome.HANG,
    Outcome.CRASH,
)


class TestMeasure:
    def test_share_of_what_passes_unpatched(self) -> None:
        result = compared(
            {"a": PASS, "b": Outcome.XFAIL, "c": FAIL, "d": SKIP, "e": PASS},
            {"a": PASS, "b": Outcome.XFAIL, "c": PASS, "d": SKIP, "e": FAIL},
        )
        assert (result.measured, result.passed) == (3, 2)
        assert [failure.test for failure in result.unexpected] == ["test_m.C.e"]
        assert [failure.test for failure in result.control_failures] == ["test_m.C.c"]

    @pytest.mark.parametrize("patched", [{}, {"a": SKIP}, {"a": Outcome.XPASS}])
    def test_anything_but_a_pass_is_a_failure(self, patched: dict[str, Outcome]) -> None:
        result = compared({"a": PASS}, patched)
        assert (result.measured, result.passed) == (1, 0)
        assert len(result.unexpected) == 1

    def test_flaky_tests_do_not_count(self) -> None:
        result = compared({"a": PASS, "b": PASS}, {"a": PASS, "b": FAIL}, flaky=["test_m.C.b"])
        assert (result.measured, result.passed) == (1, 1)
        assert result.flaky == ["test_m.C.b"]
        assert not result.problems

    @pytest.mark.parametrize("before", [{}, {"a": SKIP}])
    def test_failure_outside_the_measure(self, before: dict[str, Outcome]) -> None:
        result = compared(before, {"a": FAIL})
        assert (result.measured, result.passed) == (0, 0)
        assert result.problems == ["fail: test_m.C.a"]

    def test_nothing_may_hang_that_does_not_unpatched(self) -> None:
        assert compared({"a": FAIL}, {"a": HANG}).problems == ["hang: test_m.C.a"]
        assert compared({"a": HANG}, {"a": HANG}).problems == []
        assert compared({"a": FAIL}, {"a": FAIL}).problems == []

    def test_failures_outside_of_tests(self) -> None:
        control, patched = module_run("none", a=PASS), module_run("x", a=PASS)
        patched.incidents["<exit>"] = Record(HANG, 60, "stacks")
        assert compare("test_m", control, patched).problems == ["hang: test_m.<exit>"]
        control.incidents["<exit>"] = Record(HANG, 60, "stacks")
        assert compare("test_m", control, patched).problems == []

    def test_rate_is_required(self) -> None:
        names = [f"t{number}" for number in range(20)]
        control = dict.fromkeys(names, PASS)
        rows = [Row("test_m.C.t7", REASON)]
        assert compared(control, {**control, "t7": FAIL}, rows).problems == [
            "19 of 20 pass, less than 97%"
        ]


class TestExpectedFailures:
    def test_row_that_fails(self) -> None:
        rows = [Row("test_m.*.b", REASON)]
        control = {**dict.fromkeys((f"t{n}" for n in range(40)), PASS), "b": PASS}
        result = compared(control, {**control, "b": FAIL}, rows)
        assert result.problems == []
        assert [(failure.test, failure.reason) for failure in result.expected] == [
            ("test_m.C.b", REASON)
        ]
        assert result.passed == result.measured - 1

    def test_row_that_passes(self) -> None:
        result = compared({"a": PASS}, {"a": PASS}, [Row("test_m.C.a", REASON)])
        assert result.problems == ["expected.py: expected to fail, but passes: test_m.C.a"]

    def test_row_with_a_pattern_one_of_whose_tests_passes(self) -> None:
        result = compared(
            {"a1": PASS, "a2": PASS}, {"a1": PASS, "a2": FAIL}, [Row("test_m.C.a?", REASON)]
        )
        assert "expected.py: expected to fail, but passes: test_m.C.a1" in result.problems

    def test_row_that_matches_nothing(self) -> None:
        rows = [Row("test_m.C.no_such_test", REASON)]
        result = compared({"a": PASS}, {"a": PASS}, rows)
        assert result.problems == ["expected.py: no test is test_m.C.no_such_test"]
        assert compared({"a": PASS}, {"a": PASS}, rows, complete=False).problems == []

    def test_row_whose_test_is_outside_of_the_measure_here(self) -> None:
        assert compared({"a": SKIP}, {"a": SKIP}, [Row("test_m.C.a", REASON)]).problems == []

    @pytest.mark.parametrize("outcome", [HANG, CRASH])
    def test_no_row_excuses_a_hang(self, outcome: Outcome) -> None:
        result = compared({"a": PASS}, {"a": outcome}, [Row("test_m.C.a", REASON)])
        assert f"expected to fail, but not with a {outcome.value}: test_m.C.a" in result.problems

    def test_rows_for_a_module_and_version(self) -> None:
        rows = [
            Row("test_m.C.a", REASON),
            Row("test_m.C.b", REASON, ("3.10", "3.11")),
            Row("test_mm.C.a", REASON),
            Row("test_m*.C.a", REASON),
        ]
        assert rows_for("3.11", "test_m", rows) == [rows[0], rows[1], rows[3]]
        assert rows_for("3.13", "test_m", rows) == [rows[0], rows[3]]
        assert rows_for("3.13", "test_mm", rows) == [rows[2], rows[3]]

    @pytest.mark.parametrize("reason", ["", "flaky", "hangs"])
    def test_reason_is_required(self, reason: str) -> None:
        with pytest.raises(ValueError, match="needs a reason"):
            Row("test_m.C.a", reason)

    def test_rows_are_about_modules_of_the_table(self) -> None:
        for row in EXPECTED:
            assert any(row.is_about(module.name) for module in MODULES), row
            assert set(row.versions) <= {"3.10", "3.11", "3.12", "3.13", "3.14", "3.15"}, row


class TestRecords:
    def test_json(self) -> None:
        run = module_run("x", a=PASS, b=HANG)
        run.incidents["<exit>"] = Record(CRASH, 1.5, "why")
        assert ModuleRun.from_json(json.loads(json.dumps(run.to_json()))) == run

    def test_merge(self) -> None:
        runs = [ModuleRun("test_p.test_a", "x"), ModuleRun("test_p.test_b", "x")]
        for run in runs:
            run.tests[f"{run.module}.C.t"] = Record(PASS)
            run.seconds = 2.0
            run.incidents["<exit>"] = Record(HANG)
        whole = merge("test_p", runs)
        assert list(whole.tests) == ["test_p.test_a.C.t", "test_p.test_b.C.t"]
        assert list(whole.incidents) == ["test_a.<exit>", "test_b.<exit>"]
        assert whole.seconds == 4.0

    def test_names_of_modules(self) -> None:
        assert find("queue") is find("test_queue") is not None
        assert find("no_such_module") is None


class TestReport:
    @pytest.fixture
    def one(self) -> Report:
        control = {
            **dict.fromkeys((f"t{n}" for n in range(1998)), PASS),
            "u": PASS,
            "e": PASS,
            "s": SKIP,
        }
        row = compared(control, {**control, "u": FAIL, "e": FAIL}, [Row("test_m.C.e", REASON)])
        absent = Comparison("test_gone", absent="removed from Python after 3.11")
        return Report("3.12.1", "greenify", [row, absent])

    def test_text(self, one: Report) -> None:
        assert "2001 tests   2000 pass unpatched   1998 patched    99.9%" in report.line(
            one.rows[0]
        )
        assert "1 unexpected  1 expected" in report.line(one.rows[0])
        assert report.line(one.rows[1]).endswith("removed from Python after 3.11")
        assert report.total(one).startswith("Python 3.12.1: 1998 of 2000 tests")
        assert any("test_m.C.u" in text for text in report.details(one.rows[0]))
        assert one.problems == ["test_m: fail: test_m.C.u"]

    def test_rate_over_all_modules(self, one: Report) -> None:
        control = dict.fromkeys((f"t{n}" for n in range(1000)), PASS)
        patched = {**control, **dict.fromkeys((f"t{n}" for n in range(29)), FAIL)}
        row = compared(control, patched, [Row("test_m.C.t*", REASON)])
        assert "29 of 2000 pass" not in "".join(Report("3.12.1", "greenify", [row]).problems)
        assert any("971 of 1000" in p for p in Report("3.12.1", "greenify", [row]).problems)

    def test_more_is_asked_of_all_modules_than_of_some(self) -> None:
        control = dict.fromkeys((f"t{n}" for n in range(1000)), PASS)
        patched = {**control, **dict.fromkeys((f"t{n}" for n in range(3)), FAIL)}
        row = compared(control, patched, [Row("test_m.C.t[0-2]", REASON)])
        some, whole = (Report("3.12.1", "greenify", [row], yes).problems for yes in (False, True))
        assert some == []
        assert whole == ["997 of 1000 pass, less than 99.8%"]

    def test_json(self, one: Report) -> None:
        data = json.loads(json.dumps(report.to_data(one)))
        assert (data["measured"], data["passed"], data["rate"]) == (2000, 1998, 0.999)
        module, absent = data["modules"]
        assert module["expected_failures"] == [
            {"test": "test_m.C.e", "outcome": "fail", "detail": "why", "reason": REASON}
        ]
        assert absent == {"module": "test_gone", "absent": "removed from Python after 3.11"}

    def test_markdown(self, one: Report) -> None:
        page = report.to_markdown([report.to_data(one)], "the command")
        assert "| test_m | 2001 | 2000 | 1998 | 1 | 99.9% |" in page
        assert "| test_gone | removed from Python after 3.11 |" in page
        assert f"- `test_m.C.e`: {REASON}" in page
        assert "- `test_m.C.u`: fail" in page
        assert "`the command`" in page
