"""The cooperative twin of `pwd`: users, who may be in a directory on the network."""

from __future__ import annotations

import pwd as _pwd
from typing import Any

from greenify.green._copies.rest import complete
from greenify.green._foreign import hand_over

__all__ = ["getpwnam", "getpwuid"]

_getpwnam = _pwd.getpwnam
_getpwuid = _pwd.getpwuid


def getpwnam(name: Any, /) -> Any:
    """See `pwd.getpwnam`; a native thread asks."""
    return hand_over(_getpwnam, name)


def getpwuid(uidobj: Any, /) -> Any:
    """See `pwd.getpwuid`; a native thread asks."""
    return hand_over(_getpwuid, uidobj)


#: What is replaced by a patch.
REPLACED = tuple(__all__)

complete(globals(), _pwd)


def __getattr__(name: str) -> Any:
    return getattr(_pwd, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_pwd)})
