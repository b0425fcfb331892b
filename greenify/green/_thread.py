"""The cooperative twin of `_thread` under the names of that module; `thread` has what is behind them."""

from __future__ import annotations

import _thread as _stdlib
import sys
from typing import Any

from greenify.green._copies.builtin import twin_of
from greenify.green._copies.rest import public_names
from greenify.green._threads import large_stacks, names, native_ids, thread

__all__ = ["REPLACED"]

#: What is replaced by a patch.
REPLACED: dict[str, Any] = {
    "start_new_thread": thread.start_new_thread,
    "start_new": thread.start_new_thread,
    "allocate_lock": thread.allocate_lock,
    "allocate": thread.allocate_lock,
    "LockType": thread.LockType,
    "RLock": thread.RLock,
    "get_ident": thread.get_ident_twin,
    "get_native_id": native_ids.get_native_id,
    "_local": thread.local,
    "_count": thread.count,
    "stack_size": large_stacks.stack_size,
}
if sys.version_info >= (3, 13):
    REPLACED |= {
        "lock": thread.Lock,
        "start_joinable_thread": thread.start_joinable_thread,
        "_ThreadHandle": thread.ThreadHandle,
        "_make_thread_handle": thread.make_thread_handle,
        "_shutdown": thread.shutdown,
    }
else:
    REPLACED["_set_sentinel"] = thread.set_sentinel

# From CPython 3.14 on, where the system can.
for _name, _twin in (("set_name", names.set_name), ("_get_name", names.get_name)):
    if hasattr(_stdlib, _name):
        REPLACED[_name] = _twin

REPLACED = {name: twin_of(getattr(_stdlib, name), twin) for name, twin in REPLACED.items()}
globals().update(REPLACED)
__all__.extend(public_names(_stdlib))


def __getattr__(name: str) -> Any:
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_stdlib)})
