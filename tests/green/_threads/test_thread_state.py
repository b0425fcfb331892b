"""Whose is what is kept per thread: every row of docs/thread-state.md, with real threads as the control."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass

import pytest

from tests.green import programs
from tests.green.programs import both_modes
from tests.support import ROOT, Mode

PAGE = ROOT / "docs" / "thread-state.md"

OWN = "Each green thread's own"
PROCESS = "One for the whole process"
SHARED = "The OS thread's"


@dataclass(frozen=True)
class Row:
    """A row of the page, and the program that shows it.

    `SHARED` rows are told apart by ``PATCHED`` in the program; the others behave as with real threads.
    """

    section: str
    name: str
    program: str
    since: tuple[int, int] = (3, 10)


ROWS = (
    Row(
        OWN,
        "`threading.get_ident()`, `threading.local`",
        """
        data = threading.local()
        barrier = threading.Barrier(3)
        def work(n):
            assert not vars(data)
            data.n = n
            barrier.wait(LONG)
            assert data.n == n
            return threading.get_ident()
        idents = {t.end() for t in [Thread(work, n) for n in range(3)]}
        assert len(idents | {threading.get_ident()}) == 4 and not vars(data)
        """,
    ),
    Row(
        OWN,
        "`threading.get_native_id()`, `Thread.native_id`",
        """
        barrier = threading.Barrier(3)
        def work():
            own = threading.get_native_id()
            assert own == threading.current_thread().native_id > 0
            barrier.wait(LONG)
            assert own == threading.get_native_id()
            # As a key of what the kernel keeps: by number it is what it is for the calling thread.
            for ask in os.sched_getaffinity, os.sched_getscheduler:
                assert ask(own) == ask(0)
            assert os.sched_getparam(own).sched_priority == os.sched_getparam(0).sched_priority
            assert os.sched_rr_get_interval(own) >= 0
            assert os.getpriority(os.PRIO_PROCESS, own) == os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own))
            os.sched_setaffinity(own, os.sched_getaffinity(own))
            scheduler = os.sched_getscheduler(own), os.sched_getparam(own)
            os.sched_setscheduler(own, *scheduler)
            os.sched_setparam(own, scheduler[1])
            return own
        # Twice: nobody gets the number of one that has ended.
        found = [t.end() for _ in range(2) for t in [Thread(work) for _ in range(3)]]
        assert len({*found, threading.get_native_id()}) == 7
        assert threading.get_native_id() == threading.main_thread().native_id == os.getpid()
        child = os.fork()
        if not child:
            found.append(Thread(threading.get_native_id).end())
            os._exit(len(set(found)))
        # Among all of the system.
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        """,
    ),
    Row(
        OWN,
        "context variables, `decimal.getcontext()`",
        """
        import contextvars, decimal
        variable = contextvars.ContextVar("variable", default=0)
        variable.set(7)
        decimal.getcontext().prec = 5
        barrier = threading.Barrier(3)
        def work(n):
            assert variable.get() == 0 and decimal.getcontext().prec == 28
            variable.set(n)
            decimal.getcontext().prec = 10 + n
            barrier.wait(LONG)
            return variable.get(), str(decimal.Decimal(1) / 3)
        found = [t.end() for t in [Thread(work, n) for n in range(1, 4)]]
        assert found == [(n, "0." + "3" * (10 + n)) for n in range(1, 4)]
        assert variable.get() == 7 and decimal.getcontext().prec == 5
        """,
    ),
    Row(
        OWN,
        "`sys.exc_info()`",
        """
        barrier = threading.Barrier(3)
        def work(n):
            try:
                raise KeyError(n)
            except KeyError as outer:
                barrier.wait(LONG)
                assert sys.exc_info()[1] is outer
                try:
                    raise ValueError(n)
                except ValueError as inner:
                    barrier.wait(LONG)
                    assert sys.exc_info()[1] is inner and inner.__context__ is outer
                barrier.wait(LONG)
                assert sys.exc_info()[1] is outer
            assert sys.exc_info() == (None, None, None)
            return n
        assert [t.end() for t in [Thread(work, n) for n in range(3)]] == [0, 1, 2]
        assert sys.exc_info() == (None, None, None)
        """,
    ),
    Row(
        OWN,
        "the depth of a recursion",
        """
        deep, go = threading.Semaphore(0), threading.Event()
        def work(depth):
            if depth:
                return work(depth - 1)
            deep.release()
            assert go.wait(LONG)
            return "back"
        threads = [Thread(work, 600) for _ in range(3)]
        for _ in threads:
            deep.acquire()
        # Together they are deeper than the limit of 1000.
        def alone(depth):
            return alone(depth - 1) if depth else "bottom"
        assert alone(600) == "bottom"
        go.set()
        assert [t.end() for t in threads] == ["back"] * 3
        """,
    ),
    Row(
        OWN,
        "`sys.settrace()`, `sys.setprofile()`",
        """
        barrier = threading.Barrier(2)
        calls = []
        def record(frame, event, arg):
            calls.append(frame.f_code.co_name)
        def theirs():
            pass
        def mine():
            pass
        def traced():
            sys.settrace(record)
            sys.setprofile(record)
            barrier.wait(LONG)
            mine()
            barrier.wait(LONG)
            found = sys.gettrace(), sys.getprofile()
            sys.settrace(None)
            sys.setprofile(None)
            return found
        thread = Thread(traced)
        barrier.wait(LONG)
        theirs()
        found = sys.gettrace(), sys.getprofile()
        barrier.wait(LONG)
        assert thread.end() == (record, record) and found == (None, None)
        assert "mine" in calls and "theirs" not in calls
        """,
    ),
    Row(
        OWN,
        "`sys.set_asyncgen_hooks()`",
        """
        barrier = threading.Barrier(3)
        async def numbers():
            yield 1
        def work(n):
            assert sys.get_asyncgen_hooks() == (None, None)
            begun = []
            sys.set_asyncgen_hooks(firstiter=begun.append)
            barrier.wait(LONG)
            generator = numbers()
            generator.__anext__().close()
            barrier.wait(LONG)
            return begun == [generator]
        assert [t.end() for t in [Thread(work, n) for n in range(3)]] == [True] * 3
        assert sys.get_asyncgen_hooks() == (None, None)
        """,
    ),
    Row(
        OWN,
        "`sys.set_coroutine_origin_tracking_depth()`",
        """
        barrier = threading.Barrier(3)
        async def nothing():
            pass
        def work(n):
            assert sys.get_coroutine_origin_tracking_depth() == 0
            sys.set_coroutine_origin_tracking_depth(n)
            barrier.wait(LONG)
            made = nothing()
            made.close()
            return len(made.cr_origin or ())
        # A thread's stack is three deep at least.
        assert [t.end() for t in [Thread(work, n) for n in range(3)]] == [0, 1, 2]
        assert sys.get_coroutine_origin_tracking_depth() == 0
        """,
    ),
    Row(
        OWN,
        "asyncio's running loop, its current task",
        """
        import asyncio
        barrier = threading.Barrier(3)
        async def work():
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task in asyncio.all_tasks()
            for _ in range(3):
                await asyncio.sleep(0)
                barrier.wait(LONG)  # in the middle of a task
                assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
            return loop
        threads = [Thread(asyncio.run, work()) for _ in range(3)]
        assert asyncio._get_running_loop() is None
        assert len({t.end() for t in threads}) == 3
        """,
    ),
    Row(
        OWN,
        "`ctypes.get_errno()`",
        """
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        barrier = threading.Barrier(2)
        def work(name, argument, number):
            assert ctypes.get_errno() == 0
            assert getattr(library, name)(argument) == -1
            barrier.wait(LONG)
            assert ctypes.get_errno() == number
            assert ctypes.set_errno(number + 100) == number
            barrier.wait(LONG)
            return ctypes.get_errno()
        threads = Thread(work, "close", -1, errno.EBADF), Thread(work, "chdir", b"/no/such", errno.ENOENT)
        assert [t.end() for t in threads] == [100 + errno.EBADF, 100 + errno.ENOENT]
        assert ctypes.get_errno() == 0
        """,
    ),
    Row(
        OWN,
        "`time.thread_time()`, `CLOCK_THREAD_CPUTIME_ID`",
        """
        clock = time.CLOCK_THREAD_CPUTIME_ID
        readings = (
            time.thread_time,
            lambda: time.thread_time_ns() / 1e9,
            lambda: time.clock_gettime(clock),
            lambda: time.clock_gettime_ns(clock) / 1e9,
        )
        for read in readings:
            begun, burnt = threading.Event(), threading.Event()
            def burner():
                first = read()
                begun.wait(LONG)
                while read() < first + 0.05:
                    pass
                burnt.set()
                return read() - first
            def waiter():
                first = read()
                begun.set()
                assert burnt.wait(LONG)
                return read() - first
            threads = Thread(burner), Thread(waiter)
            first = read()
            used, waited = [t.end() for t in threads]
            mine = read() - first
            assert used >= 0.05 and 0 <= waited < 0.025 and 0 <= mine < 0.025, (used, waited, mine)
            assert time.thread_time() <= time.process_time()
        """,
    ),
    Row(
        OWN,
        "`time.pthread_getcpuclockid()`",
        """
        begun, burnt = threading.Event(), threading.Event()
        def waiter():
            begun.set()
            assert burnt.wait(LONG)
            mine = time.pthread_getcpuclockid(threading.get_ident())
            return mine, time.clock_gettime(mine)
        def burner():
            while time.thread_time() < 0.05:
                pass
            mine = time.pthread_getcpuclockid(threading.get_ident())
            assert time.clock_gettime_ns(mine) >= 50_000_000
            burnt.set()
            assert end.wait(LONG)
            return mine
        end = threading.Event()
        waiting = Thread(waiter)
        begun.wait(LONG)
        clock = time.pthread_getcpuclockid(waiting.ident)
        before = time.clock_gettime(clock)
        burning = Thread(burner)
        found, after = waiting.end()
        assert found == clock and 0 <= after - before < 0.025
        clock = time.pthread_getcpuclockid(burning.ident)
        assert time.clock_gettime(clock) >= 0.05 and time.clock_getres(clock) > 0
        end.set()
        assert burning.end() == clock
        main = time.pthread_getcpuclockid(threading.main_thread().ident)
        assert 0 < time.clock_gettime(main) <= time.process_time()
        print(outcome(time.pthread_getcpuclockid, "x"))
        """,
    ),
    Row(
        OWN,
        "`resource.getrusage(RUSAGE_THREAD)`",
        """
        import resource
        def read():
            usage = resource.getrusage(resource.RUSAGE_THREAD)
            assert usage.ru_maxrss > 0 and len(usage) == 16
            return usage.ru_utime + usage.ru_stime
        begun, burnt = threading.Event(), threading.Event()
        def burner():
            first = read()
            begun.wait(LONG)
            while read() < first + 0.05:
                pass
            burnt.set()
            return read() - first
        def waiter():
            first = read()
            begun.set()
            assert burnt.wait(LONG)
            return read() - first
        threads = Thread(burner), Thread(waiter)
        used, waited = [t.end() for t in threads]
        assert used >= 0.05 and 0 <= waited < 0.025, (used, waited)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_utime > 0
        """,
    ),
    Row(
        OWN,
        "`signal.pthread_sigmask()`",
        """
        import signal
        barrier = threading.Barrier(2)
        def mask():
            return signal.pthread_sigmask(signal.SIG_BLOCK, ())
        def work(number):
            before = mask()
            signal.pthread_sigmask(signal.SIG_BLOCK, {number})
            barrier.wait(LONG)
            assert mask() == before | {number}
            return before
        threads = Thread(work, signal.SIGUSR1), Thread(work, signal.SIGUSR2)
        assert [t.end() for t in threads] == [set(), set()] and mask() == set()
        """,
    ),
    Row(
        OWN,
        "`PyThreadState_SetAsyncExc`",
        """
        import ctypes
        begun = threading.Semaphore(0)
        def work():
            begun.release()
            try:
                while not stop.is_set():
                    time.sleep(0.001)
            except ZeroDivisionError:
                return "thrown"
            return "stopped"
        stop = threading.Event()
        threads = [Thread(work) for _ in range(3)]
        for _ in threads:
            begun.acquire()
        raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        assert raise_in(ctypes.c_ulong(threads[1].ident), ctypes.py_object(ZeroDivisionError)) == 1
        assert threads[1].end() == "thrown"
        stop.set()
        assert threads[0].end() == threads[2].end() == "stopped"
        # There is place for one, in the main thread's, too: another replaces it, and nothing takes it back.
        zero, overflow = ctypes.py_object(ZeroDivisionError), ctypes.py_object(OverflowError)
        def wait():
            begun.release()
            try:
                stop.wait(LONG)
            except ArithmeticError as exc:
                return type(exc)
        def replace(*errors):
            stop.clear()
            thread = Thread(wait)
            begun.acquire()
            for error in errors:
                assert raise_in(ctypes.c_ulong(thread.ident), error) == 1
            stop.set()
            return thread.end()
        def in_main():
            for error in zero, None, overflow, 0, None:
                assert raise_in(ctypes.c_ulong(threading.main_thread().ident), error) == 1
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)  # no real thread takes a turn between two calls
        found = [replace(None), replace(0), replace(zero, ctypes.py_object()), replace(zero, overflow)]
        assert found == [None, None, None, OverflowError], found
        Thread(in_main).end()
        sys.setswitchinterval(interval)
        time.sleep(0.001)
        # In itself at once, whatever the native threads are that are started meanwhile.
        raise_in.argtypes = ctypes.c_ulong, ctypes.py_object
        def raise_in_itself():
            try:
                raise_in(threading.get_ident(), ZeroDivisionError)
                while True:
                    pass
            except ZeroDivisionError:
                return "caught"
        for _ in range(20):
            sleeper = Thread(time.sleep, 0.001)  # the first green thread starts what ticks
            assert raise_in_itself() == Thread(raise_in_itself).end() == "caught"
            sleeper.end()
            time.sleep(0.03)  # it ends when it finds no thread
        """,
    ),
    Row(
        OWN,
        "the containers that `repr` is showing",
        """
        class Slow:
            def __repr__(self):
                barrier.wait(LONG)
                return "<slow>"
        barrier, shared = threading.Barrier(3), [Slow()]
        assert [t.end() for t in [Thread(repr, shared) for _ in range(3)]] == ["[<slow>]"] * 3
        """,
        since=(3, 11),
    ),
    Row(
        OWN,
        "`sys._current_frames()`",
        """
        go, begun = threading.Event(), threading.Semaphore(0)
        def waits_here():
            begun.release()
            go.wait(LONG)
        threads = [Thread(waits_here) for _ in range(3)]
        for _ in threads:
            begun.acquire()
        settle()
        frames = sys._current_frames()
        for thread in threads:
            assert "waits_here" in "".join(traceback.format_stack(frames[thread.ident]))
        assert frames[threading.get_ident()] is sys._getframe()
        go.set()
        del frames
        """,
    ),
    Row(
        PROCESS,
        "`sys.setswitchinterval()`",
        """
        Thread(sys.setswitchinterval, 0.25).end()
        assert sys.getswitchinterval() == 0.25
        """,
    ),
    Row(
        PROCESS,
        "`sys.setrecursionlimit()`",
        """
        Thread(sys.setrecursionlimit, 3000).end()
        def down(depth):
            return down(depth - 1) if depth else "bottom"
        assert sys.getrecursionlimit() == 3000 and down(2500) == Thread(down, 2500).end() == "bottom"
        Thread(sys.setrecursionlimit, 500).end()
        assert outcome(down, 600).startswith("RecursionError")
        assert outcome(Thread(down, 600).end).startswith("RecursionError")
        """,
    ),
    Row(
        PROCESS,
        "`sys.monitoring`",
        """
        monitoring = sys.monitoring
        seen = []
        def begins(code, offset):
            if code.co_name == "work":
                seen.append(threading.get_ident())
        def begin():
            monitoring.use_tool_id(3, "test")
            monitoring.register_callback(3, monitoring.events.PY_START, begins)
            monitoring.set_events(3, monitoring.events.PY_START)
        def work():
            settle()
            return threading.get_ident()
        Thread(begin).end()
        idents = [t.end() for t in [Thread(work) for _ in range(3)]] + [work()]
        monitoring.free_tool_id(3)
        assert sorted(seen) == sorted(idents)
        """,
        since=(3, 12),
    ),
    Row(
        PROCESS,
        "`threading.excepthook`, `sys.unraisablehook`",
        """
        seen = []
        def install():
            threading.excepthook = lambda args: seen.append(args.exc_type)
            sys.unraisablehook = lambda args: seen.append(args.exc_type)
        Thread(install).end()
        def fails():
            raise ZeroDivisionError
        class Bad:
            def __del__(self):
                raise KeyError
        thread = threading.Thread(target=fails)
        thread.start()
        thread.join()
        def drop():
            bad = Bad()
        Thread(drop).end()
        assert seen == [ZeroDivisionError, KeyError], seen
        """,
    ),
    Row(
        PROCESS,
        "`warnings.catch_warnings()`",
        """
        inside, go = threading.Event(), threading.Event()
        def work():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                inside.set()
                assert go.wait(LONG)
                return len(caught)
        thread = Thread(work)
        assert inside.wait(LONG)
        warnings.warn("from another thread")
        go.set()
        assert thread.end() == 1
        """,
    ),
    Row(
        PROCESS,
        "`threading.stack_size()`",
        """
        # Each call tells what was set before.
        assert Thread(threading.stack_size, 1 << 20).end() == 0
        assert threading.stack_size(1 << 19) == 1 << 20
        assert Thread(threading.stack_size).end() == 1 << 19
        print(outcome(threading.stack_size, 1), outcome(threading.stack_size, -1))
        """,
    ),
    Row(
        PROCESS,
        "`faulthandler.dump_traceback_later()`",
        """
        import faulthandler, tempfile
        first, second = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        Thread(faulthandler.dump_traceback_later, 0.5, file=first).end()
        # It takes the place of the other thread's.
        Thread(faulthandler.dump_traceback_later, 0.01, file=second).end()
        deadline = time.monotonic() + LONG
        while not os.fstat(second.fileno()).st_size:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.6)
        assert not os.fstat(first.fileno()).st_size
        # And any thread stops it.
        faulthandler.dump_traceback_later(0.2, file=first)
        Thread(faulthandler.cancel_dump_traceback_later).end()
        time.sleep(0.3)
        assert not os.fstat(first.fileno()).st_size
        first.close(), second.close()
        """,
    ),
    Row(
        PROCESS,
        "`os.chdir()`, `os.umask()`, `locale.setlocale()`",
        """
        import locale
        def change():
            os.chdir("/")
            os.umask(0o27)
            locale.setlocale(locale.LC_ALL, "C")
        Thread(change).end()
        assert os.getcwd() == "/" and os.umask(0o22) == 0o27
        assert locale.setlocale(locale.LC_CTYPE) == "C"
        """,
    ),
    Row(
        SHARED,
        "`os.sched_setaffinity(0, ...)`",
        """
        before = os.sched_getaffinity(0)
        one = {min(before)}
        Thread(os.sched_setaffinity, 0, one).end()
        assert os.sched_getaffinity(0) == (one if PATCHED else before)
        """,
    ),
    Row(
        SHARED,
        "`os.setpriority()`, `os.nice()`",
        """
        before = os.getpriority(os.PRIO_PROCESS, 0)
        higher = min(19, before + 1)
        Thread(os.setpriority, os.PRIO_PROCESS, 0, higher).end()
        assert os.getpriority(os.PRIO_PROCESS, 0) == (higher if PATCHED else before)
        Thread(os.nice, 1).end()
        assert os.nice(0) == (min(19, higher + 1) if PATCHED else before)
        """,
    ),
    Row(
        SHARED,
        "`os.unshare()`, `os.setns()`",
        """
        import ctypes
        CLONE_FS = 0x200
        library = ctypes.CDLL(None, use_errno=True)
        before = os.getcwd()
        def work():
            if library.unshare(CLONE_FS):
                return ctypes.get_errno()
            os.chdir("/")
            return 0
        error = Thread(work).end()
        if error:
            print("refused:", os.strerror(error))
        else:
            assert before != "/" and os.getcwd() == ("/" if PATCHED else before)
        """,
    ),
    Row(
        SHARED,
        "the name of the thread for the kernel",
        """
        import ctypes
        PR_SET_NAME = 15
        library = ctypes.CDLL(None)
        def name():
            with open("/proc/thread-self/comm") as file:
                return file.read().strip()
        before = name()
        def work():
            assert library.prctl(PR_SET_NAME, b"renamed", 0, 0, 0) == 0
            return name()
        assert Thread(work).end() == "renamed"
        assert name() == ("renamed" if PATCHED else before) != ""
        """,
    ),
    Row(
        SHARED,
        "`signal.pthread_kill()`",
        """
        import signal
        handled, ready, go = [], threading.Event(), threading.Event()
        signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(threading.current_thread()))
        def blocks():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            ready.set()
            assert go.wait(LONG)
        def waits():
            ready.set()
            assert go.wait(LONG)
        for function, arrives in ((waits, True), (blocks, PATCHED)):
            handled.clear(), ready.clear(), go.clear()
            thread = Thread(function)
            assert ready.wait(LONG)
            signal.pthread_kill(thread.ident, signal.SIGUSR1)
            deadline = time.monotonic() + LONG
            while arrives and not handled:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            go.set()
            thread.end()
            assert handled == [threading.main_thread()] * arrives
        """,
    ),
    Row(
        SHARED,
        "reports of `faulthandler`",
        """
        import faulthandler, tempfile
        go, begun = threading.Event(), threading.Event()
        def waits_here():
            begun.set()
            assert go.wait(LONG)
        thread = Thread(waits_here)
        assert begun.wait(LONG)
        settle()
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file=file)
            file.seek(0)
            report = file.read().decode()
        go.set()
        thread.end()
        assert "<module>" in report and ("waits_here" in report) is not PATCHED
        """,
    ),
    Row(
        SHARED,
        "`sys._current_exceptions()`",
        """
        go, begun = threading.Event(), threading.Event()
        def handles():
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                begun.set()
                assert go.wait(LONG)
        thread = Thread(handles)
        assert begun.wait(LONG)
        settle()
        found = sys._current_exceptions().get(thread.ident)
        assert bool(found) is not PATCHED
        try:
            raise KeyError
        except KeyError:
            assert "KeyError" in repr(sys._current_exceptions()[threading.get_ident()])
        go.set()
        thread.end()
        """,
    ),
    Row(
        SHARED,
        "thread-local variables in C",
        """
        import ctypes
        ident = ctypes.pythonapi.PyThread_get_thread_ident
        ident.restype = ctypes.c_ulong
        barrier = threading.Barrier(3)
        def work():
            barrier.wait(LONG)
            return ident(), threading.get_ident()
        found = [t.end() for t in [Thread(work) for _ in range(3)]] + [(ident(), threading.get_ident())]
        in_c, in_python = map(set, zip(*found))
        assert len(in_python) == 4 and len(in_c) == (1 if PATCHED else 4)
        """,
    ),
)


@both_modes
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row: Row, mode: Mode) -> None:
    if sys.version_info < row.since:
        pytest.skip("this Python has no such thing; it is there from {}.{} on".format(*row.since))
    code = textwrap.indent(textwrap.dedent(row.program), " " * 4)
    told = programs.run(code, mode)
    if told.startswith("refused:"):
        pytest.skip(
            f"the kernel does not let this process try ({told.strip()}); run it without seccomp"
        )
    if row.section is not SHARED:
        assert told == programs.run(code, False)


def test_the_page_lists_what_is_tested() -> None:
    listed: list[tuple[str, str]] = []
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| "):
            name, about = [cell.strip() for cell in line.strip("|").split(" | ")]
            if name != "what":
                assert about
                listed.append((section, name))
    assert listed == [(row.section, row.name) for row in ROWS]
