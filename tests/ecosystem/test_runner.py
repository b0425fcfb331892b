"""The runner of other projects' tests: comparing, reading what pytest writes, the table. No network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.ecosystem.__main__ import describe, judge, record
from tests.ecosystem.comparison import compare, differing, node_id, read_junit
from tests.ecosystem.projects import PROJECTS, Project
from tests.ecosystem.running import Run, Setting, run_tests

PROGRAM = """
import threading
import greenify
import pytest

class TestBoth:
    @pytest.mark.parametrize("value", ["a", "b.c", "d::e"])
    def test_same(self, value):
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()

def test_native():
    assert not greenify.is_patched("time"), "this is patched"

def test_fails():
    assert False

def test_skipped():
    pytest.skip("as it is")

@pytest.fixture
def teardown_fails():
    yield
    assert False

def test_end(teardown_fails):
    pass
"""


# Of this environment; they only take time.
QUICK = ("-p", "no:anyio", "-p", "no:hypothesispytest", "-p", "no:xdist")


class TestCompare:
    def test_what_passes_with_threads_has_to_pass(self) -> None:
        control = {"a": "passed", "b": "passed", "c": "passed", "d": "passed", "e": "failed"}
        green = {"a": "passed", "b": "failed", "c": "skipped", "e": "passed"}
        assert differing(control, green) == ["b", "c", "d"]
        verdict = compare(control, green, {})
        assert verdict.worse == ("b", "c", "d")
        assert verdict.wrong

    def test_the_same_is_right(self) -> None:
        outcomes = {"a": "passed", "b": "failed", "c": "skipped", "d": "error"}
        verdict = compare(outcomes, outcomes, {})
        assert not verdict.wrong
        assert verdict.worse == verdict.unsteady == verdict.expected == verdict.dead == ()

    @pytest.mark.parametrize("row", ["f.py::T::test[x]", "f.py::T::test", "f.py::T", "f.py"])
    def test_a_row_excuses_a_test_its_class_or_its_file(self, row: str) -> None:
        control = {"f.py::T::test[x]": "passed", "f.py::T::tester": "passed"}
        green = {"f.py::T::test[x]": "failed", "f.py::T::tester": "passed"}
        verdict = compare(control, green, {row: "the reason"})
        assert verdict.expected == ("f.py::T::test[x]",)
        assert not verdict.wrong

    def test_a_row_excuses_no_other_test(self) -> None:
        control = {"f.py::test": "passed", "f.py::tester": "passed"}
        green = {"f.py::test": "failed", "f.py::tester": "failed"}
        assert compare(control, green, {"f.py::test": "the reason"}).worse == ("f.py::tester",)

    @pytest.mark.parametrize("row", ["f.py::test", "f.py::gone"])
    def test_a_row_that_passes_or_matches_nothing_is_wrong(self, row: str) -> None:
        outcomes = {"f.py::test": "passed"}
        verdict = compare(outcomes, outcomes, {row: "the reason"})
        assert verdict.dead == (row,)
        assert verdict.wrong

    def test_a_row_that_fails_in_both_stays(self) -> None:
        outcomes = {"f.py::test": "failed"}
        assert compare(outcomes, outcomes, {"f.py::test": "the reason"}).dead == ()

    @pytest.mark.parametrize(
        ("control_again", "green_again", "worse"),
        [
            ("passed", "failed", True),
            ("passed", "passed", False),
            ("failed", "failed", False),
            ("passed", None, True),
            (None, None, True),
        ],
    )
    def test_what_differs_once_only_is_unsteady(
        self, control_again: str | None, green_again: str | None, worse: bool
    ) -> None:
        again = (
            {"a": control_again} if control_again else {},
            {"a": green_again} if green_again else {},
        )
        verdict = compare({"a": "passed"}, {"a": "failed"}, {}, again)
        assert verdict.worse == (("a",) if worse else ())
        assert verdict.unsteady == (() if worse else ("a",))


class TestNodeId:
    def test_the_file_ends_where_there_is_one(self, tmp_path: Path) -> None:
        (tmp_path / "tests" / "sub").mkdir(parents=True)
        (tmp_path / "tests" / "sub" / "test_x.py").touch()
        found = node_id("tests.sub.test_x.TestA.TestB", "test_y[1.2::z]", tmp_path)
        assert found == "tests/sub/test_x.py::TestA::TestB::test_y[1.2::z]"

    def test_without_a_file_it_stays_as_it_is(self, tmp_path: Path) -> None:
        assert node_id("gone.TestA", "test_y", tmp_path) == "gone.TestA::test_y"


class TestRunning:
    def test_a_project(self, tmp_path: Path) -> None:
        (tmp_path / "test_it.py").write_text(PROGRAM)
        project = Project("it", "1", ("test_it.py",), options=QUICK)
        setting = Setting(Path(sys.executable), tmp_path, tmp_path, "")
        control, green, verdict = judge(project, setting, timeout=100)
        same = {f"test_it.py::TestBoth::test_same[{value}]" for value in ("a", "b.c", "d::e")}
        assert control.outcomes == {
            **dict.fromkeys(same, "passed"),
            "test_it.py::test_native": "passed",
            "test_it.py::test_fails": "failed",
            "test_it.py::test_skipped": "skipped",
            "test_it.py::test_end": "error",
        }
        assert green.outcomes == {**control.outcomes, "test_it.py::test_native": "failed"}
        assert verdict.worse == ("test_it.py::test_native",)
        assert control.code == green.code == 1
        # The second, shorter run was of that test only.
        assert set(read_junit(tmp_path / "green-again.xml", tmp_path)) == set(verdict.worse)
        assert "this is patched" in green.log.read_text()
        assert describe(control, green, verdict) == "1 fail under greenify only"

    def test_a_run_without_an_end_has_no_outcomes(self, tmp_path: Path) -> None:
        (tmp_path / "test_it.py").write_text("import time\ndef test_long(): time.sleep(1000)\n")
        project = Project("it", "1", ("test_it.py",), options=QUICK)
        setting = Setting(Path(sys.executable), tmp_path, tmp_path, "")
        run = run_tests(project, setting, green=False, timeout=0.5)
        assert run.outcomes == {}
        assert run.code is None
        assert str(run).startswith("no end")


class TestRecord:
    PAGE = "# Title\n\n| project | a |\n|---|---|\n| one 1 | 3.11.2 | old |\n\nMore.\n"

    def run(self) -> Run:
        return Run(
            {"a": "passed", "b": "failed", "c": "error", "d": "skipped"}, 1, 2.0, Path("log")
        )

    def test_a_line_is_replaced(self) -> None:
        page = record(
            self.PAGE, Project("one", "2", ()), "3.11", self.run(), self.run(), "the same"
        )
        line = "| one 2 | 3.11 | 1 passed, 2 failed | 1 passed, 2 failed | the same |"
        assert page == self.PAGE.replace("| one 1 | 3.11.2 | old |", line)

    def test_another_python_has_a_line_of_its_own(self) -> None:
        page = self.PAGE.replace("More", "More.")
        for python in ("3.13.0", "3.13.1", "3.12.0"):
            page = record(page, Project("one", "2", ()), python, self.run(), self.run(), "the same")
        lines = page.splitlines()
        assert [line.split(" | ")[1] for line in lines[4:7]] == ["3.11.2", "3.13.1", "3.12.0"]
        assert lines[7] == ""

    def test_a_line_is_added(self) -> None:
        page = record(self.PAGE, Project("on", "2", ()), "3.11", self.run(), self.run(), "the same")
        assert page.splitlines()[5].startswith("| on 2 |")
        assert "| one 1 | 3.11.2 | old |" in page


def test_rows_are_whole() -> None:
    names = [project.name for project in PROJECTS]
    assert len(set(names)) == len(names)
    for project in PROJECTS:
        assert project.tests
        assert all(project.expected.values())
