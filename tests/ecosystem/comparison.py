"""Compare how a project's tests went with threads and under greenify, test by test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

__all__ = ["Outcomes", "Verdict", "compare", "differing", "node_id", "read_junit"]

#: How each test went, by its node id: "passed", "failed", "error" or "skipped".
Outcomes = dict[str, str]

_WORST_FIRST = ("error", "failed", "passed", "skipped")
_OF_TAG = {"error": "error", "failure": "failed", "skipped": "skipped"}


@dataclass(frozen=True)
class Verdict:
    """What the comparison of one project found.

    Attributes:
        worse: passes with threads and not under greenify, twice, and has no row.
        unsteady: differed in the whole run, and not when it was repeated by itself.
        expected: the tests that differ and have a row.
        dead: rows that match no test, or only tests that pass under greenify.
    """

    worse: tuple[str, ...]
    unsteady: tuple[str, ...]
    expected: tuple[str, ...]
    dead: tuple[str, ...]

    @property
    def wrong(self) -> bool:
        return bool(self.worse or self.dead)


def node_id(classname: str, name: str, root: Path) -> str:
    """pytest's node id of a test, from what its junit file says of it.

    Args:
        classname: the path of the file and the classes in it, joined by dots.
        root: the folder that the path starts from.
    """
    parts = classname.split(".")
    for length in range(len(parts), 0, -1):
        file = "/".join(parts[:length]) + ".py"
        if (root / file).is_file():
            return "::".join((file, *parts[length:], name))
    return f"{classname}::{name}"


def read_junit(file: Path, root: Path) -> Outcomes:
    """The outcomes in a junit file of pytest's; none if the run did not get to write it.

    A test that is named twice (it passes and its teardown fails) counts as the worse of the two.
    """
    outcomes: Outcomes = {}
    if not file.exists():
        return outcomes
    for case in ElementTree.parse(file).iter("testcase"):
        test = node_id(case.get("classname", ""), case.get("name", ""), root)
        found = [_OF_TAG[child.tag] for child in case if child.tag in _OF_TAG] or ["passed"]
        if test in outcomes:
            found.append(outcomes[test])
        outcomes[test] = min(found, key=_WORST_FIRST.index)
    return outcomes


def differing(control: Outcomes, green: Outcomes) -> list[str]:
    """The tests that pass with threads and do not pass, or do not run, under greenify."""
    return [
        test
        for test, outcome in control.items()
        if outcome == "passed" and green.get(test) != "passed"
    ]


def compare(
    control: Outcomes,
    green: Outcomes,
    rows: Iterable[str] | Mapping[str, str],
    again: tuple[Outcomes, Outcomes] | None = None,
) -> Verdict:
    """Judge a project.

    Args:
        control: the whole run with threads.
        green: the whole run under greenify.
        rows: what is expected to differ.
        again: the tests that differ and have no row, run once more by themselves (with threads, under
            greenify); None if that was not done, and then all of them count.
    """
    names = tuple(rows)
    differ = differing(control, green)
    expected = [test for test in differ if any(_matches(row, test) for row in names)]
    new = [test for test in differ if test not in expected]
    worse = new if again is None else [t for t in new if _still_differs(t, *again)]
    dead = [
        row
        for row in names
        if all(green.get(test) == "passed" for test in control if _matches(row, test))
    ]
    return Verdict(
        worse=tuple(worse),
        unsteady=tuple(test for test in new if test not in worse),
        expected=tuple(expected),
        dead=tuple(dead),
    )


def _still_differs(test: str, control: Outcomes, green: Outcomes) -> bool:
    # What the second run lost altogether is not excused by it.
    return green.get(test) != "passed" and control.get(test) in ("passed", None)


def _matches(row: str, test: str) -> bool:
    return test == row or test.startswith((row + "[", row + "::"))
