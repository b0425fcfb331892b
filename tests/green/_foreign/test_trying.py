"""Trying again: at once, until the deadline, and with nothing left behind by whoever is interrupted."""

from __future__ import annotations

import pytest

from tests.green._foreign.foreign import run


@pytest.mark.smoke
def test_results_and_attempts() -> None:
    run("""
left = [NOT_YET, NOT_YET, NOT_YET, None]
assert try_again(lambda: left.pop(0)) is None and left == []

def fail():
    raise KeyError(len(calls))
calls = []
try:
    try_again(fail)
except KeyError:
    pass
else:
    raise AssertionError
""")


def test_the_others_run_between() -> None:
    run("""
held = [True]
def release():
    held.clear()
thread = start(release)
assert try_again(lambda: NOT_YET if held else "got it") == "got it"
""")


def test_pauses_grow_and_end_at_the_deadline() -> None:
    run("""
from greenify.green._foreign import trying
pauses, now = [], [0.0]
def sleep(seconds):
    pauses.append(seconds)
    now[0] += seconds
trying.core = type("core", (), {"sleep": staticmethod(sleep)})
trying._monotonic = lambda: now[0]
attempts = []
assert try_again(lambda: attempts.append(now[0]) or NOT_YET, deadline=0.05) is NOT_YET
assert pauses[:4] == [0.0, 0.0002, 0.0004, 0.0008] and max(pauses) == 0.01
# The last one is at the deadline; none comes after it.
assert abs(attempts[-1] - 0.05) < 1e-9 and len(attempts) == len(pauses) + 1
now[0] = 1.0
attempts.clear()
assert try_again(lambda: attempts.append(1) or NOT_YET, deadline=0.5) is NOT_YET
assert attempts == [1]
""")


@pytest.mark.parametrize("how", ["kill", "timeout", "signal"])
def test_interrupted(how: str) -> None:
    run(f"""
attempts = []
def attempt():
    attempts.append(1)
    return NOT_YET
class Stop(Exception): pass
def stop(*args):
    raise Stop
if {how!r} == "kill":
    task = greenify.spawn(try_again, attempt)
    until(lambda: len(attempts) > 3)
    task.kill()
    assert task.join(LONG)
elif {how!r} == "timeout":
    try:
        with greenify.Timeout(0.01):
            try_again(attempt)
    except greenify.Timeout:
        pass
else:
    signal.signal(signal.SIGUSR1, stop)
    def other():
        until(lambda: len(attempts) > 3)
        os.kill(os.getpid(), signal.SIGUSR1)
    thread = start(other)
    try:
        try_again(attempt)
    except Stop:
        pass
    thread.join()
number = len(attempts)
time.sleep(0.03)
assert len(attempts) == number > 1
""")


def test_on_a_native_thread() -> None:
    run("""
left = [NOT_YET] * 5 + [3]
found = []
native.start_new_thread(lambda: found.append(try_again(lambda: left.pop(0))), ())
until(lambda: found)
assert found == [3]
""")
