"""Trace and profile functions per green thread: of C, set before the patch, waiting in a call of theirs."""

from __future__ import annotations

import sys

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode, run_python

# Functions of C, as those of coverage and memray: harmless ones that take four arguments and return zero for
# what is false.  Their objects cannot be called.
IN_C = """
import ctypes

def set_in_c(name, obj):
    set_it = getattr(ctypes.pythonapi, name)
    set_it.argtypes, set_it.restype = [ctypes.c_void_p, ctypes.py_object], None
    set_it(ctypes.cast(ctypes.pythonapi.PyObject_IsTrue, ctypes.c_void_p), obj)

class Empty(tuple):
    pass
"""


class TestFunctionsOfC:
    @both_modes
    @pytest.mark.parametrize("what", ["Trace", "Profile"])
    def test_everybody_keeps_his(self, mode: Mode, what: str) -> None:
        run(
            IN_C
            + f"""
setter, getter = "PyEval_Set{what}", sys.get{what.lower()}
for_threads = threading.set{what.lower()}
"""
            + """
mine = Empty()
def begin(*_):
    # What the first event of a thread is given to.
    set_in_c(setter, Empty())
set_in_c(setter, mine)
for_threads(begin)
kept = []
def work():
    first = getter()
    time.sleep(0.001)
    assert type(first) is Empty and first is not mine and getter() is first, (first, getter())
    kept.append(first)
def main():
    threads = [Thread(work) for _ in range(3)]
    for thread in threads:
        thread.end()
    for_threads(None)
    Thread(lambda: kept.append(getter())).end()
    return getter() is mine
assert main()
set_in_c(setter, None)
sys.settrace(None); sys.setprofile(None)
assert len({id(each) for each in kept}) == 4 and kept[3] is None, kept
""",
            mode,
        )

    @both_modes
    def test_set_in_main_after_threads_have_been_started(self, mode: Mode) -> None:
        """`coverage.Coverage().start()` in the middle: the threads that run already have nothing."""
        run(
            IN_C
            + """
mine = Empty()
go, there = threading.Event(), threading.Semaphore(0)
def work():
    there.release()
    go.wait()
    return sys.gettrace()
threads = [Thread(work) for _ in range(3)]
for _ in threads:
    there.acquire()
set_in_c("PyEval_SetTrace", mine)
threading.settrace(lambda *_: None)
go.set()
found = [thread.end() for thread in threads]
threading.settrace(None)
still = sys.gettrace() is mine
sys.settrace(None)
assert found == [None] * 3 and still, (found, still)
""",
            mode,
        )

    def test_tasks_have_the_main_ones(self) -> None:
        """As without the patch: coverage covers them.  A debugger, in Python, stays in its thread."""
        run_python(
            IN_C
            + """
import greenify, sys, threading
mine = Empty()
set_in_c("PyEval_SetTrace", mine)
threading.settrace(print)
threading.settrace(None)
def twice():
    first = sys.gettrace()
    greenify.sleep(0)
    return first, sys.gettrace()
def main():
    tasks = [greenify.spawn(twice) for _ in range(2)]
    for task in tasks:
        task.join()
    return [task.result for task in tasks], sys.gettrace()
found = main()
sys.settrace(None)
assert found == ([(mine, mine)] * 2, mine), found
def trace(*_):
    pass
sys.settrace(trace)
found = main()
sys.settrace(None)
assert found == ([(None, None)] * 2, trace), found
""",
            greenify="patch_all",
            check=True,
        )

    def test_a_raw_greenlet_is_a_part_of_its_thread(self) -> None:
        run_python(
            """
import greenlet, sys, threading, time
seen = []
def trace(frame, event, arg):
    if frame.f_code is part.__code__:
        seen.append(threading.current_thread().name)
def part():
    time.sleep(0.001)
    return sys.gettrace()
def work():
    sys.settrace(trace)
    found = greenlet.greenlet(part).switch()
    assert found is trace is sys.gettrace(), found
threads = [threading.Thread(target=work, name=name) for name in "ab"]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(seen) == ["a", "b"] and sys.gettrace() is None, seen
""",
            greenify="patch_all",
            check=True,
        )


class TestBeforeThePatch:
    @pytest.mark.parametrize("what", ["trace", "profile"])
    def test_main_keeps_it(self, what: str) -> None:
        """``python -m debugpy --listen ... -m greenify script.py``, an editor's way to run a module."""
        result = run_python(
            f"""
import sys, threading
def function(frame, event, arg):
    return function
sys.set{what}(function)
threading.set{what}(function)
import greenify
greenify.patch_all()
def main():
    found = []
    thread = threading.Thread(target=lambda: found.append(sys.get{what}()))
    thread.start()
    thread.join()
    return found[0] is function, sys.get{what}() is function
found = main()
sys.set{what}(None)
threading.set{what}(None)
print(*found)
""",
            greenify=False,
            check=True,
        )
        assert result.stdout == "True True\n"


# A tracer that waits in the line event of one function, and is told about by others meanwhile.
WAITING = """
lines = []
inside, go = threading.Event(), threading.Event()
def stops():
    x = 1
    y = 2
    return x + y
def runs():
    x = 1
    time.sleep(0.001)
    return x
def trace(frame, event, arg):
    if frame.f_code is stops.__code__:
        if event == "line" and frame.f_lineno == stops.__code__.co_firstlineno + 1:
            inside.set()
            assert go.wait(LONG)
        lines.append(("stops", event))
        return trace
    if frame.f_code is runs.__code__:
        lines.append(("runs", event))
        return trace
"""


class TestWaiting:
    @both_modes
    def test_others_are_traced_meanwhile(self, mode: Mode) -> None:
        """A debugger at a breakpoint: the breakpoints of the other threads are hit."""
        run(
            WAITING
            + """
threading.settrace(trace)
waits = Thread(stops)
assert inside.wait(LONG)
assert Thread(runs).end() == 1
threading.settrace(None)
assert lines == [("stops", "call")] + [("runs", what) for what in ("call", *["line"] * 3, "return")], lines
go.set()
assert waits.end() == 3
assert lines[6:] == [("stops", "line")] * 3 + [("stops", "return")], lines
""",
            mode,
        )

    @both_modes
    def test_main_waits_in_one(self, mode: Mode) -> None:
        run(
            WAITING
            + """
found = []
def other():
    assert inside.wait(LONG)
    sys.settrace(trace)
    found.append(runs())
    sys.settrace(None)
    go.set()
thread = Thread(other)
sys.settrace(trace)
assert stops() == 3
sys.settrace(None)
thread.end()
assert lines.count(("runs", "line")) == 3 and lines.count(("stops", "line")) == 3, lines
""",
            mode,
        )

    @both_modes
    def test_a_profile_function_that_waits(self, mode: Mode) -> None:
        run(
            """
calls = []
def leaf():
    pass
def profile(frame, event, arg):
    if frame.f_code is leaf.__code__:
        time.sleep(0.001)
        calls.append((threading.get_ident(), event))
threading.setprofile(profile)
def work():
    for _ in range(5):
        leaf()
threads = [Thread(work) for _ in range(4)]
for thread in threads:
    thread.end()
threading.setprofile(None)
for thread in threads:
    mine = [event for ident, event in calls if ident == thread.ident]
    assert mine == ["call", "return"] * 5 or len({t.ident for t in threads}) < 4, mine
assert len(calls) == 40, len(calls)
""",
            mode,
        )

    @both_modes
    def test_the_tracer_is_not_traced_itself_after_it_has_waited(self, mode: Mode) -> None:
        run(
            """
calls = []
def helper():
    return 1
def traced():
    return 2
def trace(frame, event, arg):
    if frame.f_code is helper.__code__:
        calls.append("helper")
    if frame.f_code is traced.__code__:
        time.sleep(0.001)
        helper()
        calls.append("traced")
threading.settrace(trace)
threads = [Thread(traced) for _ in range(3)]
for thread in threads:
    thread.end()
threading.settrace(None)
assert calls == ["traced"] * 3, calls
""",
            mode,
        )

    @both_modes
    def test_jumps_are_of_the_event_that_is_reported(self, mode: Mode) -> None:
        """A debugger's `jump` in one thread, while another one has stopped where that is not allowed."""
        run(
            """
there, go = threading.Event(), threading.Event()
def jumps():
    found = ["first"]
    found.append("left out")
    return found
def returns():
    pass
def trace(frame, event, arg):
    if frame.f_code is jumps.__code__:
        if event == "line" and frame.f_lineno == jumps.__code__.co_firstlineno + 2:
            there.set()
            assert go.wait(LONG)
            frame.f_lineno += 1
        return trace
    if frame.f_code is returns.__code__:
        if event == "return":
            go.set()
            time.sleep(0.001)
        return trace
threading.settrace(trace)
one = Thread(jumps)
assert there.wait(LONG)
Thread(returns).end()
threading.settrace(None)
assert one.end() == ["first"]
""",
            mode,
        )


class TestNothingIsLeft:
    @both_modes
    def test_of_an_ended_thread(self, mode: Mode) -> None:
        """The function goes with the thread, and so does what tracing costs the others."""
        run(
            """
import weakref
class Trace:
    def __call__(self, frame, event, arg):
        return None
references = []
def work():
    function = Trace()
    references.append(weakref.ref(function))
    sys.settrace(function)
    sys.setprofile(function)
    time.sleep(0.001)
for _ in range(3):
    threads = [Thread(work) for _ in range(3)]
    for thread in threads:
        thread.end()
    del threads, thread
    settle()
gc.collect()
assert [reference() for reference in references] == [None] * 9
assert sys.gettrace() is None and sys.getprofile() is None
if PATCHED and sys.version_info >= (3, 12):
    # The interpreter counts the threads with functions, and rewrites code while there are any.  It counts
    # real ones that have ended, too.
    def fresh():
        return 1
    fresh()
    import dis
    code = fresh.__code__._co_code_adaptive
    names = {number: name for name, number in dis._all_opmap.items()} if hasattr(dis, "_all_opmap") else {}
    assert not any(names.get(number, "").startswith("INSTRUMENTED") for number in code[::2]), code
    assert names
""",
            mode,
        )

    def test_a_thread_that_is_killed_while_its_tracer_waits(self) -> None:
        run_python(
            """
import greenify, sys, threading, time
from greenify.errors import TaskExit
inside = threading.Event()
def traced():
    return 1
def trace(frame, event, arg):
    if frame.f_code is traced.__code__:
        inside.set()
        time.sleep(100)
def work():
    sys.settrace(trace)
    traced()
thread = threading.Thread(target=work)
thread.start()
inside.wait()
from greenify.green._threads.async_exc import _find
_find(thread.ident)[1].throw_soon(SystemExit())
thread.join()
# The greenlet is used again, and is traced.
seen = []
def again(frame, event, arg):
    seen.append(frame.f_code.co_name)
threading.settrace(again)
thread = threading.Thread(target=traced)
thread.start()
thread.join()
threading.settrace(None)
assert "traced" in seen, seen
""",
            greenify="patch_all",
            check=True,
        )


@both_modes
def test_each_instruction_of_a_frame_that_asked_for_it_first(mode: Mode) -> None:
    """As `pdb.set_trace` does from CPython 3.13 on, to stop where it is called."""
    run(
        """
    seen = []
    def trace(frame, event, arg):
        if frame.f_code.co_name == "traced":
            seen.append(event)
        return trace
    def traced():
        frame = sys._getframe()
        frame.f_trace, frame.f_trace_opcodes = trace, True
        sys.settrace(trace)
        result = 2
        sys.settrace(None)
        return result
    assert traced() == 2
    assert seen.count("opcode") >= 3 and "line" in seen, seen
        """,
        mode,
    )


def test_without_ctypes() -> None:
    """A Python that was built without it: functions of Python work as they do elsewhere."""
    code = """
sys.modules["ctypes"] = None
def trace(frame, event, arg):
    pass
def work():
    sys.settrace(trace)
    sys.setprofile(trace)
    time.sleep(0.001)
    assert sys.gettrace() is trace is sys.getprofile()
    return True
def other():
    time.sleep(0.001)
    return sys.gettrace() is None is sys.getprofile()
threads = [Thread(function) for function in (work, other, work, other)]
assert all([thread.end() for thread in threads])
assert sys.gettrace() is None is sys.getprofile()
if hasattr(sys, "_settraceallthreads"):
    go = threading.Event()
    def waits():
        go.wait()
        return sys.gettrace() is trace, sys.getprofile() is None
    thread = Thread(waits)
    settle()
    threading.settrace_all_threads(trace)
    go.set()
    found = thread.end()
    threading.settrace_all_threads(None)
    assert found == (True, True) and sys.gettrace() is None
"""
    run(code, "patch_all")


def test_the_layout_is_found() -> None:
    """On every Python that is supported, or functions of C are lost."""
    from greenify.green._threads.thread_state import IDLE, this_thread_state

    state = this_thread_state()
    assert state is not None
    present = sys.getprofile()
    assert state.functions[2] == (0 if present is None else id(present))
    seen: list[int] = []
    before = sys.gettrace()
    sys.settrace(lambda *_: seen.append(state.calls[0]))
    (lambda: None)()
    sys.settrace(before)
    assert seen[0] == 1 and state.calls[0] == IDLE[0] == 0


def test_the_outermost_frame_is_called_as_that_of_threading() -> None:
    """pydevd goes by these two names: it asks for no Thread object before `threading` knows the thread."""
    code = """
import os, sys, threading
def outermost():
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    print(os.path.basename(frame.f_code.co_filename), frame.f_code.co_name)
thread = threading.Thread(target=outermost)
thread.start()
thread.join()
"""
    plain, green = (run_python(code, greenify=mode, check=True).stdout for mode in (False, True))
    assert plain == green == "threading.py _bootstrap\n"
