"""`_thread` and `threading`: threads become greenlets.

`threading` keeps its own Python code (Thread, Condition, Event, Semaphore, Barrier, Timer); only the
primitives that it takes from `_thread` are replaced, in both modules.
"""

from __future__ import annotations

import _imp
import _thread
import faulthandler
import os
import posix
import sys
import threading
import time
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify.core import slices
from greenify.green import _thread as _thread_twin
from greenify.green._copies.builtin import builtin_twin
from greenify.green._threads import (
    clocks,
    import_lock,
    large_stacks,
    reprs,
    thread_settings,
    tracing,
    watchdog,
)
from greenify.green._threads import thread as green
from greenify.green._threads.async_exc import make_set_async_exc
from greenify.green._threads.conditions import (
    CONDITION_METHODS,
    EVENT_METHODS,
    RLOCK_METHODS,
    complete_events,
    event_attributes,
)
from greenify.green._threads.ctypes_errno import Errno
from greenify.green._threads.dummies import forget_dummies
from greenify.green._threads.native_threads import HandleStandIn, LockStandIn
from greenify.patches import foreign_locks, profilers
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch
from greenify.patches.reducers import extend_reducers

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

# Where a `Thread` keeps what announces its end.
if sys.version_info >= (3, 14):
    _END = "_os_thread_handle"
elif sys.version_info >= (3, 13):
    _END = "_handle"
else:
    _END = "_tstate_lock"

_thread_names: dict[str, Any] = _thread_twin.REPLACED
_threading_names: dict[str, Any] = {
    "_allocate_lock": green.allocate_lock,
    "Lock": green.Lock,
    "_CRLock": green.RLock,
    "get_ident": green.get_ident_twin,
    "get_native_id": _thread_names["get_native_id"],
    "local": green.local,
    "stack_size": _thread_names["stack_size"],
    "settrace": tracing.settrace_of_new_threads,
    "setprofile": tracing.setprofile_of_new_threads,
}
if sys.version_info >= (3, 13):
    _threading_names |= {
        "_ThreadHandle": green.ThreadHandle,
        "_make_thread_handle": green.make_thread_handle,
        "_LockType": green.LockType,
        "_start_joinable_thread": _thread_names["start_joinable_thread"],
        "_thread_shutdown": green.shutdown,
    }
else:
    _threading_names["_set_sentinel"] = green.set_sentinel
    if hasattr(threading, "_maintain_shutdown_locks"):
        _threading_names["_maintain_shutdown_locks"] = green.maintain_shutdown_locks
    _threading_names["_start_new_thread"] = _thread_names["start_new_thread"]

if getattr(threading, "_set_name", None) is not None:  # from CPython 3.14 on, where the system can
    _threading_names["_set_name"] = _thread_names["set_name"]

# A program that takes this one's place inherits the timer of the time slices, and no handler.
_exec: dict[str, Any] = {
    "execv": green.execv,
    "execve": green.execve,
}

# What `sys` keeps per thread.
_sys: dict[str, Any] = {
    name: twin
    for name, twin in (
        ("_current_frames", tracing.current_frames),
        ("set_asyncgen_hooks", thread_settings.set_asyncgen_hooks),
        (
            "set_coroutine_origin_tracking_depth",
            thread_settings.set_coroutine_origin_tracking_depth,
        ),
        ("settrace", tracing.settrace),
        ("setprofile", tracing.setprofile),
        ("_settraceallthreads", tracing.settrace_all_threads),  # from CPython 3.12 on
        ("_setprofileallthreads", tracing.setprofile_all_threads),
    )
    if hasattr(sys, name)
}

_event: dict[str, Any] = {
    name: method for name, method in EVENT_METHODS.items() if hasattr(threading.Event, name)
}
_event_new: dict[str, Any] = event_attributes(threading) | {
    name: method for name, method in EVENT_METHODS.items() if name not in _event
}

_classes: dict[type, type] = {
    type(_thread.allocate_lock()): green.Lock,
    _thread.RLock: green.RLock,
    _thread._local: green.local,
}

PATCHES = (
    Patch(sys, replace=_sys),
    Patch(_thread, replace=_thread_names),
    Patch(threading, replace=_threading_names),
    Patch(threading.Condition, replace=CONDITION_METHODS),
    Patch(threading._RLock, replace=RLOCK_METHODS),
    Patch(threading.Event, replace=_event, add=_event_new),
    Patch(time, replace=clocks.REPLACED),
    Patch(faulthandler, replace=watchdog.REPLACED),
    Patch(os, replace=_exec),
    Patch(posix, replace=_exec),
    Patch(
        _imp,
        replace={
            "acquire_lock": import_lock.acquire_lock,
            "release_lock": import_lock.release_lock,
        },
    ),
)


def finish(journal: Journal) -> None:
    """Adapt what is not a plain attribute: live threads, ctypes, names of exports; allow time slices."""
    for allow in (slices.allow, import_lock.allow, thread_settings.allow, reprs.allow):
        allow(True)
        journal.on_undo(partial(allow, False))
    journal.on_undo(forget_dummies(threading))
    _convert_threads(journal)
    extend_reducers(journal, _classes)
    tracing.watch_if_traced()
    large_stacks.look()
    journal.on_undo(large_stacks.forget)
    journal.on_undo(partial(complete_events, threading.Event))
    if sys.version_info < (3, 12):
        when_imported(journal, "cProfile", partial(_patch_profiler, journal))
    when_imported(journal, "ctypes", partial(_patch_ctypes, journal))
    when_imported(journal, "resource", partial(_patch_resource, journal))
    when_imported(
        journal,
        "_time_machine",
        partial(_patch_time_machine, journal),
        again=True,
        during=clocks.native_clocks,
    )
    foreign_locks.await_libraries(journal)
    profilers.await_profilers(journal)


def _patch_profiler(journal: Journal, module: ModuleType) -> None:
    profile: Any = module
    patch = Patch(profile.Profile, replace={"enable": tracing.profiler_enable})
    journal.apply("thread", (patch,))


def _patch_ctypes(journal: Journal, ctypes: ModuleType) -> None:
    name = "PyThreadState_SetAsyncExc"
    api: Any = ctypes.pythonapi
    twin = make_set_async_exc(ctypes)
    errno = Errno(ctypes)
    set_errno = builtin_twin(vars(ctypes)["set_errno"], errno.setter())
    patches = (
        Patch(vars(ctypes)["CDLL"], replace={"__init__": errno.library()}),
        Patch(ctypes, replace={"CFUNCTYPE": errno.function_type(), "set_errno": set_errno}),
        Patch(sys.modules["_ctypes"], replace={"set_errno": set_errno}),
    )
    journal.apply("thread", patches, lambda journal: journal.replace(api, name, twin))


def _patch_resource(journal: Journal, resource: ModuleType) -> None:
    if hasattr(resource, "RUSAGE_THREAD"):  # Linux has it
        twin = clocks.make_getrusage(resource)
        journal.apply("thread", (Patch(resource, replace={"getrusage": twin}),))


def _patch_time_machine(journal: Journal, module: ModuleType) -> None:
    # Its later versions keep the functions of `time` that were there at its import, the earlier ones (until
    # 2.16 with `patch_if_needed`) look them up whenever the clock is moved.
    replace: dict[str, Any] = {
        name: builtin_twin(vars(module)[name], clocks.with_native_clocks(vars(module)[name]))
        for name in ("patch", "patch_if_needed", "unpatch")
        if name in vars(module)
    }
    journal.apply("thread", (Patch(module, replace=replace),))


def _renew_handles(journal: Journal, threads: list[Any]) -> None:
    # Those of threads that have been made and not started.
    renewed: list[tuple[Any, Any, green.ThreadHandle]] = []
    for thread in threads:
        native = getattr(thread, _END)
        if not thread._started.is_set() and not isinstance(native, HandleStandIn):
            renewed.append((thread, native, green.ThreadHandle()))
    for thread, _, handle in renewed:
        setattr(thread, _END, handle)

    def put_back() -> None:
        for thread, native, handle in renewed:
            if getattr(thread, _END) is handle and not thread._started.is_set():
                setattr(thread, _END, native)

    journal.on_undo(put_back)


def _convert_threads(journal: Journal) -> None:
    # Green threads have to be able to join the main thread and the native threads that run already.
    module: Any = threading
    main = threading.main_thread()
    stand_ins: dict[int, Any] = {}
    for thread in threading.enumerate():
        native: Any = getattr(thread, _END, None)
        if native is None:
            continue
        stand_in: Any
        if sys.version_info >= (3, 13):
            main_handle = thread is main
            stand_in = (
                green.make_thread_handle(main.ident or 0) if main_handle else HandleStandIn(native)
            )
        else:
            stand_in = green.Lock._adopt(native) if thread is main else LockStandIn(native)
        stand_ins[id(native)] = stand_in
        journal.convert(thread, _END, stand_in)
    if sys.version_info >= (3, 13):
        others = [t for t in module._dangling if id(getattr(t, _END)) not in stand_ins]
        _renew_handles(journal, others)
    journal.convert(module, "_active_limbo_lock", green.RLock._adopt(module._active_limbo_lock))
    if sys.version_info < (3, 13):
        journal.convert(
            module, "_shutdown_locks_lock", green.Lock._adopt(module._shutdown_locks_lock)
        )
        # What the interpreter waits for at its end.
        journal.convert(
            module,
            "_shutdown_locks",
            {stand_ins.get(id(lock), lock) for lock in module._shutdown_locks},
        )
