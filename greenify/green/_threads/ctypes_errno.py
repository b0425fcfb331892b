"""ctypes' copy of `errno`, which it keeps per OS thread, for green threads.

A C function that is called through ctypes changes it without telling anybody.  So once a program has made a
function that keeps it (``use_errno=True``), or has set it, every switch of threads swaps it.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from functools import wraps
from typing import Any

from greenlet import greenlet

from greenify.core.registry import on_new_hub
from greenify.green._threads.switches import follow
from greenify.identity import current_thread_greenlet

__all__ = ["Errno"]

# One for each OS thread: not what takes the native class's place.
_native_local = _thread._local


class _Copy:
    """Whose copy is in force on one OS thread; other threads' are in their greenlets' ``ctypes_errno``."""

    __slots__ = ("_get", "_live", "_set")

    def __init__(self, get: Callable[[], int], set_: Callable[[int], int]) -> None:
        self._get = get
        self._set = set_
        self._live: Any = current_thread_greenlet()

    def switched(self, origin: greenlet, target: Any) -> None:
        """For `follow`."""
        after = target
        while not hasattr(after, "hub"):
            parent = after.parent
            if parent is None:
                break
            after = parent
        before = self._live
        if after is before:
            return
        self._live = after
        value = self._get()
        if value or hasattr(before, "ctypes_errno"):
            before.ctypes_errno = value
        wanted = getattr(after, "ctypes_errno", 0)
        if wanted != value:
            self._set(wanted)


class Errno:
    """What has to be replaced in ctypes, so that its copy of `errno` is each thread's own.

    Args:
        ctypes: the module, as it is without greenify.
    """

    def __init__(self, ctypes: Any) -> None:
        self._flag: int = ctypes._FUNCFLAG_USE_ERRNO
        self._begun = False
        self._here = _native_local()
        self._get_errno: Callable[[], int] = ctypes.get_errno
        self._set_errno: Callable[[int], int] = ctypes.set_errno
        self._new_library = ctypes.CDLL.__init__
        self._new_type = ctypes.CFUNCTYPE
        on_new_hub(self._follow)
        # Libraries and types of functions from before.
        functions: list[type[Any]] = ctypes._CFuncPtr.__subclasses__()
        if any(cls._flags_ & self._flag for cls in functions):
            self._begin()

    def _begin(self) -> None:
        self._begun = True
        self._follow()

    def _follow(self, _hub: object = None) -> None:
        if self._begun and not hasattr(self._here, "copy"):
            self._here.copy = _Copy(self._get_errno, self._set_errno)
            follow(self._here.copy.switched)

    def setter(self) -> Any:
        """`ctypes.set_errno`."""

        def set_errno(value: int, /) -> int:
            self._begin()
            return self._set_errno(value)

        return set_errno

    def library(self) -> Any:
        """``__init__`` of `ctypes.CDLL`."""

        @wraps(self._new_library)
        def __init__(library: Any, *args: Any, **kwargs: Any) -> None:
            self._new_library(library, *args, **kwargs)
            if library._FuncPtr._flags_ & self._flag:
                self._begin()

        return __init__

    def function_type(self) -> Any:
        """`ctypes.CFUNCTYPE`."""

        @wraps(self._new_type)
        def CFUNCTYPE(*args: Any, **kwargs: Any) -> Any:
            made = self._new_type(*args, **kwargs)
            if made._flags_ & self._flag:
                self._begin()
            return made

        return CFUNCTYPE
