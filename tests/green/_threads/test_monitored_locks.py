"""Tools of `sys.monitoring` whose callbacks take a lock, told of the lock's own code."""

from __future__ import annotations

import sys

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="sys.monitoring is of CPython 3.12"
)

TOOL = """
import sys
monitoring = sys.monitoring
lock = threading.Lock()
told = []
def begins(code, offset):
    with lock:
        told.append(code.co_name)
        assert lock.locked()
    assert lock.acquire(timeout=20)
    lock.release()
def begin():
    monitoring.use_tool_id(3, "tool")
    monitoring.register_callback(3, monitoring.events.PY_START, begins)
    monitoring.set_events(3, monitoring.events.PY_START)
def end():
    monitoring.set_events(3, 0)
    monitoring.free_tool_id(3)
"""


@both_modes
def test_the_tool_holds_its_lock_outside_of_callbacks_too(mode: Mode) -> None:
    run(
        TOOL
        + """
def work():
    with lock:
        pass
    lock.acquire()
    lock.release()
begin()
for _ in range(3):
    work()
end()
assert not lock.locked()
assert told.count("work") == 3, told
""",
        mode,
    )


@both_modes
def test_while_others_wait_for_it(mode: Mode) -> None:
    run(
        TOOL
        + """
def waits():
    with lock:
        return "held"
for _ in range(5):
    lock.acquire()
    threads = [Thread(waits) for _ in range(3)]
    time.sleep(0.01)
    begin()
    lock.release()
    assert [thread.end() for thread in threads] == ["held"] * 3
    end()
    assert not lock.locked()
""",
        mode,
    )


@pytest.mark.parametrize("branch", [False, True])
def test_coverage_of_greenify_itself(branch: bool) -> None:
    if branch and sys.version_info < (3, 14):
        pytest.skip("coverage measures branches so from CPython 3.14 on")
    run(
        f"""
import os
os.environ["COVERAGE_CORE"] = "sysmon"
import coverage
from greenify import locks
measured = coverage.Coverage(data_file=None, source=[os.path.dirname(locks.__file__)], branch={branch})
measured.start()
def work():
    with lock:
        time.sleep(0.001)
lock = threading.Lock()
threads = [Thread(work) for _ in range(5)]
for thread in threads:
    thread.end()
measured.stop()
assert measured.get_data().lines(locks.__file__)
""",
        "patch_all",
    )
