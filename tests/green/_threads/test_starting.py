"""Who starts a thread waits until that has begun, and not for all the others that are ready."""

from __future__ import annotations

import textwrap

from tests.support import run_python

BUSY = """
import threading, time
stopping, ran = threading.Event(), []
def busy(number):
    while not stopping.is_set():
        ran.append(number)
        time.sleep(0)
def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread
many = [start(busy, number) for number in range(50)]
while len(set(ran)) < 50:
    time.sleep(0)
"""


def run(code: str) -> None:
    run_python(BUSY + textwrap.dedent(code) + "stopping.set()\n", greenify=True, check=True)


def test_who_starts_goes_on_before_those_that_are_ready() -> None:
    """And what has been started runs in its turn, in the same round."""
    run("""
    def work():
        ran.append("begun")
    for _ in range(20):
        time.sleep(0)  # another round
        ran.clear()
        start(work)
        assert not ran, ran
        time.sleep(0)
        assert sorted(map(str, ran)) == sorted(["begun", *map(str, range(50))]), ran
    """)


def test_from_a_thread_that_starts_others() -> None:
    run("""
    def starter():
        time.sleep(0)
        ran.clear()
        inner = [start(ran.append, number) for number in ("a", "b", "c")]
        assert not ran, ran
        assert all(thread.is_alive() and thread.ident for thread in inner)
        for thread in inner:
            thread.join()
        assert [who for who in ran if isinstance(who, str)] == ["a", "b", "c"]
        ended.append(True)
    ended = []
    start(starter).join()
    assert ended
    """)


def test_an_exception_on_the_way_arrives_when_the_thread_runs() -> None:
    run("""
    import ctypes
    class Ended(BaseException):
        pass
    told = []
    threading.excepthook = lambda args: told.append(args.exc_type)
    def work():
        time.sleep(30)
    thread = start(work)
    ident = ctypes.c_ulong(thread.ident)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(Ended)) == 1
    thread.join()
    assert told == [Ended], told
    assert thread not in threading.enumerate()
    """)


def test_who_starts_without_an_end_keeps_nobody_waiting() -> None:
    run("""
    ran.clear()
    for count in range(1000):
        start(int)
        if len(set(ran)) == 50:
            break
    else:
        raise AssertionError("the others have not run")
    assert count < 100, count
    """)


def test_a_handler_s_exception_is_that_of_start() -> None:
    run("""
    import signal
    class Alarm(Exception):
        pass
    def handler(number, frame):
        raise Alarm
    signal.signal(signal.SIGUSR1, handler)
    def work():
        signal.raise_signal(signal.SIGUSR1)
        begun.set()
    begun = threading.Event()
    try:
        start(work)
        begun.wait(30)
    except Alarm:
        pass
    else:
        raise AssertionError("the signal is lost")
    assert begun.wait(30)
    assert not threading._limbo
    """)


def test_an_event_has_its_own_wait_afterwards() -> None:
    run("""
    thread = start(int)
    thread.join()
    assert not {"wait", "set"} & vars(thread._started).keys()
    """)
