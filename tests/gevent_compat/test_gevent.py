"""gevent's tests of the loop itself on our loop, one pytest test for each module: ``pytest -m gevent``.

All of gevent's modules: ``make gevent-compat``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.gevent_compat.comparison import complaint, dead_rows
from tests.gevent_compat.expected import EXPECTED
from tests.gevent_compat.modules import CONTROL, LOOP_CORE, OURS, available
from tests.gevent_compat.running import Outcome, attempt

# Seconds for one module; the longest needs 30 on an idle machine.
_LIMIT = 75.0

Both = tuple[Outcome | None, Outcome]


def _run(module: str) -> Both:
    ours = attempt(module, OURS, timeout=_LIMIT)
    # The control is asked only about what fails.
    return (None if ours.ended == "ok" else attempt(module, CONTROL, timeout=_LIMIT)), ours


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Both]]]:
    """What has been collected is run two at a time; the longest first."""
    wanted = {
        item.callspec.params["module"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "outcomes" in item.fixturenames
    }
    order = sorted(wanted, key=lambda module: module != "test__pool")
    with ThreadPoolExecutor(2) as pool:
        yield {module: pool.submit(_run, module) for module in order}


@pytest.mark.gevent
@pytest.mark.parametrize("module", LOOP_CORE)
def test_module(module: str, outcomes: dict[str, Future[Both]]) -> None:
    control, ours = outcomes[module].result()
    why = complaint(module, control, ours, EXPECTED)
    assert why is None, f"{why}\n{ours.output}"


def test_the_tables_name_what_exists() -> None:
    modules = available()
    assert len(modules) > 100
    assert set(LOOP_CORE) <= set(modules)
    assert dead_rows(EXPECTED, modules) == []
    assert len(EXPECTED) <= 3


def outcome(ended: str = "ok", *failed: str, ran: int = 5) -> Outcome:
    return Outcome(ended, frozenset(failed), ran, 0, 0.1, "")


class TestComplaint:
    def test_a_module_that_passes(self) -> None:
        assert complaint("m", outcome(), outcome(), {}) is None

    def test_one_that_fails_on_ours_only(self) -> None:
        why = complaint("m", outcome(), outcome("failed", "T.a"), {})
        assert why == "fails on ours only: ['T.a']"

    def test_one_that_fails_on_both(self) -> None:
        assert complaint("m", outcome("failed", "T.a"), outcome("failed", "T.a"), {}) is None

    def test_one_in_which_more_fails_on_ours(self) -> None:
        why = complaint("m", outcome("failed", "T.a"), outcome("failed", "T.a", "T.b"), {})
        assert why == "fails on ours only: ['T.b']"

    def test_one_that_hangs_on_ours(self) -> None:
        why = complaint("m", outcome(), outcome("timeout", ran=0), {})
        assert why == "ends with timeout on ours, ok on the control"

    def test_one_that_dies_on_ours(self) -> None:
        why = complaint("m", outcome("failed", "T.a"), outcome("SIGABRT", "T.a"), {})
        assert why == "ends with SIGABRT on ours, failed on the control"

    def test_a_script_that_fails_on_ours_only(self) -> None:
        why = complaint("m", outcome(ran=0), outcome("failed", ran=0), {})
        assert why == "ends with failed on ours, ok on the control"

    def test_one_that_is_expected_to_fail(self) -> None:
        rows = {"m": (frozenset({"T.a"}), "for a reason")}
        assert complaint("m", outcome(), outcome("failed", "T.a"), rows) is None

    def test_a_row_that_passes(self) -> None:
        rows = {"m": (frozenset({"T.a"}), "for a reason")}
        why = complaint("m", outcome(), outcome(), rows)
        assert why is not None
        assert "delete the row" in why

    def test_a_row_that_matches_nothing(self) -> None:
        rows = {"gone": (frozenset({"T.a"}), "for a reason")}
        assert dead_rows(rows, ["m"]) == ["gone"]
