"""Threads that compute without ever waiting: the others run all the same, as with real threads."""

from __future__ import annotations

import pytest

from tests.green.programs import run
from tests.support import run_python

LAYERS = [False, "patch_all"]

SPINNING = """
import threading, time
done = False
def spin():
    while not done:
        pass
threads = [threading.Thread(target=spin) for _ in range(3)]
for thread in threads:
    thread.start()
# Needs the main thread to get its turn although three others compute without end.
time.sleep(0.01)
done = True
for thread in threads:
    thread.join()
print("over")
"""

MAIN_SPINS = """
import threading
flag = []
threading.Timer(0.01, flag.append, (1,)).start()
while not flag:
    pass
print("over")
"""

IN_A_LOCK = """
import threading
lock = threading.Lock()
log = []
def hold():
    with lock:
        for n in range(3_000_000):
            pass
        log.append("held")
def want():
    with lock:
        log.append("wanted")
threads = [threading.Thread(target=hold), threading.Thread(target=want)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(log == ["held", "wanted"])
"""

# The code of the standard library asks the condition again and again, which waits for no time at all.
A_TIME_OUT_THAT_IS_NO_NUMBER = """
import queue, sys, threading
items = queue.Queue()
got = []
getter = threading.Thread(target=lambda: got.append(items.get(timeout=float("nan"))))
if sys.version_info < (3, 14):  # there it is refused
    getter.start()
    items.put("over")
    getter.join()
print(*got or ["over"])
"""

NO_TIME_AT_ALL = """
import threading
condition = threading.Condition()
asked, ready = threading.Event(), []
def set():
    asked.wait()
    with condition:
        ready.append(1)
threading.Thread(target=set).start()
with condition:
    asked.set()
    while not ready:
        condition.wait(0)
print("over")
"""

THE_USERS_TIMER = """
import signal, threading, time
before = signal.getsignal(signal.SIGVTALRM), signal.getitimer(signal.ITIMER_VIRTUAL)
assert before == (signal.SIG_DFL, (0.0, 0.0)), before
thread = threading.Thread(target=threading.Event().wait, daemon=True)
thread.start()
assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL
assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
ticks = []
assert signal.signal(signal.SIGVTALRM, lambda *args: ticks.append(1)) == signal.SIG_DFL
signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)
while not ticks:
    pass
start = time.process_time()
while time.process_time() < start + 0.1:
    pass
print(len(ticks))
"""

# Without the cure the new program dies of a signal that it has no handler for.
EXEC = """
import os, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
code = "import time\\nwhile time.process_time() < 0.3: pass\\nprint('over')"
os.execv(sys.executable, [sys.executable, "-c", code])
"""

FORK = """
import os, threading
done = False
def spin():
    while not done:
        pass
threading.Thread(target=threading.Event().wait, daemon=True).start()
pid = os.fork()
if not pid:
    thread = threading.Thread(target=spin)
    thread.start()
    threading.Event().wait(0.01)
    done = True
    thread.join()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(SPINNING, "over", id="threads spin"),
        pytest.param(MAIN_SPINS, "over", id="main spins"),
        pytest.param(IN_A_LOCK, "True", id="holding a lock"),
        pytest.param(A_TIME_OUT_THAT_IS_NO_NUMBER, "over", id="a time-out that is no number"),
        pytest.param(NO_TIME_AT_ALL, "over", id="no time at all"),
        pytest.param(THE_USERS_TIMER, "1", id="the user's own timer"),
        pytest.param(EXEC, "over", id="exec"),
        pytest.param(FORK, "7", id="fork"),
    ],
)
def test_threads_that_compute(layer: str | bool, code: str, expected: str) -> None:
    result = run_python(code, greenify=layer, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == expected


def test_nothing_ticks_without_green_threads() -> None:
    code = """
import greenify
greenify.patch_all()
import threading
from greenify.core import slices
assert not slices.armed
thread = threading.Thread(target=int)
thread.start()
assert slices.armed
thread.join()
# The last thread has gone: the next tick finds that out.
while slices.armed:
    pass
greenify.restore()
assert not slices.allowed
print("over")
"""
    result = run_python(code, greenify=False, timeout=60)
    assert (result.returncode, result.stdout) == (0, "over\n"), result.stderr


def test_news_come_before_others_that_compute() -> None:
    # A round trip costs two turns of those that compute, however many there are.
    run(
        """
    left, right = tcp_pair()
    stopped = False
    counts = [0] * 8

    def compute(number):
        while not stopped:
            counts[number] += 1
            sum(range(100))

    def answer():
        while right.recv(1):
            right.send(b"y")

    answering = Thread(answer)
    computing = [Thread(compute, number) for number in range(len(counts))]
    settle()
    ran = []
    for _ in range(15):
        before = counts.copy()
        left.send(b"x")
        assert left.recv(1) == b"y"
        ran.append(sum(now != then for now, then in zip(counts, before)))
    # They get their turns all the same.
    limit = time.monotonic() + LONG
    while not all(counts):
        assert time.monotonic() < limit
        left.send(b"x")
        assert left.recv(1) == b"y"
    stopped = True
    for each in computing:
        each.end()
    left.close()
    answering.end()
    right.close()
    # A tick may come where it cannot end a slice, now and then.
    assert sorted(ran)[7] <= 4, ran
    """,
        "patch_all",
    )
