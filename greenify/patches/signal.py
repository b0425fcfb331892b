"""`signal`: handlers in the main thread's greenlet, and the functions that wait for signals."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from greenify.green import signal as green
from greenify.green._threads import signal_masks as masks
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

_replaced: dict[str, Any] = {
    "signal": green.signal,
    "getsignal": green.getsignal,
    "set_wakeup_fd": green.set_wakeup_fd,
    "pause": green.pause,
    "setitimer": green.setitimer,
    "getitimer": green.getitimer,
    "pthread_kill": green.pthread_kill,
    "raise_signal": green.raise_signal,
    "pthread_sigmask": masks.pthread_sigmask,
}
if hasattr(signal, "sigtimedwait"):
    _replaced |= {
        "sigwait": green.sigwait,
        "sigwaitinfo": green.sigwaitinfo,
        "sigtimedwait": green.sigtimedwait,
    }

PATCHES = (Patch(signal, replace=_replaced),)


def finish(journal: Journal) -> None:
    """Wrap the handlers that are installed already (at least Python's own for SIGINT); mind the mask."""
    journal.on_undo(green.unwrap_handlers)
    green.wrap_handlers()
    journal.on_undo(masks.give_back_slices)
    masks.keep_slices()
