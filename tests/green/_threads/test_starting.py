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


def test_before_those_that_are_ready() -> None:
    run("""
    def work():
        ran.append("begun")
        time.sleep(0)
        ran.append("ended")
    for _ in range(20):
        time.sleep(0)  # another round
        ran.clear()
        start(work)
        assert ran == ["begun"], ran
    """)


def test_from_a_thread_that_starts_others() -> None:
    run("""
    def starter():
        time.sleep(0)
        ran.clear()
        inner = [start(ran.append, number) for number in ("a", "b", "c")]
        assert ran == ["a", "b", "c"], ran
        ended.append(inner)
    ended = []
    start(starter).join()
    assert ended
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
    assert "wait" not in vars(start(int)._started)
    """)
