"""100,000 operations between OS threads and tasks at once: no wake-up is lost, nothing is there twice."""

from __future__ import annotations

import pytest

from tests.support import run_python

# OS threads without a hub, OS threads with one, and tasks of two hubs; the interpreter switches as often as
# it can.  A lost wake-up is a hang, which the time limit of the child tells.
COMMON = """
    import sys, threading, time
    from greenify import core, task
    from greenify.event import Event
    from greenify.locks import Lock, RLock
    from greenify.queue import Empty, SimpleQueue

    sys.setswitchinterval(1e-5)
    errors = []

    def guarded(function, *args):
        try:
            function(*args)
        except BaseException as exc:
            errors.append(exc)
            raise

    def natives(count, function, *args):
        threads = [threading.Thread(target=guarded, args=(function, *args)) for _ in range(count)]
        for thread in threads:
            thread.start()
        return threads

    def hub_thread(count, function, *args):
        # An OS thread whose tasks run on a hub of its own.
        def body():
            core.get_hub()
            for each in [task.spawn(guarded, function, *args) for _ in range(count)]:
                each.join()
        return natives(1, body)

    def tasks(count, function, *args):
        return [task.spawn(guarded, function, *args) for _ in range(count)]

    def everywhere(count, function, *args):
        return (natives(count, function, *args) + hub_thread(count, function, *args)
                + tasks(count, function, *args))

    def join(workers):
        for worker in workers:
            if isinstance(worker, task.Task):
                worker.join()
        for worker in workers:
            # Natively joining stops this hub, so all of its tasks have ended before.
            worker.join()
        assert not errors, errors
"""


def hammer(code: str) -> None:
    result = run_python(COMMON + code, greenify=False, check=True, timeout=60)
    assert result.stdout == "done\n" and result.stderr == ""


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_locks(kind: str) -> None:
    hammer(f"""
    lock = {kind}()
    count = 0
    inside = 0

    def work(rounds):
        global count, inside
        for number in range(rounds):
            way = number % 5
            if way == 0:
                while not lock.acquire(timeout=0.0001):
                    pass
            elif way == 1:
                while not lock.acquire(False):
                    core.sleep(0)
            else:
                lock.acquire()
            inside += 1
            assert inside == 1
            if way == 3:
                core.sleep(0)
            count += 1
            inside -= 1
            lock.release()

    join(everywhere(4, work, 2000))
    assert count == 24000
    assert lock.acquire(False) and not lock._turns
    print("done")
    """)


def test_lock_handed_to_and_fro() -> None:
    # Two binary semaphores: each operation is a wake-up of the other side, 100,000 in all.
    hammer("""
    pairs = 5
    rounds = 5000

    def player(mine, other):
        for _ in range(rounds):
            mine.acquire()
            other.release()

    workers = []
    for _ in range(pairs):
        for one, other in ((natives, tasks), (hub_thread, tasks)):
            ping, pong = Lock(), Lock()
            pong.acquire()
            workers += one(1, player, ping, pong) + other(1, player, pong, ping)
    join(workers)
    print("done")
    """)


def test_events() -> None:
    hammer("""
    rounds = 4000
    forth = [Event() for _ in range(rounds)]
    back = [[Event() for _ in range(6)] for _ in range(rounds)]

    def waiter(number):
        for round in range(rounds):
            if number % 2:
                assert forth[round].wait()
            else:
                while not forth[round].wait(0.0002):
                    pass
            back[round][number].set()

    def setter():
        for round in range(rounds):
            forth[round].set()
            for event in back[round]:
                assert event.wait()

    workers = tasks(1, setter)
    for number in range(6):
        workers += (natives, hub_thread, tasks)[number % 3](1, waiter, number)
    join(workers)
    print("done")
    """)


def test_simple_queue() -> None:
    hammer("""
    q = SimpleQueue()
    got = []
    each = 4000

    def put(rounds):
        for number in range(rounds):
            q.put(number)
            if number % 50 == 0:
                core.sleep(0)

    def get(rounds):
        mine = []
        for number in range(rounds):
            if number % 3:
                mine.append(q.get())
            else:
                while True:
                    try:
                        mine.append(q.get(timeout=0.0002))
                        break
                    except Empty:
                        pass
        got.extend(mine)

    getters = everywhere(4, get, each)
    putters = everywhere(4, put, each)
    join(getters + putters)
    assert sorted(got) == sorted(list(range(each)) * 12), len(got)
    assert q.empty() and not q._waiters
    print("done")
    """)


def test_killed_and_timed_out_waiters_among_others() -> None:
    hammer("""
    from greenify.timeout import Timeout
    lock = Lock()
    q = SimpleQueue()
    stop = []
    counted = [0]

    def steady(rounds):
        for _ in range(rounds):
            with lock:
                counted[0] += 1

    def hasty():
        while not stop:
            with Timeout(0.0003, False):
                with lock:
                    core.sleep(0)

    def victim():
        while True:
            with lock:
                core.sleep(0)

    def killer():
        while not stop:
            each = task.spawn(victim)
            core.sleep(0.0005)
            each.kill()
            each.join()

    background = tasks(3, hasty) + tasks(3, killer)
    steady_ones = natives(3, steady, 3000) + tasks(3, steady, 3000)
    for worker in steady_ones[3:]:
        worker.join()
    while counted[0] < 18000:
        core.sleep(0.001)
    stop.append(True)
    join(background + steady_ones)
    assert lock.acquire(False) and not lock._turns
    print("done")
    """)


def test_under_the_patch() -> None:
    # The same of the standard library's own classes over patched locks, with threads that stay native.
    result = run_python(
        """
        import _thread
        start_native, native_lock = _thread.start_new_thread, _thread.allocate_lock
        import greenify; greenify.patch_all()
        import queue, sys, threading
        sys.setswitchinterval(1e-5)

        def everywhere(function, *args):
            workers = [threading.Thread(target=function, args=args) for _ in range(3)]
            for worker in workers:
                worker.start()
            ended = []
            for _ in range(3):
                ended.append(threading.Event())
                start_native(lambda end=ended[-1]: (function(*args), end.set()), ())
            return [worker.join for worker in workers] + [end.wait for end in ended]

        # Condition, Semaphore, Barrier, bounded Queue.
        condition = threading.Condition()
        state = [0]
        def turn(rounds):
            for _ in range(rounds):
                with condition:
                    state[0] += 1
                    condition.notify_all()
                    condition.wait_for(lambda: state[0] > 0, timeout=10)
        semaphore = threading.BoundedSemaphore(2)
        inside = []
        def limited(rounds):
            for _ in range(rounds):
                with semaphore:
                    inside.append(1)
                    assert len(inside) <= 2
                    inside.pop()
        q = queue.Queue(maxsize=5)
        got = []
        def put(rounds):
            for number in range(rounds):
                q.put(number)
        def get(rounds):
            for _ in range(rounds):
                got.append(q.get())
                q.task_done()
        barrier = threading.Barrier(6)
        def meet(rounds):
            for _ in range(rounds):
                barrier.wait()

        for function, rounds in ((turn, 1000), (limited, 2000), (meet, 500)):
            for end in everywhere(function, rounds):
                end()
        assert state == [6000], state
        ends = everywhere(get, 3000) + everywhere(put, 3000)
        for end in ends:
            end()
        q.join()
        assert sorted(got) == sorted(list(range(3000)) * 6)
        print("done")
        """,
        greenify=False,
        check=True,
    )
    assert result.stdout == "done\n" and result.stderr == ""
