"""The cooperative twin of `selectors`.

The selector classes of the standard library are Python code over `select`, so they stay as they are: the
twins here are subclasses that wait through `greenify.green.select`.  The patch puts the same attributes into
the standard classes themselves.

A selector that was made before the patch holds a native poll, epoll or kqueue object.  The ``select`` methods
in `ADOPTING` replace it by the twin around that very object when it is used next.
"""

from __future__ import annotations

import selectors as _module
from collections.abc import Callable
from functools import wraps
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import Any

from greenify.core.tracebacks import leave_out_twin
from greenify.green import select as green
from greenify.green._copies.rest import complete
from greenify.green._selecting import kernel_queues
from greenify.green._threads.switches import in_use, resting

__all__ = [
    "ADOPTING",
    "BaseSelector",
    "DefaultSelector",
    "EVENT_READ",
    "EVENT_WRITE",
    "PollSelector",
    "SelectSelector",
    "SelectorKey",
]

_classes: Any = _module

#: For each standard class that defines a ``select`` over a native object: its cooperative replacement.
ADOPTING: dict[type, Callable[..., Any]] = {}


def _adopting(owner: type, native: type, adopt: Callable[[Any], Any]) -> None:
    original: Callable[..., Any] = owner.__dict__["select"]

    @wraps(original)
    def select(self: Any, timeout: float | None = None) -> Any:
        if type(self._selector) is native:
            self._selector = adopt(self)
        # Event loops wait here.
        try:
            if in_use:
                return resting(original, self, timeout)
            return original(self, timeout)
        except BaseException:
            leave_out_twin()
            raise

    ADOPTING[owner] = select


def _adopt_poll(selector: Any) -> green.Poll:
    masks = {
        fd: (key.events & EVENT_READ and selector._EVENT_READ)
        | (key.events & EVENT_WRITE and selector._EVENT_WRITE)
        for fd, key in selector._fd_to_key.items()
    }
    return green.Poll._adopt(selector._selector, masks)


class SelectSelector(_module.SelectSelector):
    """`selectors.SelectSelector` whose waits park the calling greenlet."""

    _select = green.select


class PollSelector(_module.PollSelector):
    """`selectors.PollSelector` whose waits park the calling greenlet."""

    _selector_cls = green.poll


_adopting(_classes._PollLikeSelector, type(green.native_poll()), _adopt_poll)

if hasattr(_module, "EpollSelector"):
    __all__ += ["EpollSelector"]

    class EpollSelector(_module.EpollSelector):
        """`selectors.EpollSelector` whose waits park the calling greenlet."""

        _selector_cls = green.epoll

    _adopting(
        _module.EpollSelector,
        kernel_queues.native_epoll,
        lambda selector: green.epoll._adopt(selector._selector),
    )

if hasattr(_module, "KqueueSelector"):  # pragma: no cover - macOS and the BSDs
    __all__ += ["KqueueSelector"]

    _adopting(
        _classes.KqueueSelector,
        kernel_queues.native_kqueue,
        lambda selector: green.kqueue._adopt(selector._selector),
    )

    class KqueueSelector(_classes.KqueueSelector):  # type: ignore[misc]
        """`selectors.KqueueSelector` whose waits park the calling greenlet."""

        select = ADOPTING[_classes.KqueueSelector]


DefaultSelector: Any = globals()[_module.DefaultSelector.__name__]

complete(globals(), _module)


def __getattr__(name: str) -> Any:
    return getattr(_module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_module)})
