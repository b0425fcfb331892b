"""The interpreter's end: parked tasks vanish like daemon threads, and nothing crashes, hangs or complains."""

from __future__ import annotations

import pytest

from tests.core.run import ENV, run
from tests.support import run_python

OPTIONS = pytest.mark.parametrize("options", [(), ("-X", "dev")], ids=["plain", "dev"])

# Tasks that are parked in every way there is, with things around them that would tell.
PARKED = """
import atexit, os, sys
from greenlet import getcurrent, greenlet
from engine_child import *
from greenify.core.loop import pyuv
from greenify.core.workers import default_workers

def say(text):
    os.write(1, text.encode() + b"\\n")

class Object:
    def __del__(self, write=os.write):
        write(1, b"del\\n")

def parked(wait):
    thing = Object()
    try:
        wait()
    except BaseException as exc:
        say(f"except {exc!r}")
        raise
    finally:
        say("finally")
        core.sleep(0.01)

native_sleep = time.sleep
hub = core.get_hub()
left, right = socket_pair()
side = hub.descriptors.attach(left, True).read
waits = [
    lambda: core.new_waiter().wait(),
    lambda: core.sleep(1000),
    lambda: core.wait(left, False),
    lambda: core.wait(left, False, later(1000)),
    side.wait,
    lambda: default_workers.run(native_sleep, 1000),
    lambda: core.sleep(1e9),
]
jobs = [spawn(parked, wait) for wait in waits]
raw = greenlet(lambda: parked(lambda: core.sleep(1000)), hub.greenlet)
hub.ready.append(raw)
nested = greenlet(lambda: greenlet(lambda: parked(lambda: core.sleep(1000))).switch(), hub.greenlet)
hub.ready.append(nested)
settle()
assert not any(job.ended for job in jobs)
never_started = spawn(say, "started")
hub.call_soon(say, "called")
atexit.register(say, "atexit")
"""

ENDS = {
    "the last line": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an error": ("sys.stderr = None\nraise KeyError('x')", 1),
    "hub waits in itself": (
        "hub.call_soon(parked, lambda: core.sleep(1000))\nsettle()\nsys.exit(3)",
        3,
    ),
    "handles of others": (
        "timer = pyuv.Timer(hub.loop.uv)\ntimer.start(print, 1000, 0)\nhub.users += 1\n"
        "core.sleep(0.001)\nsys.exit(3)",
        3,
    ),
    "another thread waits": (
        "import _thread\n"
        "_thread.start_new_thread(lambda: (core.get_hub(), parked(lambda: core.sleep(1000))), ())\n"
        "core.sleep(0.01)\nsys.exit(3)",
        3,
    ),
    "in a finaliser that waits": (
        "class Late:\n    def __del__(self):\n        core.sleep(0.01)\nlate = Late()\nsys.exit(3)",
        3,
    ),
    "waits at exit": ("atexit.register(core.sleep, 0.01)\nsys.exit(3)", 3),
    "modules are collected": (
        "import gc\ndel jobs, raw, nested, never_started\ngc.collect()\nsys.exit(3)",
        3,
    ),
}


@pytest.mark.smoke
@OPTIONS
@pytest.mark.parametrize("end", ENDS)
def test_with_parked_tasks(end: str, options: tuple[str, ...]) -> None:
    code, status = ENDS[end]
    result = run_python(PARKED + code, greenify=False, options=options, env=ENV, timeout=20)
    assert result.stderr == ""
    assert result.returncode == status
    lines = result.stdout.split("\n")
    # A wait at exit turns the hub once more; but nothing that is parked goes on or is taken apart.
    turned = ["called", "started"] if end == "waits at exit" else []
    if end in ("hub waits in itself", "handles of others", "another thread waits"):
        turned = ["called", "started"]
        assert sorted(lines[:2]) == turned
        del lines[:2]
        turned = []
    assert sorted(lines) == sorted(["", "atexit", *turned]), result.stdout


@OPTIONS
@pytest.mark.parametrize("end", ["sys.exit(3)", "raise SystemExit(3)"])
def test_in_a_task(end: str, options: tuple[str, ...]) -> None:
    # A bare greenlet hands what leaves it to the main greenlet.
    result = run_python(
        PARKED
        + f"""
def task():
    core.sleep(0.001)
    {end}
hub.ready.append(greenlet(task, hub.greenlet))
core.sleep(1000)
""",
        greenify=False,
        options=options,
        env=ENV,
        timeout=20,
    )
    assert (result.returncode, result.stderr) == (3, "")
    assert result.stdout == "started\ncalled\natexit\n"


@OPTIONS
def test_interrupted(options: tuple[str, ...]) -> None:
    result = run_python(
        PARKED + "import signal\nspawn(os.kill, os.getpid(), signal.SIGINT)\ncore.sleep(1000)",
        greenify=False,
        options=options,
        env=ENV,
        timeout=20,
    )
    assert result.returncode == -2
    assert result.stderr.endswith("\nKeyboardInterrupt\n")
    assert result.stdout.endswith("atexit\n") and "finally" not in result.stdout


@OPTIONS
def test_hubs_of_threads_that_have_ended(options: tuple[str, ...]) -> None:
    out = run(
        """
        import _thread
        from engine_child import *

        ended = []
        done = core.new_waiter()

        def parked():
            try:
                core.sleep(1000)
            finally:
                print("finally")

        def thread():
            core.get_hub()
            spawn(parked)
            core.sleep(0.001)
            ended.append(1)
            if len(ended) == 20:
                done.wake()

        for _ in range(20):
            _thread.start_new_thread(thread, ())
        assert done.wait(later(10))
        print("end")
        """,
        options=options,
    )
    assert out == "end\n"


@OPTIONS
def test_a_thread_that_is_about_to_end(options: tuple[str, ...]) -> None:
    # It runs Python code from within the end of its state, where it must not be cut off.
    said = run(
        """
        import _thread, os, time
        from greenify import core
        from greenify.core import registry

        ending = _thread.allocate_lock()
        ending.acquire()
        native_sleep = time.sleep

        def close(hub):
            ending.release()
            native_sleep(0.2)
            os.write(1, b"closed")

        registry.before_close(close)
        _thread.start_new_thread(core.get_hub, ())
        ending.acquire()
        """,
        options=options,
    )
    assert said == "closed"


@OPTIONS
def test_never_used(options: tuple[str, ...]) -> None:
    assert run("from greenify import core; print('end')", options=options) == "end\n"
    assert (
        run("from greenify import core; core.get_hub(); print('end')", options=options) == "end\n"
    )
