"""`PyThreadState_SetAsyncExc`, by which programs end their threads through ctypes, for green threads.

The C function finds OS threads by their identifiers, and a green thread is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from greenify.core.hub import Hub
from greenify.core.registry import hubs
from greenify.green._threads.green_thread import GreenThread

__all__ = ["make_set_async_exc"]


def make_set_async_exc(ctypes: Any) -> Callable[..., int]:
    """The function that takes the place of ``ctypes.pythonapi.PyThreadState_SetAsyncExc``."""
    # A function object of our own, for the types that the program declares are those of the twin.
    native = ctypes.pythonapi["PyThreadState_SetAsyncExc"]

    native.argtypes = (ctypes.c_ulong, ctypes.py_object)
    pointer, simple = ctypes.py_object, ctypes._SimpleCData

    def is_null(argument: Any) -> bool:
        if isinstance(argument, simple):
            return not argument
        return argument is None or (argument.__class__ is int and argument == 0)

    def set_async_exc(thread_id: Any, exception: Any) -> int:
        """Raise `exception` in a thread: in a green one, where it waits.

        Args:
            thread_id: what `threading.get_ident` returned in it, as a number or a ctypes integer.
            exception: an exception or its class, or a `ctypes.py_object` of one.  It takes the place of one
                that has not arrived yet.  None, zero or a null pointer takes that back.

        Returns:
            How many threads have been found: 0 or 1.
        """
        ident = getattr(thread_id, "value", thread_id)
        found = _find(ident)
        if found is None:
            return int(native(ident, pointer() if is_null(exception) else exception))
        hub, target = found
        if is_null(exception):
            target.async_exc = None
            return 1
        error = exception.value if isinstance(exception, pointer) else exception
        if target is getcurrent():
            if not _raisable(error):
                return int(native(hub.ident, exception))
            # The interpreter would raise it at its next check, which comes at the end of this call; but maybe
            # elsewhere: in a native thread that is just being started, and has our identifier until it runs.
            raise error
        if isinstance(error, type):
            error = error()
        coming = target.async_exc = _Coming(target, error)
        if isinstance(target, GreenThread):
            target.throw_soon(error, coming.wanted)
        else:
            hub.call_from_thread(hub.interrupt_main, coming.throw)
        return 1

    return set_async_exc


def _find(ident: object) -> tuple[Hub, Any] | None:
    for hub in tuple(hubs):
        if ident == hub.ident:
            return None if hub.foreign() else (hub, hub.main)
        for task in tuple(hub.tasks):
            if isinstance(task, GreenThread) and task.ident == ident:
                return hub, task
    return None


def _raisable(error: object) -> bool:
    kind = error if isinstance(error, type) else type(error)
    return issubclass(kind, BaseException)


class _Coming:
    """An exception on its way into a thread, in whose greenlet's ``async_exc`` there is place for one."""

    def __init__(self, thread: Any, error: BaseException) -> None:
        self._thread = thread
        self._error = error

    def wanted(self) -> bool:
        """Whether it has been neither replaced nor taken back.  Asked once, when it has arrived."""
        if self._thread.async_exc is not self:
            return False
        self._thread.async_exc = None
        return True

    def throw(self) -> None:
        if self.wanted():
            raise self._error
