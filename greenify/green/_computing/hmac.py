"""hmac: long messages are handed over."""

from __future__ import annotations

import hmac
from typing import Any

from greenify.green._computing.hashing import long_message, updating
from greenify.green._foreign import compute

__all__ = ["REPLACED"]

_init = hmac.HMAC.__init__
_digest = hmac.digest


def _name(digest: Any) -> str:
    # A function, or a module, of unknown speed otherwise.
    return digest if isinstance(digest, str) else ""


def __init__(self: Any, key: Any, msg: Any = None, digestmod: Any = "") -> None:
    """See `hmac.HMAC`."""
    if msg is not None and long_message(msg, _name(digestmod)):
        _init(self, key, None, digestmod)
        self.update(msg)
    else:
        _init(self, key, msg, digestmod)


def digest(key: Any, msg: Any, digest: Any) -> Any:
    """See `hmac.digest`."""
    if long_message(msg, _name(digest)):
        return compute(_digest, key, msg, digest)
    return _digest(key, msg, digest)


#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {
    hmac: {"digest": digest},
    hmac.HMAC: {"__init__": __init__},
}

_native: Any = getattr(getattr(hmac, "_hashopenssl", None), "HMAC", None)
if _native is not None:
    REPLACED[_native] = {"update": updating(_native.update)}
