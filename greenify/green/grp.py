"""The cooperative twin of `grp`: groups, which may be in a directory on the network."""

from __future__ import annotations

import grp as _grp
from typing import Any

from greenify.green._copies.rest import complete
from greenify.green._foreign import hand_over

__all__ = ["getgrgid", "getgrnam"]

_getgrgid = _grp.getgrgid
_getgrnam = _grp.getgrnam


def getgrgid(id: Any) -> Any:
    """See `grp.getgrgid`; a native thread asks."""
    return hand_over(_getgrgid, id)


def getgrnam(name: Any) -> Any:
    """See `grp.getgrnam`; a native thread asks."""
    return hand_over(_getgrnam, name)


#: What is replaced by a patch.
REPLACED = tuple(__all__)

complete(globals(), _grp)


def __getattr__(name: str) -> Any:
    return getattr(_grp, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_grp)})
