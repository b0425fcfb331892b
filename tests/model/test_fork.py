"""After a fork: locks and queues work in the child, and the parent's waiters are none of its business."""

from __future__ import annotations

from tests.support import run_python

COMMON = """
    import os, sys, threading, time, traceback
    from greenify import core, task
    from greenify.event import Event
    from greenify.local import local
    from greenify.locks import Lock, RLock
    from greenify.queue import SimpleQueue
    from greenify.timeout import Timeout

    def in_child(function):
        pid = os.fork()
        if not pid:
            try:
                function()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
"""


def fork(code: str) -> None:
    result = run_python(COMMON + code, greenify=False, check=True, timeout=30)
    assert result.stdout == "done\n" and result.stderr == ""


def test_waiters_of_the_parent_are_passed_over() -> None:
    fork("""
    lock, rlock, event, q = Lock(), RLock(), Event(), SimpleQueue()
    lock.acquire()
    rlock.acquire()
    log = []
    waits = (lock.acquire, rlock.acquire, event.wait, q.get)
    tasks = [task.spawn(lambda wait=wait: log.append(wait())) for wait in waits]
    natives = [
        threading.Thread(target=lambda wait=wait: log.append(wait()))
        for wait in (lambda: lock.acquire() and lock.release(), event.wait, q.get)
    ]
    def with_hub():
        core.get_hub()
        log.append(event.wait())
    natives.append(threading.Thread(target=with_hub))
    for thread in natives:
        thread.start()
    core.sleep(0.05)

    def child():
        rlock.release()
        lock.release()
        event.set()
        for number in range(3):
            q.put(number)
        core.sleep(0.01)
        assert log == [], log
        assert lock.acquire(timeout=0) and rlock.acquire(timeout=0)
        # Nobody in the child has taken them.
        assert [q.get(timeout=0) for _ in range(3)] == [0, 1, 2]
        mine = task.spawn(lambda: lock.acquire() and q.get())
        core.sleep(0.01)
        lock.release()
        q.put("child")
        assert mine.join(10) and mine.result == "child"

    in_child(child)
    assert log == []
    lock.release()
    rlock.release()
    event.set()
    q.put(1)
    q.put(2)
    for each in tasks:
        assert each.join(10)
    lock.release()
    for thread in natives:
        thread.join()
    print("done")
    """)


def test_fork_in_a_task() -> None:
    fork("""
    data = local()
    data.x = "main"
    rlock = RLock()
    others = [task.spawn(core.sleep, 10) for _ in range(5)]

    def work():
        data.x = "task"
        with rlock:
            def child():
                assert data.x == "task"
                assert rlock._is_owned()
                with rlock:
                    pass
                core.sleep(0.01)
                q = SimpleQueue()
                each = task.spawn(lambda: (q.put(getattr(data, "x", None)), core.sleep(0.01)))
                assert q.get() is None
                assert each.join(10)
                with Timeout(0.01, False):
                    core.sleep(10)
                    raise AssertionError("not reached")
                assert not any(other._greenlet in core.get_hub().tasks for other in others)
            in_child(child)
        return "parent"

    one = task.spawn(work)
    assert one.join(20) and one.result == "parent"
    for other in others:
        assert other.alive
        other.kill()
        other.join()
    print("done")
    """)


def test_fork_in_an_os_thread() -> None:
    fork("""
    lock = Lock()
    event = Event()
    waiting = task.spawn(event.wait)
    core.sleep(0.01)
    results = []

    def work():
        def child():
            assert lock.acquire(timeout=0.001) is False
            lock.release()
            with lock:
                event.set()
            each = task.spawn(core.sleep, 0.01)
            assert each.join(10)
        in_child(child)
        results.append("parent")

    lock.acquire()
    thread = threading.Thread(target=work)
    thread.start()
    while not results:
        core.sleep(0.001)
    thread.join()
    assert waiting.alive
    event.set()
    assert waiting.join(10)
    print("done")
    """)


def test_a_lock_held_by_another_thread_stays_held() -> None:
    # As with native locks: its owner does not exist in the child.
    fork("""
    lock, rlock = Lock(), RLock()
    def hold():
        with lock, rlock:
            core.sleep(10)
    holder = task.spawn(hold)
    core.sleep(0.001)

    def child():
        assert lock.acquire(timeout=0.01) is False
        assert rlock.acquire(timeout=0.01) is False
        for each in (lock, rlock):
            each._at_fork_reinit()
            assert each.acquire(timeout=0)
            each.release()

    in_child(child)
    holder.kill()
    holder.join()
    assert lock.acquire(timeout=0)
    print("done")
    """)
