"""The cooperative twin of `syslog`: a message waits where the daemon does not take it."""

from __future__ import annotations

import syslog as _syslog
from typing import Any

from greenify.green._copies.rest import complete
from greenify.green._foreign import hand_over

__all__ = ["syslog"]

_write = _syslog.syslog


def syslog(*message: Any) -> None:
    """See `syslog.syslog`; a native thread writes."""
    hand_over(_write, *message)


#: What is replaced by a patch.
REPLACED = tuple(__all__)

complete(globals(), _syslog)


def __getattr__(name: str) -> Any:
    return getattr(_syslog, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_syslog)})
