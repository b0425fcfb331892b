"""Time-outs that are no plain numbers: NaN, Decimals, fractions, what has `__float__`, what is no number.

What each call makes of them differs from one to the next, and from one version of CPython to the next: so
each is compared with what it does with real threads.  `test_timeouts` has those of any size.
"""

from __future__ import annotations

import sys

import pytest

from tests.green.programs import run, same_output

_CALLS = {
    "locks": """
        "lock": lambda t: taken(threading.Lock()).acquire(timeout=t),
        "lock, asked": lambda t: taken(threading.Lock()).acquire(False, t),
        "free lock": lambda t: threading.Lock().acquire(timeout=t),
        "rlock": lambda t: taken_elsewhere(threading.RLock()).acquire(timeout=t),
        "own rlock": lambda t: taken(threading.RLock()).acquire(timeout=t),
    """,
    "conditions": """
        "condition": lambda t: taken(threading.Condition()).wait(t),
        "event": lambda t: threading.Event().wait(t),
        "semaphore": lambda t: ENDLESS(t) or threading.Semaphore(0).acquire(timeout=t),
        "join": lambda t: sleeper.join(t),
        "join of one that has ended": lambda t: ended.join(t),
        "handle": lambda t: handle and handle.join(t),
    """,
    "queues": """
        "get": lambda t: ENDLESS(t) or queue.Queue().get(timeout=t),
        "simple": lambda t: asked(queue.SimpleQueue()).get(timeout=t),
    """,
    "processes": """
        "child": lambda t: ENDLESS(t) or child.wait(t),
        "semaphore": lambda t: multiprocessing.Semaphore(0).acquire(True, t),
        "free semaphore": lambda t: multiprocessing.Semaphore(1).acquire(True, t),
    """,
    "selecting": """
        "select": lambda t: select.select([reader], [], [], t),
        "poll": lambda t: polling(select.poll()).poll(t),
        "epoll": lambda t: polling(select.epoll()).poll(t),
        "sleep": time.sleep,
        "sigtimedwait": lambda t: signal.sigtimedwait([signal.SIGUSR1], t),
        "settimeout": lambda t: left.settimeout(t),
    """,
}

_PROGRAM = """
    import _thread, math, multiprocessing, re, signal, subprocess

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    from decimal import Decimal
    from fractions import Fraction

    class Float:
        def __float__(self): return 0.001

    class Index:
        def __index__(self): return 0

    class Wrong:
        def __float__(self): raise ZeroDivisionError("its own error")

    class Same(float): pass

    VALUES = [float("nan"), Same("nan"), Decimal("NaN"), Decimal("sNaN"), Decimal("0.001")]
    VALUES += [Fraction(1, 1000), Decimal(-1), Fraction(-1), -2.0, Fraction(-1, 2)]
    VALUES += [Decimal("-Infinity"), -1e-12, 1e-12, Decimal("1e-30")]
    VALUES += [Float(), Index(), Wrong(), Same(0.001), False, "1", b"1", [0], object]

    def ENDLESS(timeout):
        # It is tried again and again, and never is the time over.
        return isinstance(timeout, float) and math.isnan(timeout)

    def no_limit(timeout):
        real = isinstance(timeout, (Decimal, Fraction)) and sys.version_info >= (3, 15)
        return (real or isinstance(timeout, float)) and str(timeout)[0] == "-"

    def polling(poller):
        poller.register(reader, select.POLLIN)
        return poller

    def asked(simple):
        # One that nobody has asked yet takes its own lock first, and what that leaves of a short time may be
        # less than none: CPython then waits for ever (seen on 3.11).
        try:
            simple.get_nowait()
        except queue.Empty:
            pass
        return simple

    reader, writer = os.pipe()
    left, right = socket.socketpair()
    child = subprocess.Popen(["sleep", "1000"])
    go = threading.Event()
    sleeper = Thread(go.wait)
    ended = Thread(int)
    ended.end()
    handle = None
    if hasattr(_thread, "start_joinable_thread"):
        handle = _thread.start_joinable_thread(go.wait, daemon=True)

    for name, call in {CALLS}.items():
        for value in VALUES:
            may_have_none = name in ("handle", "poll", "epoll") or ("lock" in name and str(value) == "-1")
            if may_have_none and no_limit(value):
                continue
            print(name, re.sub("0x[0-9a-f]+", "", repr(value)), outcome(call, value), flush=True)
    child.kill()
    child.wait()
    go.set()
"""


@pytest.mark.parametrize("calls", _CALLS.values(), ids=list(_CALLS))
def test_as_with_threads(calls: str) -> None:
    same_output(_PROGRAM.replace("CALLS", calls.strip()), timeout=120)


def test_a_communicate_with_nan_is_the_callers_error() -> None:
    """It was the hub's, and with that the main thread's."""
    run(
        """
    import subprocess
    def wrong():
        child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.PIPE)
        try:
            child.communicate(timeout=float("nan"))
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
    thread = Thread(wrong)
    try:
        thread.end()
    except ValueError:
        pass
    else:
        raise AssertionError
    """,
        "patch_all",
    )


@pytest.mark.parametrize("deadline", ["float('nan')", "1j", "'1'"])
def test_a_deadline_that_is_none_ends_only_the_wait_it_was_meant_for(deadline: str) -> None:
    run(
        f"""
    from greenify import call_later, core, sleep
    reader, writer = os.pipe()
    def wrong(call):
        try:
            call({deadline})
        except (TypeError, ValueError):
            return True
    others = Thread(sleep, 0.02)
    calls = [lambda t: core.wait(reader, False, t), lambda t: core.new_waiter().wait(t)]
    calls += [sleep, lambda t: call_later(t, int)]
    for call in calls:
        thread = Thread(wrong, call)
        assert thread.end() is True, call
    others.end()
    """,
        "patch_all",
    )


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="an error from CPython 3.14 on")
def test_a_get_that_tries_for_ever_lets_the_others_run() -> None:
    run(
        """
    thread = Thread(queue.Queue().get, True, float("nan"))
    done = []
    for _ in range(3):
        Thread(done.append, 1).end()
    assert done == [1] * 3 and thread.is_alive()
    sys.stdout.flush()
    os._exit(0)  # else it would be waited for: it is in no wait that could be ended
    """,
        "patch_all",
    )
