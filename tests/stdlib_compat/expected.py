"""The tests that can't pass under greenify, each with a reason that a reader can check.

A row that matches no test, or matches one that passes, fails the run. "Flaky" is not a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Row:
    """`test` is an id as the report prints it (`*`, `?` and `[...]` as in file names).

    `versions` are those of Python that the row is about, all of them where it is empty.
    """

    test: str
    reason: str
    versions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.reason) < 20:
            raise ValueError(f"the row {self.test!r} needs a reason that a reader can check")

    def applies(self, version: str) -> bool:
        return not self.versions or version in self.versions

    def matches(self, test: str) -> bool:
        return fnmatchcase(test, self.test)

    def is_about(self, module: str) -> bool:
        """Whether it names tests of that module; its first part may be a pattern, too."""
        return fnmatchcase(module.split(".")[0], self.test.split(".")[0])


EXPECTED: tuple[Row, ...] = ()


def rows_for(version: str, module: str, rows: Iterable[Row] = EXPECTED) -> list[Row]:
    return [row for row in rows if row.applies(version) and row.is_about(module)]
