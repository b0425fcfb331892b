"""Threads of libraries that live in C: they are native ones in a patched process, too.

A thread that a library starts to wait in its own C code for ever (grpc's channels, an event loop in C) would
stop all green threads.  Packages are named here; a thread is native if

- code of such a package starts it,
- its class comes from there, or
- so does the function that it runs;

or `natively` calls what starts it.

`threading` knows it as any other thread: it can be joined by green threads, is enumerated, and the end of the
program waits for it unless it is a daemon.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from greenlet import getcurrent

from greenify.core.registry import get_hub, is_main_thread
from greenify.local import forget_native_thread

__all__ = ["add", "ends", "launch", "natively", "packages", "remove", "wanted"]

T = TypeVar("T")

_start_native = _thread.start_new_thread
_here: Any = _thread._local()

#: The packages, and modules, whose threads are native; empty in most programs.  One may be in it twice.
packages: list[str] = []


# The greenlets inside of `natively`, and what stands for them among the packages.
_starting: set[object] = set()
_STARTING = "<natively>"


def add(package: str) -> None:
    """Let the threads of `package` and everything below it be native from now on."""
    packages.append(package)


def remove(package: str) -> None:
    """Take back one `add`.  Threads that run go on."""
    packages.remove(package)


def natively(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a function of a library that starts a thread: that one shall be native.  Any thread may call.

    For a library of whose threads only some wait in C.
    """
    me = getcurrent()
    packages.append(_STARTING)
    _starting.add(me)
    try:
        return function(*args, **kwargs)
    finally:
        _starting.discard(me)
        packages.remove(_STARTING)


def wanted(function: Callable[..., object]) -> bool:
    """Whether the thread that the caller's caller starts, to call `function`, shall be native."""
    if getcurrent() in _starting:
        return True
    names = [_starter(), *_owners(function)]
    return any(
        name == package or name.startswith(package + ".") for package in packages for name in names
    )


def _starter() -> str:
    """The module that starts a thread: the first one on the stack that is not `threading` or ours."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if isinstance(name, str) and name != "threading" and not name.startswith("greenify."):
            return name
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _owners(function: Any) -> list[str]:
    """The modules that a thread's class and its function come from."""
    thread = getattr(function, "__self__", None)
    target = function
    found = []
    if hasattr(thread, "_bootstrap"):
        # A `threading.Thread`, or one of a copy of that module.
        found.append(type(thread))
        target = getattr(thread, "_target", None)
    while isinstance(target, partial):
        target = target.func
    found.append(target)
    names = (getattr(each, "__module__", None) for each in found)
    return [name for name in names if isinstance(name, str)]


Report = Callable[[BaseException, Callable[..., object]], None]


def launch(
    function: Callable[..., object],
    args: Any,
    kwargs: Any,
    finish: Callable[[], object] | None,
    report: Report,
) -> int:
    """Start ``function(*args, **kwargs)`` on a native thread and return its identifier.

    Args:
        finish: called on that thread at its end.
        report: called with an error that has left the function, and the function.
    """
    if is_main_thread():
        # The green threads that the new one starts run here; on a hub of its own they would end with it.
        get_hub()
    return _start_native(_run, (function, args, kwargs, finish, report))


def _run(
    function: Callable[..., object],
    args: Any,
    kwargs: Any,
    finish: Callable[[], object] | None,
    report: Report,
) -> None:
    _here.ends = found = [] if finish is None else [finish]
    try:
        function(*args, **kwargs)
    except SystemExit:
        pass  # ends a thread silently, as documented of _thread.exit
    except BaseException as exc:
        report(exc, function)
    finally:
        forget_native_thread()
        for end in found:
            end()


def ends() -> list[Callable[[], object]] | None:
    """What is called at the end of the calling native thread; None if it was not started here."""
    found: list[Callable[[], object]] | None = getattr(_here, "ends", None)
    return found
