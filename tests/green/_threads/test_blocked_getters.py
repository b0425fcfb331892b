"""A getter that has been woken, but whose OS thread is blocked, does not hold back the others' wake-ups."""

from __future__ import annotations

import pytest

from tests.green.programs import run
from tests.support import Mode

_BLOCKED = """
    import _thread
    import greenify
    from greenify import futures

    # Those of the operating system, whatever is patched.
    native = greenify.original("threading")
    kind, other = sys.argv[1:]
    items = {
        "queue.Queue": lambda: queue.Queue(),
        "bounded queue.Queue": lambda: queue.Queue(9),
        "queue.LifoQueue": lambda: queue.LifoQueue(),
        "queue.SimpleQueue": lambda: queue.SimpleQueue(),
        "greenify.Queue": lambda: greenify.Queue(),
        "greenify.SimpleQueue": lambda: greenify.SimpleQueue(),
    }[kind]()
    got = queue.SimpleQueue()
    done = native.Event()
    ready = native.Event()

    def consume():
        if other == "hub":
            # A green thread or a task of its own hub.
            greenify.sleep(0)
            task = greenify.spawn(get)
            greenify.sleep(0)
            ready.set()
            task.join()
        elif other == "with a time-out":
            ready.set()
            item = items.get(timeout=LONG)
            done.set()
            return item
        else:
            ready.set()
            get()

    def get():
        item = items.get()
        done.set()

    first = greenify.spawn(items.get)
    # Not here: `greenify.Queue` wakes a getter for each item, in the order in which they came.
    second = greenify.spawn(items.get if kind != "greenify.Queue" else lambda: 3)
    for _ in range(5):
        greenify.sleep(0)
    thread = native.Thread(target=consume)
    thread.start()
    ready.wait()
    waiting = items._waiters if hasattr(items, "_waiters") else items.not_empty._waiters
    while len(waiting) < 2 + second.alive:
        native_sleep(0.001)
    items.put(1)
    items.put(2)
    # This OS thread stands still: its getters do not run, and the other one has to have an item.
    assert done.wait(LONG), "held back"
    assert items.qsize() == 1
    thread.join()
    assert first.join(LONG)
    if second.alive:
        items.put(3)
    assert second.join(LONG)
    assert sorted((first.result, second.result))[1] == 3
    assert not waiting
"""

QUEUES = (
    "queue.Queue",
    "bounded queue.Queue",
    "queue.LifoQueue",
    "queue.SimpleQueue",
    "greenify.Queue",
    "greenify.SimpleQueue",
)


@pytest.mark.parametrize("other", ["native", "with a time-out", "hub"])
@pytest.mark.parametrize("kind", QUEUES)
def test_blocked_getter(kind: str, other: str) -> None:
    mode: Mode = "patch_all"
    run(_BLOCKED.replace("native_sleep", 'greenify.original("time").sleep'), mode, kind, other)
