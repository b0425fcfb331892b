"""What an answer about thousands of threads may cost, in counts: calls, collections, what is left behind."""

from __future__ import annotations

import json
import sys

import pytest

from tests.support import run_python

WAITS = """
import gc, json, os, queue, socket, sys, threading, time
from greenify import inspect
from greenify.inspect.answers import answer
inspect.listen()
lock, things, pair = threading.Lock(), queue.Queue(), socket.socketpair()
def hold():
    with lock:
        time.sleep(1000)
def within():
    with lock:
        pass
keeper = threading.Thread(target=hold, name="keeper", daemon=True)
keeper.start()
time.sleep(0)
kinds = {
    "sleep": lambda: time.sleep(1000), "recv": lambda: pair[0].recv(1), "Queue": lambda: things.get(),
    "join": lambda: keeper.join(), "Lock": within,
}
def start(kind, number):
    for _ in range(number):
        threading.Thread(target=kinds[kind], daemon=True).start()
    time.sleep(0)
def ask():
    return json.loads(answer(b'{"ask": "snapshot"}'))
"""

# Calls of Python's functions for each row.
CALLS = {"sleep": 19, "recv": 19, "Queue": 22, "join": 26, "Lock": 22}


@pytest.mark.parametrize("kind", CALLS)
def test_calls_for_each_row(kind: str) -> None:
    result = run_python(
        WAITS
        + f"""
calls = 0
def count(frame, event, arg):
    global calls
    calls += event == "call"
counts = []
for _ in range(3):
    start({kind!r}, 100)
    calls = 0
    sys.setprofile(count)
    answer(b'{{"ask": "snapshot"}}')
    sys.setprofile(None)
    counts.append(calls)
waits = [row[5] for row in ask()["rows"]]
assert waits.count({kind!r}) == 300 + ({kind!r} == "sleep"), waits
# The first one learns what the functions are.
print(json.dumps((counts[2] - counts[1]) / 100))
os._exit(0)
""",
        check=True,
    )
    assert json.loads(result.stdout) <= CALLS[kind]


def test_a_first_answer_about_ten_thousand_is_not_interrupted_by_collections() -> None:
    result = run_python(
        WAITS
        + """
for kind in kinds:
    start(kind, 2000)
collections = []
gc.callbacks.append(lambda phase, info: phase == "start" and collections.append(info["generation"]))
before = gc.get_threshold()
text = answer(b'{"ask": "snapshot"}')
during = collections[:]
assert gc.get_threshold() == before
assert len(json.loads(text)["rows"]) == 10_002
print(json.dumps(during))
os._exit(0)
""",
        check=True,
        timeout=120,
    )
    collections = json.loads(result.stdout)
    # At the end one about what stays: the frames.  Without care there are a hundred, some of everything.
    assert len(collections) <= 2
    assert all(generation < 2 for generation in collections) or sys.version_info >= (3, 14)


def test_it_leaves_nothing_for_the_collector() -> None:
    run_python(
        WAITS
        + """
from greenify.inspect import Row, snapshot
for kind in kinds:
    start(kind, 10)
snapshot()
gc.collect()
gc.disable()
for stacks in False, True:
    snapshot(stacks=stacks)
left = [each for each in gc.get_objects() if type(each) is Row]
assert not left, len(left)
os._exit(0)
""",
        check=True,
    )


def test_the_program_s_own_threshold_is_kept() -> None:
    run_python(
        """
        import gc
        from greenify.inspect.garbage import fewer_collections
        def within():
            with fewer_collections():
                return gc.get_threshold()
        own = gc.get_threshold()
        assert within()[0] > 100_000 and within()[1:] == own[1:]
        assert gc.get_threshold() == own and gc.isenabled()
        with fewer_collections():
            raised = gc.get_threshold()
            with fewer_collections():
                assert gc.get_threshold() == raised
            assert gc.get_threshold() == raised
        assert gc.get_threshold() == own
        # An exception ends it as well.
        try:
            with fewer_collections():
                1 / 0
        except ZeroDivisionError:
            pass
        assert gc.get_threshold() == own
        # What the program sets meanwhile counts; one of its own that is higher, or none, stays.
        with fewer_collections():
            gc.set_threshold(555, 5, 5)
        assert gc.get_threshold()[0] == 555
        for threshold in 0, 1_000_000:
            gc.set_threshold(threshold)
            assert within()[0] == threshold and gc.get_threshold()[0] == threshold
        # In a child that begins in the middle it is what it was.
        gc.set_threshold(*own)
        import os
        with fewer_collections():
            child = os.fork()
            if not child:
                os._exit(gc.get_threshold() != own)
        assert os.waitpid(child, 0)[1] == 0
        """,
        check=True,
    )
