"""Interpreters beside the main one (`concurrent.interpreters`): what they run, runs on a native thread.

Code in another interpreter knows nothing of our hub, and waits where it is; it has an interpreter lock of its
own, so real threads run beside it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from greenify.green._foreign import hand_over
from greenify.green._threads.names import under_own_name

__all__ = ["REPLACED"]

try:
    _module: Any = import_module("_interpreters")
except ModuleNotFoundError:  # it came with CPython 3.13
    _module = None

# What runs code in there, or waits for its threads at the end.
_NAMES = ("call", "create", "destroy", "exec", "run_func", "run_string")


def _handing_over(native: Any) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        return hand_over(under_own_name, native, *args, **kwargs)

    return function


#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {}

if _module is not None:
    REPLACED[_module] = {
        name: _handing_over(getattr(_module, name)) for name in _NAMES if hasattr(_module, name)
    }
