"""uvloop: its loop waits in libuv, in C; before it does, the thread that runs it waits on the hub.

The hook is libuv's own: a prepare handle is called before each wait.  Ours waits for the descriptor that
libuv would wait for, and for as long, so that libuv then finds something, or that it is time.  Everything
else is uvloop's: its speed, its signals in the main thread, the OS thread that the loop runs in.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from greenify import core
from greenify.core import registry
from greenify.core.blocking import wait_natively
from greenify.green._threads.switches import Setting
from greenify.libraries.record import Library
from greenify.libraries.remedies import instead

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["LIBRARY"]

_monotonic = time.monotonic

# UV_IDLE and UV_PREPARE among libuv's types of handles.
_IDLE = 6
_PREPARE = 9

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

# The pumps of loops that run, by the addresses of their handles.
_running: dict[int, _Pump] = {}


class _Library:
    """What uvloop's compiled module shows of the libuv in it, and of itself.

    Raises:
        AttributeError, OSError, ValueError: it does not show it.
    """

    def __init__(self, path: str) -> None:
        # Nothing of it waits: the interpreter lock is kept.
        library = ctypes.PyDLL(path)
        pointer = ctypes.c_void_p
        for name, result, arguments in (
            ("backend_fd", ctypes.c_int, [pointer]),
            ("backend_timeout", ctypes.c_int, [pointer]),
            ("update_time", None, [pointer]),
            ("handle_size", ctypes.c_size_t, [ctypes.c_int]),
            ("prepare_init", ctypes.c_int, [pointer, pointer]),
            ("prepare_start", ctypes.c_int, [pointer, _CALLBACK]),
            ("prepare_stop", ctypes.c_int, [pointer]),
            ("idle_init", ctypes.c_int, [pointer, pointer]),
            ("idle_start", ctypes.c_int, [pointer, pointer]),
            ("idle_stop", ctypes.c_int, [pointer]),
            ("unref", None, [pointer]),
            ("close", None, [pointer, pointer]),
        ):
            function = getattr(library, f"uv_{name}")
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)
        # A function that does nothing with a handle.
        self.nothing = ctypes.cast(library.uv_is_active, pointer)
        self.main_id = ctypes.c_uint64.in_dll(library, "MAIN_THREAD_ID")
        self.main_id_known = ctypes.c_int8.in_dll(library, "MAIN_THREAD_ID_SET")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def hides_main(self) -> bool:
        return bool(self.main_id_known.value) and not self.main_id.value

    def hide_main(self, hidden: bool) -> None:
        """Have uvloop take this OS thread for another one than the main one, or ask `threading` anew."""
        if hidden:
            self.main_id.value = 0
        self.main_id_known.value = hidden


_library: _Library
# uvloop asks the operating system whether it is in the main thread, which alone may have the process's
# wake-up descriptor for signals.
_elsewhere: Setting


class _Pump:
    """Waits for one loop."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        unwrap = ctypes.pythonapi.PyCapsule_GetPointer
        unwrap.restype = ctypes.c_void_p
        unwrap.argtypes = [ctypes.py_object, ctypes.c_char_p]
        self._pointer = unwrap(sys.modules["uvloop.loop"].libuv_get_loop_t_ptr(loop), None)
        self._memory = [
            ctypes.create_string_buffer(_library.handle_size(kind)) for kind in (_PREPARE, _IDLE)
        ]
        self._handle, self._idle = map(ctypes.addressof, self._memory)
        self._known = False
        self.error: BaseException | None = None
        _library.prepare_init(self._pointer, self._handle)
        _library.idle_init(self._pointer, self._idle)
        # They keep no loop alive.
        _library.unref(self._handle)
        _library.unref(self._idle)

    def run(self, original: Callable[[Any], None]) -> None:
        """Call uvloop's own ``run_forever``."""
        loop = self._loop
        self._note_running(None)
        _running[self._handle] = self
        _library.prepare_start(self._handle, _before_poll)
        try:
            original(loop)
        finally:
            _library.prepare_stop(self._handle)
            _library.idle_stop(self._idle)
            del _running[self._handle]
            self._note_running(None)
            error, self.error = self.error, None
            if error is not None:
                try:
                    raise error
                finally:
                    del error

    def _note_running(self, loop: Any) -> None:
        # uvloop itself, imported before the patch, notes it down for all threads of the OS thread.
        sys.modules["asyncio.events"]._set_running_loop(loop)
        self._known = loop is not None

    def wait(self) -> None:
        """Called by libuv before it waits."""
        if self.error is not None:
            return
        try:
            if not self._known:
                self._note_running(self._loop)
            _library.idle_stop(self._idle)
            self._wait()
            # With this libuv only looks: it may yet find more to wait for than it has told us.
            _library.idle_start(self._idle, _library.nothing)
        except BaseException as exc:
            # No exception can go through C.  It ends the loop, and is raised when that has returned.
            self.error = exc
            self._loop.stop()

    def _wait(self) -> None:
        pointer = self._pointer
        fd = _library.backend_fd(pointer)
        while True:
            _library.update_time(pointer)
            timeout = _library.backend_timeout(pointer)
            # News of this descriptor is told once, and libuv need not have taken all of it.
            if timeout == 0 or wait_natively(fd, False, 0.0):
                hub = core.current_hub()
                if hub is not None:
                    hub.breathe()
                return
            core.wait(fd, False, None if timeout < 0 else _monotonic() + timeout / 1000)

    def close(self) -> None:
        """The loop is about to be closed: libuv wants all handles closed before."""
        core.forget(_library.backend_fd(self._pointer))
        _library.close(self._handle, None)
        _library.close(self._idle, None)


@_CALLBACK  # type: ignore[untyped-decorator]
def _before_poll(handle: int) -> None:
    _running[handle].wait()


def _run_forever(original: Callable[[Any], None], self: Any) -> None:
    hub = core.current_hub()
    refused = self.is_closed() or sys.modules["asyncio.events"]._get_running_loop() is not None
    if refused or (hub is None and not registry.is_main_thread()):
        original(self)  # a native thread may wait in C
        return
    pump = self.__dict__.get("_greenify_pump")
    if pump is None:
        pump = self._greenify_pump = _Pump(self)
    if hub is None or hub.in_main():
        pump.run(original)
        return
    _elsewhere.change(_library.hide_main, True)
    try:
        pump.run(original)
    finally:
        _elsewhere.change(_library.hide_main, False)


def _close(original: Callable[[Any], None], self: Any) -> None:
    if not self.is_running():
        pump = self.__dict__.pop("_greenify_pump", None)
        if pump is not None:
            pump.close()
            try:
                original(self)
            finally:
                del pump  # libuv has let go of its memory
            return
    original(self)


def _look_inside(journal: Journal, module: ModuleType) -> None:
    global _library, _elsewhere
    path = module.loop.__file__
    assert path is not None
    _library = library = _Library(path)
    _elsewhere = Setting(library.hides_main, library.hide_main, False)


LIBRARY = Library(
    package="uvloop",
    tested="0.23",
    replace={"uvloop:Loop": {"run_forever": instead(_run_forever), "close": instead(_close)}},
    finish={"uvloop": _look_inside},
)
