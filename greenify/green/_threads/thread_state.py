"""What the interpreter keeps of an OS thread that is traced, and Python cannot set.

A tool in C (coverage, memray, viztracer) gives the interpreter a C function and an object for it.  Python
sees the object only, which need not be callable, and `sys.setprofile` would call it as a function of Python.
So the two pointers themselves have to be moved.  They stand in the thread's state, whose layout differs from
version to version: it is found out once, on a thread made for that, by looking where known values appear.
"""

from __future__ import annotations

import _thread
import sys
from functools import cache
from types import FrameType
from typing import Any, NamedTuple

__all__ = ["IDLE", "ThreadState", "release", "set_in_c", "this_thread_state"]

_start_native = _thread.start_new_thread
_native_lock = _thread.allocate_lock
_settrace = sys.settrace
_setprofile = sys.setprofile

# How much of the state is searched, in words.  The functions stand before the fortieth in all versions.
_SEARCHED = 40

#: What `ThreadState.calls` is where no trace or profile function is being called.
IDLE = (0, -1) if sys.version_info >= (3, 12) else (0, 0)


class _Layout(NamedTuple):
    """Where the fields are, in bytes from the beginning of the state."""

    functions: int
    calls: int
    trampolines: tuple[int, int]


class ThreadState:
    """The state of one OS thread, for code that runs in it.

    Attributes:
        functions: four words that can be read and set: the C functions of the profile and of the trace
            function, and the objects of both.  Zero is none; the state owns a reference to each object.
        calls: how many trace or profile functions are being called, in which the interpreter calls no other;
            and from CPython 3.11 on which event is being reported.
        trampolines: the C functions that stand for profile and trace functions of Python.
    """

    __slots__ = ("calls", "functions", "trampolines")

    def __init__(self, address: int, layout: _Layout) -> None:
        import ctypes

        self.functions: Any = (ctypes.c_size_t * 4).from_address(address + layout.functions)
        length = 2 if sys.version_info >= (3, 11) else 1
        self.calls: Any = (ctypes.c_int * length).from_address(address + layout.calls)
        self.trampolines = layout.trampolines


def this_thread_state() -> ThreadState | None:
    """The state of the calling OS thread; None where it cannot be found (no `ctypes`, an unknown layout)."""
    try:
        layout = _find_layout()
    except RuntimeError:
        return None  # there is no thread to be had, to search on
    return None if layout is None else ThreadState(_address(), layout)


def set_in_c(name: str, function: int, argument: int) -> None:
    """Call `PyEval_SetProfile` or `PyEval_SetTrace`: a C function, and an object that is not given away."""
    import ctypes

    _in_c(name)(ctypes.c_void_p(function), ctypes.c_void_p(argument))


def release(argument: int) -> None:
    """Give up a reference to an object, by its address; zero is none."""
    import ctypes

    _in_c("Py_DecRef")(ctypes.c_void_p(argument))


def _address() -> int:
    found: int = _in_c("PyThreadState_Get")()
    return found


@cache
def _in_c(name: str) -> Any:
    """A function of the interpreter; our own object of it, for a program may declare types on the others."""
    import ctypes

    function: Any = ctypes.PyDLL(None)[name]
    function.restype = ctypes.c_size_t if name.endswith("_Get") else None
    return function


@cache
def _find_layout() -> _Layout | None:
    try:
        import ctypes
    except ImportError:
        return None
    found: list[_Layout | None] = []
    done = _native_lock()
    done.acquire()

    def search() -> None:
        try:
            found.append(_search(ctypes))
        finally:
            done.release()

    # Elsewhere: here there may be functions already, and one of them may be running.
    _start_native(search, ())
    done.acquire()
    _tell_of_instructions_again(sys._getframe(1))
    return found[0] if found else None


def _tell_of_instructions_again(frame: FrameType | None) -> None:
    # From CPython 3.13 on, the end of another thread's trace function ends what a debugger here has asked for
    # before it sets its own (`pdb.set_trace`): to be told of each instruction of these frames.  Only what is
    # changed is asked for again.
    while frame is not None:
        if frame.f_trace_opcodes:
            frame.f_trace_opcodes = False
            frame.f_trace_opcodes = True
        frame = frame.f_back


def _search(ctypes: Any) -> _Layout | None:
    address = _address()
    words = (ctypes.c_size_t * _SEARCHED).from_address(address)
    numbers = (ctypes.c_int * (2 * _SEARCHED)).from_address(address)
    # Two depths below, so that no counter of calls differs by one.
    outside = (lambda: (lambda: numbers[:])())()
    inside: list[list[int]] = []

    def trace(frame: object, event: str, arg: object) -> None:
        if not inside:
            inside.append(numbers[:])

    def profile(frame: object, event: str, arg: object) -> None:
        pass

    _setprofile(profile)
    _settrace(trace)
    (lambda: None)()
    try:
        at = _position(words, (id(profile), id(trace)))
        trampolines = (0, 0) if at is None else (words[at], words[at + 1])
    finally:
        _settrace(None)
        _setprofile(None)
    if at is None or any(words[at : at + 4]) or not inside:
        return None
    changed = [
        index
        for index, (before, then) in enumerate(zip(outside, inside[0], strict=True))
        if (before, then) == (0, 1) and index < 2 * at
    ]
    if len(changed) != 1:
        return None
    return _Layout(
        functions=at * ctypes.sizeof(ctypes.c_size_t),
        calls=changed[0] * ctypes.sizeof(ctypes.c_int),
        trampolines=trampolines,
    )


def _position(words: Any, objects: tuple[int, int]) -> int | None:
    # The functions stand before their objects.
    for index in range(2, _SEARCHED - 1):
        if (words[index], words[index + 1]) == objects and words[index - 2] and words[index - 1]:
            return index - 2
    return None
