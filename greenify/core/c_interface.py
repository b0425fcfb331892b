"""Functions of the interpreter's C interface and of the C library, without `ctypes`.

Its import takes a tenth of the time in which greenify is imported and patches; what it is built on does not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from greenify.core.placement import high_numbers

__all__ = ["c_function", "ctypes_core"]


@cache
def ctypes_core() -> Any:
    """The module `_ctypes`, or None where the interpreter was built without."""
    try:
        if "_ctypes" in sys.modules:
            import _ctypes
        else:
            # From libffi 3.5 on it opens its own file when it is loaded, and keeps that.
            with high_numbers():
                import _ctypes
    except ImportError:
        return None
    return _ctypes


def c_function(
    name: str, arguments: str = "", result: str | None = None
) -> Callable[..., Any] | None:
    """A function of the interpreter's or the C library's, which is called with the interpreter lock held.

    Args:
        name: what it is called in C.
        arguments: a letter for each: ``O`` is an object, of which the function gets no reference of its own,
            ``P`` an address, ``I`` an unsigned int, ``L`` an unsigned long.
        result: the same for what it returns.  (An object's reference would be given up: take ``P`` where the
            interpreter keeps it.)

    Returns:
        None where it cannot be reached.
    """
    c = ctypes_core()
    if c is None:
        return None
    try:
        address = c.dlsym(c.dlopen(None, 0), name)
    except OSError:
        return None
    types = {
        letter: type("_Value", (c._SimpleCData,), {"_type_": letter})
        for letter in {*arguments, *(result or "")}
    }
    members = {
        "_flags_": c.FUNCFLAG_CDECL | c.FUNCFLAG_PYTHONAPI,
        "_argtypes_": tuple(types[letter] for letter in arguments),
        "_restype_": None if result is None else types[result],
    }
    function: Callable[..., Any] = type("_Function", (c.CFuncPtr,), members)(address)
    return function
