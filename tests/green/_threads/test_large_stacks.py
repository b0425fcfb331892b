"""Deep recursion: threads that ask for a large stack get one, the others end as threads do."""

from __future__ import annotations

import textwrap

import pytest

from tests.green.programs import MODES, both_modes, run, same_output
from tests.support import Mode, run_python

LARGE = """
threading.stack_size(512 << 20)
"""


class TestLargeStacks:
    @both_modes
    def test_deep_recursion(self, mode: Mode) -> None:
        """The idiom of programs that recurse without limits."""
        run(
            LARGE
            + """
sys.setrecursionlimit(10**6)
def depth(left):
    return 0 if left == 0 else 1 + depth(left - 1)
assert Thread(depth, 100_000).end() == 100_000
# Through C, which takes stack on every Python; from CPython 3.12 on C has a limit of its own.
if sys.version_info < (3, 12):
    import functools
    @functools.lru_cache(None)
    def cached(left):
        return 0 if left == 0 else 1 + cached(left - 1)
    assert Thread(cached, 50_000).end() == 50_000
""",
            mode,
        )

    @both_modes
    def test_what_threads_do_works(self, mode: Mode) -> None:
        """Locks, events, queues, joins, thread-local data, sockets, between them and the others."""
        run(
            """
def green(function, *args):
    threading.stack_size(0)
    return Thread(function, *args)
def large(function, *args):
    threading.stack_size(64 << 20)
    try:
        return Thread(function, *args)
    finally:
        threading.stack_size(0)
lock, condition, jobs, answers = threading.RLock(), threading.Condition(), queue.Queue(1), queue.Queue()
data, counted, started = threading.local(), [], threading.Semaphore(0)
one, other = socket.socketpair()
def count():
    data.mine = threading.get_ident()
    assert threading.current_thread().ident == threading.get_ident() != threading.main_thread().ident
    for _ in range(200):
        with lock:
            counted.append(counted[-1] + 1 if counted else 1)
    assert data.mine == threading.get_ident()
def work():
    while (job := jobs.get()) is not None:
        answers.put(job * 2)
def talk(sock):
    sock.sendall(b"question")
    return sock.recv(100)
def wait():
    with condition:
        started.release()
        assert condition.wait(LONG)
    return "woken"
counters = [make(count) for make in (large, green) * 3]
workers = [make(work) for make in (large, green)]
talkers = [large(talk, one), green(talk, other)]
waiters = [large(wait), green(wait)]
for number in range(50):
    jobs.put(number)
for _ in workers:
    jobs.put(None)
for _ in waiters:
    assert started.acquire(timeout=LONG)
with condition:
    condition.notify_all()
# From a thread of the other kind, too.
def join(threads):
    return [thread.end() for thread in threads]
assert green(join, waiters[:1]).end() == large(join, waiters[1:]).end() == ["woken"]
assert join(talkers) == [b"question"] * 2
join(counters + workers)
assert counted == list(range(1, 1201)) and not hasattr(data, "mine")
assert sorted(answers.get_nowait() for _ in range(50)) == list(range(0, 100, 2))
assert threading.active_count() == 1 and threading.enumerate() == [threading.main_thread()]
one.close(); other.close()
""",
            mode,
        )

    @both_modes
    def test_the_end_of_a_thread(self, mode: Mode) -> None:
        run(
            LARGE
            + """
import _thread
go = threading.Event()
thread = threading.Thread(target=go.wait)
thread.start()
thread.join(0.001)
assert thread.is_alive() and thread in threading.enumerate()
go.set()
thread.join()
assert not thread.is_alive() and thread not in threading.enumerate()
class Data:
    def __del__(self):
        freed.set()
freed, data = threading.Event(), threading.local()
def keep():
    data.it = Data()
thread = threading.Thread(target=keep)
thread.start()
thread.join()
assert freed.wait(LONG)
# The functions of the low level, and its errors.
done = _thread.allocate_lock()
done.acquire()
ident = _thread.start_new_thread(lambda: (found.append(_thread.get_ident()), done.release()), (), {})
found = []
assert done.acquire(timeout=LONG) and found == [ident]
errors = []
sys.unraisablehook = lambda args: (errors.append((args.exc_type, args.object)), done.release())
def fails():
    raise KeyError(1)
_thread.start_new_thread(fails, ())
assert done.acquire(timeout=LONG)
assert errors == [(KeyError, None if sys.version_info >= (3, 13) else fails)], errors
_thread.start_new_thread(sys.exit, ())
assert threading.stack_size() == 512 << 20
""",
            mode,
        )

    def test_the_program_waits_for_them(self) -> None:
        code = LARGE + textwrap.dedent(
            """
            go = threading.Event()
            def work():
                go.wait()
                time.sleep(0.01)
                sys.stdout.write(f"worked {threading.current_thread().name}\\n")
            for name in "ab":
                threading.Thread(target=work, name=name).start()
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            go.set()
            print("end of main")
            """
        )
        for mode in MODES:
            result = run_python("import sys, threading, time\n" + code, greenify=mode, check=True)
            assert sorted(result.stdout.splitlines()) == ["end of main", "worked a", "worked b"]
            assert result.stderr == ""

    def test_before_and_after_the_patch(self) -> None:
        """The size may have been set before; and no larger one than the main stack means green threads."""
        run_python(
            """
import threading
threading.stack_size(512 << 20)
import greenify
greenify.patch_all()
from greenlet import getcurrent
kinds = []
def work():
    kinds.append("green" if getcurrent().parent is not None else "native")
def start():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
start()
threading.stack_size(1 << 20)
start()
threading.stack_size(0)
start()
threading.stack_size(256 << 20)
start()
greenify.restore()
threading.stack_size(0)
assert kinds == ["native", "green", "green", "native"], kinds
""",
            greenify=False,
            check=True,
        )


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("def recurse(): return recurse()", id="Python"),
        pytest.param(
            "def recurse(): return sorted([1, 2], key=lambda x: recurse())", id="a call from C"
        ),
        pytest.param(
            "@functools.lru_cache(None)\n        def recurse(*n): return recurse(*n, 1)",
            id="a cache",
        ),
        pytest.param(
            "class R:\n            def __repr__(self): return repr([R()])\n"
            "        recurse = lambda: repr(R())",
            id="repr",
        ),
        pytest.param(
            "class E:\n            def __eq__(self, other): return [E()] == [E()]\n"
            "        recurse = lambda: E() == E()",
            id="comparison",
        ),
    ],
)
def test_recursion_without_end_is_an_error(kind: str) -> None:
    """As with threads, each with its own stack: also where each thread is started at the depth of another."""
    out = same_output(
        f"""
        import functools
        {kind}
        ends = []
        def work():
            try:
                recurse()
            except RecursionError as exc:
                ends.append(type(exc).__name__)
        def begin(left, depth):
            if depth:
                return sorted([0], key=lambda _: begin(left, depth - 1) or 0)
            if not left:
                return work()
            Thread(begin, left - 1, 100).end()
            work()
        begin(12, 100)
        Thread(work).end()
        print(ends)
        """.replace("\n        ", "\n    ")
    )
    assert out == f"{['RecursionError'] * 14}\n"
