"""The snapshot: rows, states, owners of locks, and dead locks, of situations that are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import run_python

# Prints a snapshot once `settled` says that the situation is there.
SHOW = """
import json, os, sys, threading, time
import greenify
from greenify.inspect import snapshot

def show(settled, **options):
    while True:
        look = snapshot(**options)
        if settled({row.name: row for row in look.rows}):
            break
        greenify.sleep(0.001)
    print(json.dumps({
        "rows": {row.name: {"kind": row.kind, "state": row.state, "what": row.what,
            "stack": [place.function for place in row.stack], "started": row.started,
            "line": row.place and row.place.function} for row in look.rows},
        "deadlocks": [[row.name for row in circle] for circle in look.deadlocks],
        "texts": [[row.what for row in circle] for circle in look.deadlocks],
        "names": [row.name for row in look.rows],
    }), flush=True)
    return look

def waiting(*names):
    return lambda rows: all(name in rows and rows[name].state == "waiting" and
        rows[name].wait.kind != "start" for name in names)
"""


def shown(tmp_path: Path, program: str, **options: Any) -> dict[str, Any]:
    """Run from a file: who holds a lock is read from the source."""
    script = tmp_path / "situation.py"
    script.write_text(SHOW + program)
    result = run_python(script, check=True, **options)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


class TestStates:
    def test_of_threads(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
def sleeper():
    time.sleep(100)
def spinner():
    while True: pass
def late():
    pass
for function in (sleeper, spinner):
    threading.Thread(target=function, name=function.__name__, daemon=True).start()
while snapshot().rows and not any(r.name == "sleeper" and r.state == "waiting" for r in snapshot().rows):
    time.sleep(0)
import _thread
_thread.start_new_thread(late, ())
show(lambda rows: rows["spinner"].state == "ready")
os._exit(0)
""",
        )
        rows = found["rows"]
        assert found["names"][0] == "MainThread"
        assert rows["MainThread"]["kind"] == "main"
        assert rows["MainThread"]["state"] == "running"
        assert rows["MainThread"]["line"] == "show"
        assert rows["sleeper"]["kind"] == "thread"
        assert rows["sleeper"]["what"].startswith("sleep ")
        # A time slice has ended: it goes on soon.
        assert rows["spinner"]["state"] == "ready"
        assert rows["spinner"]["line"] == "spinner"

    def test_new_ones_have_not_begun(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
task = greenify.spawn(time.sleep, 100)
task.name = "just started"
look = show(lambda rows: True)
""",
        )
        assert found["rows"]["just started"]["state"] == "new"
        assert found["rows"]["just started"]["kind"] == "task"
        assert found["rows"]["just started"]["started"].startswith(f"{tmp_path}/situation.py:")

    def test_stacks_are_told_when_asked_for(self, tmp_path: Path) -> None:
        program = """
def inner(): time.sleep(100)
def outer(): inner()
threading.Thread(target=outer, name="deep", daemon=True).start()
show(waiting("deep"), stacks={})
os._exit(0)
"""
        with_stack = shown(tmp_path, program.format(True))["rows"]["deep"]["stack"]
        assert [name for name in with_stack if name in ("inner", "outer")] == ["inner", "outer"]
        assert shown(tmp_path, program.format(False))["rows"]["deep"]["stack"] == []

    def test_native_threads_and_a_second_hub(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
native = greenify.original("threading")
ready, door = native.Event(), native.Event()
def plain(): door.wait()
def with_hub():
    task = greenify.spawn(time.sleep, 100)
    task.name = "on the second hub"
    greenify.sleep(0)
    ready.set()
    greenify.sleep(100)
for function in (plain, with_hub):
    native.Thread(target=function, name=function.__name__, daemon=True).start()
sleep = greenify.original("time").sleep
native.Thread(target=sleep, args=(100,), name="in C", daemon=True).start()
ready.wait()
look = show(lambda rows: "on the second hub" in rows and rows["on the second hub"].wait)
by_name = {row.name: row for row in look.rows}
print(by_name["MainThread"].os_thread != by_name["on the second hub"].os_thread,
      sum(row.kind == "native" for row in look.rows), sum(row.kind == "main" for row in look.rows),
      file=sys.stderr)
os._exit(0)
""",
        )
        assert found["rows"]["on the second hub"]["what"].startswith("sleep")
        kinds = sorted(row["kind"] for row in found["rows"].values())
        assert kinds == ["main", "native", "native", "task", "thread"]
        assert found["rows"]["plain"]["kind"] == "native"
        assert found["rows"]["plain"]["what"].startswith("Event.wait situation.py:")
        # No line of the program's own: where it is all the same.
        assert found["rows"]["in C"]["what"].startswith("threading.py:")

    def test_handed_over_calls(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
door = greenify.original("threading").Event()
@greenify.offload
def query(): door.wait()
thread = threading.Thread(target=query, name="asks", daemon=True)
thread.start()
show(lambda rows: "asks" in rows and "call for asks" in rows)
door.set()
""",
        )
        assert found["rows"]["asks"]["what"] == "native call __main__.query"
        assert found["rows"]["call for asks"]["what"] == "in __main__.query"
        assert found["rows"]["call for asks"]["kind"] == "native"

    def test_a_greenlet_of_the_users_own_waits_for_its_thread(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
import greenlet
def inner(): time.sleep(100)
def outer():
    from greenify.identity import get_ident
    raw = greenlet.greenlet(lambda: (get_ident(), inner()))
    raw.switch()
threading.Thread(target=outer, name="with a greenlet", daemon=True).start()
show(waiting("with a greenlet"))
os._exit(0)
""",
        )
        assert found["rows"]["with a greenlet"]["what"].startswith("sleep")
        assert found["rows"]["with a greenlet"]["line"] == "inner"

    def test_asyncio(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
import asyncio
async def sleeps(): await asyncio.sleep(100)
async def gets(queue): await queue.get()
async def awaits(task): await task
async def main():
    first = asyncio.create_task(sleeps(), name="sleeps")
    asyncio.create_task(gets(asyncio.Queue()), name="gets")
    asyncio.create_task(awaits(first), name="awaits")
    await asyncio.Event().wait()
threading.Thread(target=asyncio.run, args=(main(),), name="loop", daemon=True).start()
show(lambda rows: "gets" in rows and all(
    row.state == "waiting" for row in rows.values() if row.name != "MainThread"))
os._exit(0)
""",
        )
        rows = found["rows"]
        assert rows["sleeps"]["what"].startswith("sleep ")
        assert rows["sleeps"]["line"] == "sleeps"
        assert rows["gets"]["what"].startswith("Queue.get situation.py:")
        assert rows["awaits"]["what"] == "task sleeps"
        assert rows["loop"]["what"].startswith("asyncio loop: select of ")
        assert {rows[name]["kind"] for name in ("sleeps", "gets", "awaits")} == {"asyncio task"}


# Three threads, each of which holds one lock and wants the next one's.
THREE = """
locks = [{make} for _ in range(3)]
started = threading.Barrier(3)
def hold(number):
    mine, other = locks[number], locks[(number + 1) % 3]
    {take}
for number in range(3):
    threading.Thread(target=hold, args=(number,), name=f"worker-{{number}}", daemon=True).start()
def bystander():
    with locks[0]: pass
look = show(waiting("worker-0", "worker-1", "worker-2"))
os._exit(0)
"""

WITH = """with mine:
        started.wait()
        with other:
            pass"""
ACQUIRE = """mine.acquire()
    started.wait()
    try:
        other.acquire()
        other.release()
    finally:
        mine.release()"""
SAME_LINE = """with mine:
        started.wait()
        with mine if number > 5 else other, started: pass"""


class TestDeadlocks:
    @pytest.mark.parametrize("make", ["threading.Lock()", "threading.RLock()", "greenify.Lock()"])
    @pytest.mark.parametrize("take", [WITH, ACQUIRE, SAME_LINE], ids=["with", "acquire", "line"])
    def test_of_three(self, tmp_path: Path, make: str, take: str) -> None:
        # The lock is only found in the source when that names it; an RLock knows its owner.
        program = THREE.format(make=make, take=take)
        settle = 'waiting("worker-0", "worker-1", "worker-2")'
        both = (
            f"lambda rows: {settle}(rows) and all(rows[f'worker-{{n}}'].wait.kind in ('Lock', 'RLock') "
            "for n in range(3))"
        )
        found = shown(tmp_path, program.replace(settle, both))
        [circle] = found["deadlocks"]
        assert sorted(circle) == ["worker-0", "worker-1", "worker-2"]
        for number in range(3):
            following = circle[(number + 1) % 3]
            assert f", held by {following}" in found["texts"][0][number]

    def test_of_a_thread_with_itself(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
lock = threading.Lock()
def twice():
    with lock:
        with lock: pass
threading.Thread(target=twice, name="twice", daemon=True).start()
show(waiting("twice"))
os._exit(0)
""",
        )
        assert found["deadlocks"] == [["twice"]]

    def test_of_a_lock_and_a_join(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
class Pool:
    def __init__(self): self._lock = threading.Lock()
pool = Pool()
def wants():
    with pool._lock: pass
def joins():
    with pool._lock:
        other = threading.Thread(target=wants, name="wants", daemon=True)
        other.start()
        other.join()
threading.Thread(target=joins, name="joins", daemon=True).start()
show(waiting("joins", "wants"))
os._exit(0)
""",
        )
        [circle] = found["deadlocks"]
        assert sorted(circle) == ["joins", "wants"]

    def test_who_waits_for_a_while_is_in_none(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
first, second = threading.Lock(), threading.Lock()
both = threading.Barrier(2)
def one():
    with first:
        both.wait()
        second.acquire(timeout=100)
def other():
    with second:
        both.wait()
        with first: pass
threading.Thread(target=one, name="one", daemon=True).start()
threading.Thread(target=other, name="other", daemon=True).start()
show(lambda rows: all(n in rows and rows[n].wait and rows[n].wait.kind == "Lock" for n in ("one", "other")))
os._exit(0)
""",
        )
        assert found["deadlocks"] == []

    def test_who_waits_for_a_lock_does_not_hold_it(self, tmp_path: Path) -> None:
        found = shown(
            tmp_path,
            """
lock = threading.Lock()
lock.acquire()  # by nobody who is still in there
def wants():
    with lock: pass
def condition_wants():
    with condition: pass
condition = threading.Condition(threading.Lock())
def sleeps_with_it():
    with condition:
        time.sleep(100)  # before CPython 3.11 lines alone are known
def waits_without_it():
    with other: other.wait()
other = threading.Condition(threading.Lock())
for function in (wants, sleeps_with_it, condition_wants, waits_without_it):
    threading.Thread(target=function, name=function.__name__, daemon=True).start()
def main(): show(waiting("wants", "condition_wants", "sleeps_with_it", "waits_without_it"))
main()
os._exit(0)
""",
        )
        rows = found["rows"]
        # The main module's line stands behind the call, which has no release.
        assert rows["wants"]["what"].split(", ")[1].startswith("held by MainThread (situation.py:")
        assert "held by sleeps_with_it" in rows["condition_wants"]["what"]
        assert found["deadlocks"] == []


def test_nothing_of_the_programs_is_called(tmp_path: Path) -> None:
    found = shown(
        tmp_path,
        """
class Careful:
    calls = []
    def __getattr__(self, name): Careful.calls.append(name); raise AttributeError(name)
    @property
    def lock(self): Careful.calls.append("lock"); return real
real, careful = threading.Lock(), Careful()
def holder():
    with careful.lock: time.sleep(100)
def wants():
    with careful.lock: pass
for function in (holder, wants):
    threading.Thread(target=function, name=function.__name__, daemon=True).start()
show(waiting("holder", "wants"))
assert Careful.calls == ["lock", "lock"], Careful.calls
os._exit(0)
""",
    )
    assert found["rows"]["wants"]["what"].startswith("Lock of situation.py:")


def test_many_threads(tmp_path: Path) -> None:
    found = run_python(
        """
        import os, threading, time
        from greenify.inspect import snapshot
        event = threading.Event()
        for number in range(10_000):
            threading.Thread(target=event.wait, daemon=True).start()
        while (look := snapshot()).count("waiting") < 10_000:
            time.sleep(0)
        print(len(look.rows), {row.wait.kind for row in look.rows if row.wait})
        os._exit(0)
        """,
        check=True,
    )
    assert found.stdout.split(None, 1) == ["10001", "{'Event'}\n"]


def test_what_a_thread_costs() -> None:
    """How long an answer takes for each thread, without a clock: in calls, those of C among them."""
    found = run_python(
        """
        import os, queue, socket, sys, threading, time
        from greenify.inspect import snapshot
        from greenify.inspect.answers import answer
        event, lock = threading.Event(), threading.Lock()
        lock.acquire()
        def calls():
            count = 0
            def follow(frame, event, arg):
                nonlocal count
                count += event in ("call", "c_call")
            sys.setprofile(follow)
            answer(b'{"ask": "snapshot"}')
            sys.setprofile(None)
            return count
        def start(number, function):
            for _ in range(number):
                threading.Thread(target=function, daemon=True).start()
            time.sleep(0)
            while snapshot().count("waiting") < threading.active_count() - 1:
                time.sleep(0)
        jobs = queue.Queue()
        keeper = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
        keeper.start()
        pairs = []
        def reads():
            pairs.append(socket.socketpair())
            pairs[-1][0].recv(1)
        def wants():
            lock.acquire()
        for function in (event.wait, wants, lambda: time.sleep(1000), jobs.get, reads, keeper.join):
            start(10, function)
            calls()
            before = calls()
            start(200, function)
            print((calls() - before) / 200)
        os._exit(0)
        """,
        check=True,
    )
    costs = list(map(float, found.stdout.split()))
    assert len(costs) == 6
    # 139 at most, of `join`, when this was written.
    assert max(costs) < 150, costs


def test_rows_are_written_as_json_writes_them() -> None:
    """The answer to another process is written without json, for the sake of thousands of rows."""
    run_python(
        """
        import json, threading, time
        import greenify
        from greenify.inspect import listen, snapshot
        from greenify.inspect.answers import _fields, _Writer
        listen()
        lock = threading.Lock()
        lock.acquire()
        begun = threading.Semaphore(0)
        def inside(function, *args):
            begun.release()
            function(*args)
        for name, *call in (
            ('a "quoted" \\\\ name, \\u00e4', lock.acquire), ("sleeps", time.sleep, 1000),
            ("new\\nline", threading.Event().wait),
        ):
            threading.Thread(target=inside, args=call, name=name, daemon=True).start()
            begun.acquire()
        greenify.spawn(time.sleep, 1000)
        time.sleep(0)
        for stacks in False, True:
            look = snapshot(stacks=stacks)
            assert len(look.rows) >= 5, look.rows
            for row in look.rows:
                written = json.loads(_Writer(look.time).written(row))
                plain = json.loads(json.dumps(_fields(row, look.time), default=str))
                assert len(written) == len(plain)
                for ours, theirs in zip(written, plain):
                    near = isinstance(theirs, float) and abs(ours - theirs) < 1e-6
                    assert near or ours == theirs, (ours, theirs)
        """,
        check=True,
        greenify="patch_all",
    )


def test_since_when() -> None:
    """It is known while a trace is on, of what has begun since then."""
    run_python(
        """
        import os, threading, time
        import greenify
        from greenify.inspect import snapshot
        from greenify.inspect.answers import as_table
        from greenify.inspect.report import records, table
        go = threading.Event()
        begun = []
        def wait():
            begun.append(time.monotonic())
            go.wait()
        def row(name):
            return next(row for row in snapshot().rows if row.name == name)
        threading.Thread(target=wait, name="early", daemon=True).start()
        while row("early").state != "waiting":
            time.sleep(0)
        assert row("early").since is None
        with greenify.trace(os.devnull):
            threading.Thread(target=wait, name="waits", daemon=True).start()
            while row("waits").state != "waiting":
                time.sleep(0)
            between = time.monotonic()
            assert row("early").since is None, "it has begun before"
            step = 128e-9  # in which a trace tells times
            assert begun[1] - step <= row("waits").since <= between
            go.set()
            found = row("waits")
            assert found.state == "ready" and between - step <= found.since <= time.monotonic()
            lines = list(table(records(as_table(snapshot()))))
            assert any("ready 0." in line for line in lines if "waits" in line), lines
        assert row("MainThread").since is None
        """,
        check=True,
    )
