"""Compare how a module went on both loops."""

from __future__ import annotations

from collections.abc import Mapping

from tests.gevent_compat.running import Outcome

__all__ = ["complaint", "dead_rows"]

Rows = Mapping[str, tuple[frozenset[str], str]]


def complaint(module: str, control: Outcome | None, ours: Outcome, expected: Rows) -> str | None:
    """What is wrong with `module` on our loop, in words; None if it does all that the control does.

    Args:
        control: how it went on libev; None if that has not been run because ours passed.
        expected: the rows of `expected.EXPECTED`.
    """
    row = expected.get(module)
    if row is not None:
        missing = row[0] - ours.failed
        if ours.ended == "ok" or missing:
            return f"is expected to fail and passes: {sorted(missing) or 'all'}; delete the row"
    if ours.ended == "ok":
        return None
    allowed = set(row[0]) if row is not None else set()
    if control is not None and control.ended != "ok":
        if not control.failed and not control.ran:
            return None  # no unittest, and it fails on libev too
        allowed |= control.failed
        if control.ended == ours.ended and control.failed == ours.failed:
            return None
    new = ours.failed - allowed
    if new:
        return f"fails on ours only: {sorted(new)}"
    if ours.ended == "failed" and ours.failed:
        return None
    return f"ends with {ours.ended} on ours, {control.ended if control else '?'} on the control"


def dead_rows(expected: Rows, modules: list[str]) -> list[str]:
    """The rows that match no module."""
    return sorted(set(expected) - set(modules))
