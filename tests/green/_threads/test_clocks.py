"""The clocks of green threads; what is so with real threads, too, is in `test_thread_state`."""

from __future__ import annotations

import pytest

from tests.support import run_python

BEGIN = """
import greenlet, os, resource, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def thread(function, *args):
    made = threading.Thread(target=function, args=args, daemon=True)
    made.start()
    return made
"""


def run(program: str) -> None:
    assert (
        run_python(BEGIN + program + "\nprint('done')", check=True, timeout=40).stdout == "done\n"
    )


class TestIdentifiers:
    def test_of_no_thread(self) -> None:
        """With real threads that reads whatever memory is there."""
        run(
            """
ended = thread(int)
ended.join()
for ident in (ended.ident, 1, 12345678, id(object())):
    try:
        time.pthread_getcpuclockid(ident)
    except ProcessLookupError:
        pass
    else:
        raise AssertionError(ident)
"""
        )

    def test_a_clock_ends_with_its_thread(self) -> None:
        run(
            """
clocks = []
def work():
    clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
    assert time.clock_gettime(clocks[-1]) >= 0
for _ in range(3):
    thread(work).join()
assert len(set(clocks)) == 3
time.sleep(0)
for clock in clocks:
    for function in (time.clock_gettime, time.clock_gettime_ns):
        try:
            function(clock)
        except OSError as exc:
            assert exc.errno == 22
        else:
            raise AssertionError
"""
        )

    def test_of_a_native_thread(self) -> None:
        run(
            """
import greenify
_thread = greenify.original("_thread")
ready, go = _thread.allocate_lock(), _thread.allocate_lock()
ready.acquire(), go.acquire()
idents = []
def native():
    idents.append(_thread.get_ident())
    ready.release()
    go.acquire()
_thread.start_new_thread(native, ())
ready.acquire()
clock = time.pthread_getcpuclockid(idents[0])
assert 0 <= time.clock_gettime(clock) < time.process_time()
go.release()
"""
        )

    def test_other_clocks_are_the_kernels(self) -> None:
        run(
            """
assert abs(time.clock_gettime(time.CLOCK_MONOTONIC) - time.monotonic()) < 1
assert abs(time.clock_gettime_ns(time.CLOCK_REALTIME) - time.time_ns()) < 10**9
assert time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID) <= time.process_time()
for wrong, error in ((99, OSError), (-(10**20), (OverflowError, TypeError)), ("x", TypeError)):
    try:
        time.clock_gettime(wrong)
    except error:
        pass
    else:
        raise AssertionError(wrong)
"""
        )


class TestAccounts:
    def test_a_threads_clock_begins_with_it(self) -> None:
        """Also where a greenlet has been another thread before."""
        run(
            """
found = []
def work():
    first = time.thread_time()
    burn(0.05)
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    found.append((first, time.thread_time(), usage.ru_utime + usage.ru_stime))
for _ in range(3):
    thread(work).join()
    thread(int).join()
for first, last, usage in found:
    assert first < 0.025 and last >= 0.05
# Nobody has asked for the resources before the first thread did.
assert all(usage >= 0.025 for _, _, usage in found[1:]), found
"""
        )

    def test_nothing_is_counted_twice_or_lost(self) -> None:
        run(
            """
first, begin = time.thread_time_ns(), time.process_time_ns()
used = []
def work():
    for _ in range(50):
        burn(0.0005)
        time.sleep(0)
    used.append(time.thread_time_ns())
threads = [thread(work) for _ in range(4)]
for each in threads:
    each.join()
mine, passed = time.thread_time_ns() - first, time.process_time_ns() - begin
assert sum(used) + mine <= passed
assert sum(used) + mine >= passed * 0.5     # the rest is the hub's
assert min(used) >= 50 * 0.0005 * 1e9
"""
        )

    def test_raw_greenlets_use_their_threads_time(self) -> None:
        run(
            """
found = []
def work():
    greenlet.greenlet(burn).switch(0.05)
    found.append(time.thread_time())
time.thread_time()
thread(work).join()
assert found[0] >= 0.05
"""
        )

    def test_in_a_forked_child(self) -> None:
        run(
            """
def work():
    burn(0.1)
    assert time.thread_time() >= 0.1
    pid = os.fork()
    if pid == 0:
        # Its OS thread is a new one, with a clock of its own.
        time.sleep(0)
        os._exit(0 if 0 <= time.thread_time() < 0.05 else 1)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
statuses = []
time.thread_time()
thread(work).join()
assert statuses == [0]
"""
        )

    @pytest.mark.parametrize(
        "question",
        ["time.monotonic()", "time.clock_gettime(time.CLOCK_MONOTONIC)", "time.process_time()"],
    )
    def test_who_does_not_ask_pays_nothing(self, question: str) -> None:
        run(
            f"""
{question}
resource.getrusage(resource.RUSAGE_SELF)
thread(int).join()
assert greenlet.gettrace() is None
time.thread_time()
assert greenlet.gettrace() is not None
"""
        )
