"""Two layers in one process: refused with a remedy, and nothing is left half-patched."""

from __future__ import annotations

import pytest

from tests.support import run_python

GEVENT = "import gevent.monkey; gevent.monkey.patch_all()"
# What tells that eventlet.monkey_patch() was called; eventlet itself is no requirement of the tests.
EVENTLET = """
import sys, types
sys.modules["eventlet.patcher"] = types.SimpleNamespace(already_patched={"socket": True})
"""


@pytest.mark.parametrize(
    ("patch", "remedy"),
    [
        (GEVENT, "GEVENT_LOOP=greenify.integrations.gevent.loop"),
        (EVENTLET, "Remove the call of eventlet.monkey_patch()"),
    ],
    ids=["gevent", "eventlet"],
)
@pytest.mark.parametrize("loaded", ["import greenify.patches", "pass"])
def test_patched_by_another_layer(patch: str, remedy: str, loaded: str) -> None:
    code = f"""
import greenify, threading, time
{loaded}
{patch}
before = dict(vars(time)), dict(vars(threading))
try:
    greenify.patch_all()
except greenify.GreenifyError as exc:
    assert {remedy!r} in str(exc), exc
else:
    raise AssertionError("patched twice")
assert before == (dict(vars(time)), dict(vars(threading)))
print("refused")
"""
    assert run_python(code, greenify=False, check=True).stdout == "refused\n"


def test_gevent_on_our_loop_is_no_rival() -> None:
    code = f"""
{GEVENT}
import greenify, time
task = greenify.spawn(lambda: [time.sleep(0.001), greenify.Lock().acquire()][1])
assert task.join(10) and task.result is True
"""
    run_python(
        code, greenify=False, check=True, env={"GEVENT_LOOP": "greenify.integrations.gevent.loop"}
    )
