"""A getter of a `queue.Queue` that has waited for long and lost its item is handed the next one."""

from __future__ import annotations

import pytest

from tests.green._threads.queue_programs import START
from tests.support import run_python

_LOSING = """
import greenify
from greenify.green._threads import queue_methods

queue_methods._LONG = 0  # every wait is a long one

def waiting(q):
    return len(q.not_empty._waiters)

def lose(q, item="lost"):
    # The getter is woken, and the item is gone before it runs.
    before = waiting(q)
    q.put(item)
    assert waiting(q) == before - 1
    assert q.get_nowait() == item
    until(lambda: waiting(q) == before)

def empty(q):
    try:
        q.get_nowait()
    except queue.Empty:
        return True
"""

PROGRAMS = {
    "a newcomer does not get it": """
        for kind in (queue.Queue, queue.LifoQueue, queue.PriorityQueue):
            q = kind()
            got = []
            getters = []
            for number in range(3):
                getters.append(start(lambda number=number: got.append((number, q.get()))))
                until(lambda: waiting(q) == number + 1)
            lose(q)
            for item in range(3):
                q.put(item)
                assert empty(q), item
            for getter in getters:
                getter.join()
            # Three were owed one, and no more are.
            q.put("free")
            print(kind.__name__, got, q.get_nowait(), q._greenify_owed, q.unfinished_tasks)
        """,
    "who has not waited for long": """
        queue_methods._LONG = 10**9
        q = queue.Queue()
        getter = start(q.get)
        until(lambda: waiting(q) == 1)
        lose(q)
        lose(q)
        queue_methods._LONG = 0
        lose(q)
        queue_methods._LONG = 10**9
        lose(q)  # owed, and young again
        print(q._greenify_owed)
        q.put(1)
        getter.join()
        """,
    "it is the one whose turn it is": """
        for kind, expected in (queue.Queue, "a"), (queue.PriorityQueue, "a"), (queue.LifoQueue, "b"):
            q = kind()
            got = []
            getters = [start(lambda: got.append(q.get())) for _ in range(2)]
            until(lambda: waiting(q) == 2)
            lose(q)
            with q.mutex:
                # More items at once than getters hear of.
                q._put("a")
                q.unfinished_tasks += 1
            q.put("b")
            until(lambda: got)
            print(kind.__name__, got[0] == expected)
            for getter in getters:
                getter.join()
            assert sorted(got) == ["a", "b"]
        """,
    "join and task_done": """
        q = queue.Queue()
        def work():
            q.get()
            q.task_done()
        getter = start(work)
        until(lambda: waiting(q) == 1)
        lose(q)
        q.task_done()
        q.put(1)
        q.join()
        print(q.unfinished_tasks, q.empty())
        """,
    "a killed getter gives it back": """
        for kind in (queue.Queue, queue.LifoQueue, queue.PriorityQueue):
            q = kind()
            got = []
            first = greenify.spawn(q.get)
            until(lambda: waiting(q) == 1)
            second = start(lambda: got.append(q.get()))
            until(lambda: waiting(q) == 2)
            lose(q)
            first.kill()  # it comes to it before the item does
            q.put(1)  # to the first
            assert empty(q)
            q.put(2)  # to the second, or it gets what the first gives back
            second.join()
            got.append(q.get(timeout=10))
            print(kind.__name__, sorted(got), q.empty(), waiting(q))
        """,
    "a killed getter that was the only one": """
        q = queue.Queue()
        first = greenify.spawn(q.get)
        until(lambda: waiting(q) == 1)
        lose(q)
        first.kill()
        q.put(1)
        q.put(2)
        assert q.qsize() == 1
        first.join()
        print(q.get_nowait(), q.get_nowait(), empty(q))
        """,
    "a bounded queue": """
        q = queue.Queue(1)
        got = []
        getter = start(lambda: got.append(q.get()))
        until(lambda: waiting(q) == 1)
        lose(q)
        q.put(1)
        q.put_nowait(2)  # there is room: the first has been taken
        putter = start(q.put, 3)
        until(lambda: len(q.not_full._waiters) == 1 or not putter.is_alive())
        getter.join()
        print(got, q.get(), q.get())
        putter.join()
        """,
    "getters of two OS threads": """
        q = queue.Queue()
        got = []
        native = greenify.original("threading").Thread(target=lambda: got.append(q.get()), daemon=True)
        getter = start(lambda: got.append(q.get()))
        until(lambda: waiting(q) == 1)
        native.start()
        until(lambda: waiting(q) == 2)
        lose(q)
        # Ours may be blocked: nothing is put aside for it.
        q.put(1)
        print(q.qsize() + len(got))
        q.put(2)
        getter.join()
        native.join()
        print(sorted(got))
        """,
    "after a restore": """
        q = queue.Queue()
        got = []
        getter = start(lambda: got.append(q.get()))
        until(lambda: waiting(q) == 1)
        lose(q)
        queue_methods.put(q, 1)
        greenify.restore()
        getter.join(10)
        print(got)
        """,
}

EXPECTED = {
    "a newcomer does not get it": "".join(
        f"{kind} [(0, 0), (1, 1), (2, 2)] free 0 5\n"
        for kind in ("Queue", "LifoQueue", "PriorityQueue")
    ),
    "who has not waited for long": "0\n",
    "it is the one whose turn it is": "Queue True\nPriorityQueue True\nLifoQueue True\n",
    "join and task_done": "0 True\n",
    "a killed getter gives it back": "".join(
        f"{kind} [1, 2] True 0\n" for kind in ("Queue", "LifoQueue", "PriorityQueue")
    ),
    "a killed getter that was the only one": "1 2 True\n",
    "a bounded queue": "[1] 2 3\n",
    "getters of two OS threads": "1\n[1, 2]\n",
    "after a restore": "[1]\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_handed(name: str) -> None:
    done = run_python(
        START + _LOSING + "\n".join(line[8:] for line in PROGRAMS[name].splitlines()), check=True
    )
    assert (done.stdout, done.stderr) == (EXPECTED[name], "")
