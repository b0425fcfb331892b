"""The classes of `_thread` and `_queue` as programs find them: greenify's own, under the names of C's.

Classes of their own, for `greenify.locks.Lock` and the others are what users of the programming model see.
"""

from __future__ import annotations

import _queue
import _thread
from types import GenericAlias
from typing import Any

from greenify import local as _local_module
from greenify import locks, simple_queue
from greenify.green._copies.builtin import stands_for

__all__ = ["Lock", "RLock", "SimpleQueue", "local"]


@stands_for(type(_thread.allocate_lock()))
class Lock(locks.Lock, twin=True):
    """Stands for `_thread.lock`."""

    __slots__ = ()


@stands_for(_thread.RLock)
class RLock(locks.RLock):
    """Stands for `_thread.RLock`."""

    __slots__ = ()


@stands_for(_thread._local)
class local(_local_module.local):
    """Stands for `_thread._local`."""

    __slots__ = ()


@stands_for(_queue.SimpleQueue)
class SimpleQueue(simple_queue.SimpleQueue[Any]):
    """Stands for `_queue.SimpleQueue`."""

    __slots__ = ()

    @classmethod
    def __class_getitem__(cls, item: Any, /) -> Any:
        return GenericAlias(cls, item)
