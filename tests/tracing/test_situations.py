"""Situations are made, and the trace of each is read back."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from tests.tracing.drawing import arrows, drawn, line, named, states

_WAITS = """
import queue, socket, threading, time
items = queue.Queue()
lock = threading.Lock()
begun = threading.Event()

def getter():
    items.get()

def holder():
    with lock:
        begun.set()
        items.put(1)
        time.sleep(0.05)

def second():
    begun.wait()
    with lock:
        pass

def reader(sock):
    sock.recv(1)

near, far = socket.socketpair()
threads = [
    threading.Thread(target=getter, name="getter"),
    threading.Thread(target=second, name="second"),
    threading.Thread(target=reader, args=(near,), name="reader"),
    threading.Thread(target=holder, name="holder"),
]
for thread in threads:
    thread.start()
time.sleep(0.02)
far.send(b"x")
for thread in threads:
    thread.join()
"""


def test_waits_and_who_ends_them(tmp_path: Path) -> None:
    picture = drawn(_WAITS, tmp_path)
    assert named(line(picture, "getter"), "Queue.get <string>:8")
    assert named(line(picture, "second"), "Lock of <string>:18")
    (recv,) = named(line(picture, "reader"), "recv ")
    assert "(fd " in recv.name
    (sleep,) = named(line(picture, "holder"), "sleep <string>:14")
    assert sleep.length >= 45_000_000
    found = arrows(picture)
    assert ("holder", "getter") in found
    assert ("holder", "second") in found
    # The kernel wakes it, and nobody's arrow goes there but that of its start.
    assert [source for source, target in found if target == "reader"] == ["MainThread"]
    assert ("getter", "holder") not in found


def test_every_moment_has_one_state(tmp_path: Path) -> None:
    picture = drawn(_WAITS, tmp_path)
    for track in picture.of_kind("thread") + picture.of_kind("loop"):
        for before, after in zip(track.slices, track.slices[1:], strict=False):
            assert before.end == after.begin, (track.name, before, after)
    # And one thread at a time runs.
    running = sorted(
        (each.begin, each.end)
        for track in picture.of_kind("thread")
        for each in named(track, "running")
    )
    for (_, end), (begin, _) in itertools.pairwise(running):
        assert end <= begin
    # None runs without having been ready, after its first moment in the trace.
    for track in picture.of_kind("thread"):
        names = states(track)
        for before, after in itertools.pairwise(names):
            assert after != "running" or before in ("ready", "waiting"), (track.name, names)


def test_a_wake_up_that_is_taken_back(tmp_path: Path) -> None:
    program = """
    import threading, time
    lock = threading.Lock()
    begun = threading.Event()

    def holder():
        lock.acquire()
        begun.set()
        time.sleep(0.01)
        lock.release()
        lock.acquire()
        time.sleep(0.05)
        lock.release()

    def second():
        begun.wait()
        lock.acquire()

    threads = [threading.Thread(target=each, name=each.__name__) for each in (holder, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    """
    picture = drawn(program, tmp_path)
    second = line(picture, "second")
    waits = named(second, "Lock of <string>:")
    assert sum(each.length for each in waits) >= 50_000_000, second.slices
    for before, after in itertools.pairwise(second.slices):
        assert before.end == after.begin


def test_starts(tmp_path: Path) -> None:
    program = """
    import threading
    def begin():
        thread = threading.Thread(target=int, name="child")
        thread.start()
        thread.join()
    thread = threading.Thread(target=begin, name="parent")
    thread.start()
    thread.join()
    import greenify
    task = greenify.Task(int, name="a task")
    task.start()
    task.join()
    """
    picture = drawn(program, tmp_path)
    assert ("MainThread", "parent") in arrows(picture)
    assert ("parent", "child") in arrows(picture)
    assert ("MainThread", "a task") in arrows(picture)
    first = line(picture, "child").slices[0]
    assert first.name == "ready"
    assert first.notes["started by"] == "parent"
    assert "<string>:5 begin" in first.notes["at"]
    assert "starts child" in [name for _, name in line(picture, "parent").instants]


def test_a_greenlet_that_is_used_again_is_another_track(tmp_path: Path) -> None:
    program = """
    import threading, time
    for i in range(3):
        thread = threading.Thread(target=int, name=f"worker {i}")
        thread.start()
        thread.join()
        time.sleep(0.001)
    """
    picture = drawn(program, tmp_path)
    for i in range(3):
        track = line(picture, f"worker {i}")
        assert states(track) == ["ready", "running"]
        assert track.slices[-1].end < picture.end


def test_yielding_is_being_ready(tmp_path: Path) -> None:
    program = """
    import threading, time
    def work():
        for _ in range(5):
            time.sleep(0)
    threads = [threading.Thread(target=work, name=f"w{i}") for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    """
    picture = drawn(program, tmp_path)
    for name in ("w0", "w1"):
        assert states(line(picture, name)) == ["ready", "running"] * 6
    assert ("w0", "w0") not in arrows(picture)


def test_native_calls(tmp_path: Path) -> None:
    program = """
    import threading, time, greenify
    def in_c():
        native.sleep(0.03)
    native = greenify.original("time")
    def work():
        greenify.run_in_thread(in_c)
    handed = greenify.offload(in_c)
    thread = threading.Thread(target=work, name="caller")
    thread.start()
    thread.join()
    handed()
    """
    picture = drawn(program, tmp_path)
    calls = [each for track in picture.of_kind("native") for each in named(track, "__main__.in_c")]
    assert len(calls) == 2
    assert all(call.length >= 25_000_000 for call in calls)
    assert [call.notes["for"] for call in calls] == ["caller", "MainThread"]
    wakers = {source for source, target in arrows(picture) if target == "caller"}
    assert any(name.startswith("native thread") for name in wakers)
    assert named(line(picture, "caller"), "native call")


def test_a_loop_of_another_os_thread(tmp_path: Path) -> None:
    program = """
    import threading, time, greenify, _thread
    done = greenify.Event()
    started = greenify.original("_thread", "start_new_thread")
    def other():
        greenify.sleep(0.01)
        task = greenify.Task(time.sleep, "far", (0.01,))
        task.start()
        task.join()
        done.set()
    started(other, ())
    threading.Thread(target=done.wait, name="near").start()
    done.wait()
    """
    picture = drawn(program, tmp_path)
    loops = picture.of_kind("loop")
    if len(loops) == 1:
        pytest.fail(f"there is one loop only: {loops[0].name}")
    assert len({track.loop for track in picture.of_kind("thread")}) == 2
    assert line(picture, "far").loop != line(picture, "near").loop
    assert named(line(picture, "far"), "sleep")


def test_a_native_thread_wakes(tmp_path: Path) -> None:
    program = """
    import threading, greenify
    native = greenify.original("threading")
    event = threading.Event()
    waits = threading.Thread(target=event.wait, name="waits")
    waits.start()
    def other():
        event.set()
    thread = native.Thread(target=other)
    thread.start()
    waits.join()
    """
    picture = drawn(program, tmp_path)
    (source,) = [s for s, target in arrows(picture) if target == "waits" and s != "MainThread"]
    assert line(picture, source).kind == "native"


def test_counters(tmp_path: Path) -> None:
    program = """
    import threading, time
    go = threading.Event()
    def spin():
        go.wait()
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass
    threads = [threading.Thread(target=spin) for _ in range(3)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    """
    picture = drawn(program, tmp_path)
    values = {
        name: [value for _, value in line(picture, f"loop of MainThread: {name}").values]
        for name in ("ready", "threads", "delay")
    }
    assert max(values["threads"]) == 3
    assert max(values["ready"]) >= 1
    # Each has its slice before the next one runs.
    assert max(values["delay"]) > 4_000_000


def test_raw_greenlets_are_parts_of_their_thread(tmp_path: Path) -> None:
    program = """
    import threading, time
    from greenlet import greenlet
    def work():
        inner = greenlet(lambda: time.sleep(0.01))
        inner.switch()
    thread = threading.Thread(target=work, name="outer")
    thread.start()
    thread.join()
    """
    picture = drawn(program, tmp_path)
    assert len(picture.of_kind("thread")) == 2
    assert states(line(picture, "outer"))[:3] == ["ready", "running", "sleep <string>:5"]


def test_what_already_runs_when_it_begins(tmp_path: Path) -> None:
    program = """
    import sys, threading, time, greenify
    event = threading.Event()
    thread = threading.Thread(target=event.wait, name="early")
    thread.start()
    time.sleep(0.01)
    with greenify.trace(sys.argv[1]):
        event.set()
        thread.join()
    """
    from greenify.tracing.reading import read
    from tests.support import run_python

    file = tmp_path / "t"
    run_python(program, file, check=True)
    picture = read(file)
    assert named(line(picture, "early"), "Event.wait")
    assert states(line(picture, "early"))[-2:] == ["ready", "running"]
    assert ("MainThread", "early") in arrows(picture)


def test_a_timeout_and_a_kill(tmp_path: Path) -> None:
    program = """
    import time, greenify
    task = greenify.Task(time.sleep, "killed", (100,))
    task.start()
    greenify.sleep(0.01)
    task.kill()
    task.join()
    with greenify.Timeout(0.01, False):
        time.sleep(100)
    """
    picture = drawn(program, tmp_path)
    assert ("MainThread", "killed") in arrows(picture)
    assert states(line(picture, "killed"))[-2:] == ["ready", "running"]


def test_other_functions_that_follow_switches_go_on(tmp_path: Path) -> None:
    program = """
    import sys, threading, time
    import greenlet
    seen = []
    # From before, and from within: what a thread sets for itself follows switches, too.
    greenlet.settrace(lambda event, args: seen.append(event))
    import greenify
    def work():
        sys.setprofile(lambda *args: None)
        time.sleep(0)
        assert sys.getprofile() is not None
    with greenify.trace(sys.argv[1]):
        thread = threading.Thread(target=work, name="profiled")
        thread.start()
        time.sleep(0)
        assert sys.getprofile() is None
        thread.join()
    many = len(seen)
    assert many > 3
    time.sleep(0.001)
    assert len(seen) > many
    """
    from greenify.tracing.reading import read
    from tests.support import run_python

    file = tmp_path / "t"
    run_python(program, file, check=True)
    assert "running" in states(line(read(file), "profiled"))


@pytest.mark.skipif(sys.platform != "linux", reason="counts what is left by /proc/self/task")
def test_nothing_is_left_afterwards(tmp_path: Path) -> None:
    program = """
    import os, sys, threading, time, greenlet, greenify
    from collections import deque
    from greenify import core
    from greenify.core.workers import Workers
    from greenify.green._foreign.calls import Call
    time.sleep(0)
    hub = core.get_hub()
    def state():
        return (type(hub.ready), sorted(vars(hub)), greenlet.gettrace(), Call.run, Workers._submit,
                vars(hub.main).keys() - {"hub", "ident"}, sorted(os.listdir("/proc/self/fd")),
                len(os.listdir("/proc/self/task")))
    before = state()
    for _ in range(3):
        with greenify.trace(sys.argv[1]):
            thread = threading.Thread(target=time.sleep, args=(0.01,))
            thread.start()
            thread.join()
    assert hub.ready is hub._queue and type(hub.ready) is deque
    deadline = time.monotonic() + 10
    while state() != before and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel still counts the thread for a moment
    assert state() == before, (state(), before)
    """
    from tests.support import run_python

    run_python(program, tmp_path / "t", check=True)
