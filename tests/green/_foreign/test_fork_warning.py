"""From CPython 3.12 on a fork warns of native threads: of greenify's own only while they are in a call."""

from __future__ import annotations

import sys

import pytest

from tests.green._foreign.foreign import run

#: How many warnings a fork gives beside a thread that is there.
WARNED = int(sys.version_info >= (3, 12))

FORK = """
import concurrent.futures, socket, warnings

def warnings_of_a_fork():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pid = os.fork()
        if not pid:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert all("multi-threaded" in str(each.message) for each in told), told
    return len(told)
"""


@pytest.mark.parametrize(
    "call",
    [
        "socket.getaddrinfo('127.0.0.1', 80)",
        "hand_over(native_sleep, 0)",
        "compute(native_sleep, 0)",
        "open('/dev/null').close()",
        "os.waitid(os.P_PID, children.pop(), os.WEXITED)",
    ],
)
@pytest.mark.parametrize("where", ["main", "thread"])
def test_after_calls(call: str, where: str) -> None:
    run(f"""{FORK}
children = []
def call():
    {call}
def program():
    for threads in (1, 8):
        for _ in range(threads):
            pid = os.fork()
            if not pid:
                os._exit(0)
            children.append(pid)
        begun = [start(call) for _ in range(threads)]
        for thread in begun:
            thread.join()
        assert warnings_of_a_fork() == 0
        # And there is one for the next call.
        hand_over(native_sleep, 0)
    assert warnings_of_a_fork() == 0
    assert warnings_of_a_fork() == 0
if {where!r} == "main":
    program()
else:
    greenify.spawn(program).join()
""")


def test_many_idle_threads() -> None:
    run(f"""{FORK}
begun, over = [], []
def wait():
    begun.append(1)
    until_native(lambda: over)
def until_native(condition):
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit
        native_sleep(0.001)
threads = [start(hand_over, wait) for _ in range(50)]
until(lambda: len(begun) == 50)
over.append(1)
for thread in threads:
    thread.join()
assert warnings_of_a_fork() == 0
""")


def test_beside_a_call() -> None:
    # It stands for the program's thread that calls: with threads there is a warning, too.
    run(f"""{FORK}
gate = Gate()
results = []
busy = start(lambda: results.append(hand_over(gate.wait, 5)))
until(lambda: gate.begun)
hand_over(native_sleep, 0)
assert warnings_of_a_fork() == {WARNED}
gate.open()
busy.join()
assert results == [5]
assert warnings_of_a_fork() == 0
""")


def test_a_thread_of_an_object_stays() -> None:
    # C code may want the same one every time.
    run(f"""{FORK}
own = OwnThread()
ident = own.call(native.get_ident)
assert warnings_of_a_fork() == {WARNED}
assert own.call(native.get_ident) == ident
del own
gc.collect()
assert warnings_of_a_fork() == 0
""")


def test_calls_at_the_moment_of_a_fork() -> None:
    # None is lost by the threads that end.
    run(f"""{FORK}
warnings.simplefilter("ignore", DeprecationWarning)
sys.setswitchinterval(1e-5)
forks = 0
calls = [0] * 4
def caller(which):
    while forks < 20:
        calls[which] += 1
        assert hand_over(int, calls[which]) == calls[which]
callers = [start(caller, which) for which in range(4)]
while forks < 20:
    pid = os.fork()
    if not pid:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    forks += 1
for thread in callers:
    thread.join()
assert min(calls) > 1
""")


def test_a_loop_of_waits_in_c_after_a_fork() -> None:
    # The fork ends the native thread that lets the others run meanwhile, and it has to come back.
    run("""
turns = [0]
def turn():
    while True:
        turns[0] += 1
        time.sleep(0.001)
threading.Thread(target=turn, daemon=True).start()
until(lambda: turns[0] > 10)
pid = os.fork()
if not pid:
    os._exit(0)
before = turns[0]
limit = time.monotonic() + LONG
while turns[0] < before + 10:
    assert time.monotonic() < limit
    native_sleep(0.002)
assert os.waitpid(pid, 0)[1] == 0
""")
