"""viztracer under the patch: one stack of calls for each greenlet, whatever that does."""

from __future__ import annotations

import sys

import pytest

from tests.support import run_python

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 15), reason="the test extra has viztracer up to CPython 3.14"
)

_BEGIN = """
import sys
import greenify
greenify.patch_all()
import collections, gc, json, threading, time, warnings, weakref
from greenlet import getcurrent, greenlet
from viztracer import VizTracer

# "Unexpected function return, tracing is stopped"
warnings.simplefilter("error")

def new_tracer():
    return VizTracer(output_file=sys.argv[1], verbose=0, tracer_entries=100_000)

def written():
    with open(sys.argv[1]) as file:
        return json.load(file)["traceEvents"]

def rows(events):
    # Name of the row, or of several -> its spans; in each row, as long as what they have called.
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    of_rows = collections.defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin, length = (round(event[key] * 1000) for key in ("ts", "dur"))
            of_rows[event["tid"]].append((begin, -length, event["name"]))
    found = collections.defaultdict(list)
    for row, spans in of_rows.items():
        spans.sort()
        open_ = []
        for begin, length, name in spans:
            while open_ and open_[-1] <= begin:
                open_.pop()
            assert not open_ or begin - length <= open_[-1], (name, spans)
            open_.append(begin - length)
        found[names[row]] += spans
    return found

def count(spans, name):
    return sum(each.startswith(f"{name} (") for _, _, each in spans)
"""


def run(code: str, tmp_path: object) -> None:
    run_python(_BEGIN + code, f"{tmp_path}/out.json", greenify=False, check=True)


def test_whatever_greenlets_do(tmp_path: object) -> None:
    code = """
class Ends(Exception):
    pass

def deep(left):
    if left:
        return deep(left - 1)
    time.sleep(0.0001)

def fails(left):
    if left:
        return fails(left - 1)
    time.sleep(0.0001)
    raise Ends

def steps():
    for number in range(3):
        time.sleep(0.0001)
        yield number

def work():
    for _ in range(3):
        deep(4)
        try:
            fails(4)
        except Ends:
            pass
        list(steps())
    threading.current_thread().name += " again"
    deep(4)

def brief():
    deep(0)

def inner():
    deep(2)
    getcurrent().parent.switch()
    deep(2)

def with_greenlets():
    one, two = greenlet(inner), greenlet(inner)
    one.switch()
    two.switch()
    one.switch()
    two.switch()
    deep(1)

def waits():
    deep(1)
    time.sleep(1000)

def on_its_own_hub(number):
    tasks = [greenify.spawn(deep, 3) for _ in range(3)]
    for task in tasks:
        task.join()
    ended.append(number)

Native = greenify.original("threading").Thread
ended = []
with new_tracer():
    threads = [threading.Thread(target=work, name=f"work {number}") for number in range(10)]
    threads.append(threading.Thread(target=with_greenlets, name="outer"))
    for thread in threads:
        thread.start()
    natives = [Native(target=on_its_own_hub, args=(number,)) for number in range(2)]
    for thread in natives:
        thread.start()
    for thread in threads:
        thread.join()
    # One after the other, as a greenlet that is used again would be.
    for number in range(5):
        thread = threading.Thread(target=brief, name=f"brief {number}")
        thread.start()
        thread.join()
    tasks = [greenify.spawn(waits) for _ in range(3)]
    names = [task.name for task in tasks]
    greenify.sleep(0.001)
    tasks[0].kill()
    tasks[1].kill(Ends())
    for task in tasks[:2]:
        task.join()
    while len(ended) < 2:
        time.sleep(0.001)
    for thread in natives:
        thread.join()
    # A greenlet that is given up where it stands.
    given_up = greenlet(inner)
    given_up.switch()
    del given_up
    deep(0)

found = rows(written())
for number in range(10):
    spans = found[f"work {number} again"]
    assert (count(spans, "deep"), count(spans, "fails"), count(spans, "work")) == (20, 15, 1), spans
for number in range(5):
    assert count(found[f"brief {number}"], "deep") == 1
assert count(found["outer"], "deep") == 2 and count(found["outer"], "inner") == 0
assert count(found["greenlet of outer"], "deep") == 2 * 2 * 3
for name in names:
    assert count(found[name], "deep") == 2, found[name]
assert count(found[names[0]], "waits") == count(found[names[1]], "waits") == 1
# Before CPython 3.12 a native thread that the native `threading` starts is not traced, with threads either.
natives = 2 if sys.version_info >= (3, 12) else 0
assert sum(count(spans, "on_its_own_hub") for spans in found.values()) == natives
of_tasks = sum(count(spans, "deep") for name, spans in found.items() if name.startswith("Task-"))
assert of_tasks == natives * 3 * 4 + 3 * 2, of_tasks
assert count(found["MainThread"], "deep") == 1
"""
    run(code, tmp_path)


def test_begun_and_ended_in_the_middle(tmp_path: object) -> None:
    code = """
go, there = threading.Event(), threading.Semaphore(0)

def deep(left):
    if left:
        return deep(left - 1)
    there.release()
    go.wait()
    after()

def after():
    time.sleep(0.0001)

def traced_by_itself():
    with tracer:
        go.set()
        after()
        for thread in threads[1:]:
            thread.join()

threads = [threading.Thread(target=deep, args=(5,), name=f"deep {number}") for number in range(5)]
tracer = new_tracer()
tracing = threading.Thread(target=traced_by_itself, name="tracing")
threads.insert(0, tracing)
for thread in threads[1:]:
    thread.start()
    there.acquire()
tracing.start()
tracing.join()
found = rows(written())
traced = [name for name in found if name.startswith("deep ")]
if sys.version_info >= (3, 12):
    # Before, threads that run already are not traced, with threads either.
    assert len(traced) == 5, sorted(found)
for name in [*traced, "tracing"]:
    assert count(found[name], "after") == 1, (name, found[name])

# The same tracer again, and another one; what is gone is freed.
with tracer:
    after()
assert count(rows(written())["MainThread"], "after") == 1
gone = weakref.ref(tracer)
from greenify.green._threads import call_stacks
assert len(call_stacks._following) == 1
for _ in range(3):
    tracer = new_tracer()
    with tracer:
        thread = threading.Thread(target=after, name="late")
        thread.start()
        thread.join()
    assert count(rows(written())["late"], "after") == 1
tracer = None
gc.collect()
# The last one is held by viztracer itself.
assert gone() is None and len(call_stacks._following) == 1
time.sleep(0.001)
"""
    run(code, tmp_path)


def test_threads_of_greenifys_own_stay_unknown(tmp_path: object) -> None:
    # viztracer asks in each thread which it is, from CPython 3.12 on in the time slices' native one, too.
    code = """
from greenify.core.native import own_threads

def compute():
    while not own_threads(begun=True):
        sum(range(1000))

with new_tracer():
    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    time.sleep(0.001)
    assert threading.enumerate() == [threading.main_thread()]
"""
    run(code, tmp_path)


def test_structures_that_are_not_known(tmp_path: object) -> None:
    # A version whose structures are others: everything is as if nobody told greenlets apart.
    code = """
warnings.simplefilter("ignore")
from greenify.green._threads import call_stacks
for address in (None, 8, 1 << 63, (1 << 64) - 8):
    assert call_stacks._read(call_stacks._Row, address) is None
call_stacks._get_native_id = lambda: -1
tracer = new_tracer()
with tracer:
    thread = threading.Thread(target=time.sleep, args=(0.001,), name="own")
    thread.start()
    thread.join()
assert not len(call_stacks._following)
assert "own" not in rows(written())
"""
    run(code, tmp_path)


def test_restored_in_the_middle(tmp_path: object) -> None:
    # What is green stays so, and goes on to be told apart.
    code = """
def after():
    time.sleep(0.0001)

def joins():
    task.join()

start = VizTracer.start
with new_tracer():
    task = greenify.spawn(after)
    thread = threading.Thread(target=joins, name="own")
    thread.start()
    greenify.restore()
    assert VizTracer.start is not start
    other = greenify.spawn(after)
    thread.join()
    other.join()
found = rows(written())
assert count(found[task.name], "after") == count(found[other.name], "after") == 1
assert count(found["own"], "joins") == 1
"""
    run(code, tmp_path)
