"""How often the watch looks: by the ticker's thread, for stays of any length."""

from __future__ import annotations

from math import inf

import pytest

import greenify.core
from greenify.watching import looking


class _Counting(looking.Looker):
    def __init__(self, seconds: float, alarm: float) -> None:
        told: list[looking.Stay] = []
        super().__init__(greenify.core.get_hub(), seconds, seconds, alarm, told.append)
        self.looks: list[float] = []

    def _look(self, due: float) -> None:
        self.looks.append(due)


@pytest.mark.parametrize(
    ("seconds", "alarm", "number"),
    [(0.02, inf, 100), (1.0, inf, 100), (10.0, inf, 10), (10.0, 5.0, 20), (1000.0, inf, 1)],
)
def test_the_longer_the_stay_the_fewer_looks(
    monkeypatch: pytest.MonkeyPatch, seconds: float, alarm: float, number: int
) -> None:
    looker = _Counting(seconds, alarm)
    now = 0.0
    monkeypatch.setattr(looking, "_monotonic", lambda: now)
    try:
        for tick in range(100):
            now = 1000 + tick * 0.01001
            looker.look(tick, False, now)
        assert len(looker.looks) == number
        # One that comes late may be the first after a call that has kept the interpreter.
        now += seconds
        looker.look(100, False, now - 0.6 * seconds)
        assert len(looker.looks) == number + 1
        # And what is to be told now is.
        looker._flushes.append(None)
        looker.look(101, False, now)
        assert len(looker.looks) == number + 2
    finally:
        looker.close()
