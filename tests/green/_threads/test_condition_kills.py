"""Whatever ends the wait of a Condition, whenever it comes: the waiter leaves with the lock in its hand.

Its ``with`` block would release the lock of whoever holds it meanwhile.
"""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode

# Kills the victim while it takes its lock again, which the main thread has.
_KILLED = """
    import ctypes
    import multiprocessing

    class Foreign:
        '''A lock with the methods that Condition needs; the third from CPython 3.14 on.'''

        def __init__(self):
            self._lock = threading.Lock()
            self.acquire, self.release = self._lock.acquire, self._lock.release
            self.locked = self._lock.locked

        def __enter__(self):
            return self._lock.__enter__()

        def __exit__(self, *exc_info):
            self._lock.__exit__()

    class Semaphore(threading.Semaphore):
        def locked(self):
            return not self._value

    class Mine(BaseException):
        pass

    make = {
        "Lock": lambda: threading.Condition(threading.Lock()),
        "RLock": threading.Condition,
        "Semaphore": lambda: threading.Condition(Semaphore()),
        "threading._RLock": lambda: threading.Condition(threading._RLock()),
        "foreign": lambda: threading.Condition(Foreign()),
        "multiprocessing": multiprocessing.Condition,
    }
    condition = make[sys.argv[1]]()
    from greenlet import GreenletExit
    exceptions = (Mine, ValueError, SystemExit, GreenletExit)
    exception, = (each for each in exceptions if each.__name__ == sys.argv[2])
    kills = int(sys.argv[3])
    waiting, left, go_on = threading.Event(), threading.Event(), threading.Event()

    def wait():
        with condition:
            waiting.set()
            try:
                condition.wait()
            except exception:
                left.set()
                go_on.wait()
                return "killed"

    victim = Thread(wait)
    waiting.wait()
    with condition:
        condition.notify()
        settle()
        if PATCHED:
            settle()
        set_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
        for _ in range(kills):
            assert set_exc(ctypes.c_ulong(victim.ident), ctypes.py_object(exception)) == 1
            settle()
        assert victim.is_alive() and not left.is_set()
    left.wait()
    # It has the lock.
    assert not condition.acquire(False)
    go_on.set()
    assert victim.end() == "killed"
    assert condition.acquire(False)
    condition.release()
"""

OURS = ("Semaphore", "threading._RLock", "foreign", "multiprocessing")


@both_modes
@pytest.mark.parametrize("lock", ["Lock", "RLock"])
@pytest.mark.parametrize("exception", ["Mine", "ValueError", "SystemExit"])
def test_killed_while_it_takes_its_lock_again(lock: str, exception: str, mode: Mode) -> None:
    run(_KILLED, mode, lock, exception, 1)


@pytest.mark.parametrize("lock", ["Lock", "RLock", *OURS])
def test_killed_by_greenlet_exit(lock: str) -> None:
    run(_KILLED, "patch_all", lock, "GreenletExit", 1)


@pytest.mark.parametrize("lock", OURS)
@pytest.mark.parametrize("exception", ["Mine", "ValueError"])
def test_other_locks(lock: str, exception: str) -> None:
    """With real threads a lock in Python may be interrupted half-way, so there is no control."""
    run(_KILLED, "patch_all", lock, exception, 1)


@pytest.mark.parametrize("lock", ["Lock", "RLock", "threading._RLock", "multiprocessing"])
def test_killed_more_than_once(lock: str) -> None:
    run(_KILLED, "patch_all", lock, "ValueError", 3)


def test_lock_that_fails_by_itself() -> None:
    """What the lock raises at every try reaches the caller."""
    run(
        """
        class Broken:
            def __init__(self):
                self.tries = 0
            def acquire(self, blocking=True):
                if not blocking:
                    return False
                self.tries += 1
                raise OSError(self.tries)
            def release(self):
                pass
            def locked(self):
                return True

        lock = Broken()
        condition = threading.Condition(lock)
        waiter = Thread(condition.wait, 0.001)
        try:
            waiter.end()
        except OSError as exc:
            assert exc.args[0] == lock.tries and lock.tries <= 2
        else:
            raise AssertionError("no error")
        """,
        "patch_all",
    )
