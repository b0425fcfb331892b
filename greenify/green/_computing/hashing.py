"""Which messages take so long to hash that it is handed over: what `hashlib` and `hmac` have in common.

It imports neither: who imports one of the two must not come upon the twin of the other half-way.
"""

from __future__ import annotations

from typing import Any

from greenify.green._foreign import compute_with

__all__ = ["long_message", "updating"]

# 240 MiB/s (SHA-3) to 1500 (SHA-256 with the processor's help).
_LONG = 1 << 16
_LONG_OF = {"sha1": 6 * _LONG, "sha224": 6 * _LONG, "sha256": 6 * _LONG, "blake2s": _LONG}
_LONG_OF.update({f"sha3_{bits}": _LONG for bits in (224, 256, 384, 512)})
_LONG_OF.update({"shake_128": _LONG, "shake_256": _LONG})
_LONG_ELSEWHERE = 2 * _LONG


def long_message(data: Any, name: str) -> bool:
    """Whether to hash `data` takes so long that it is handed over.

    Args:
        name: of the hash; an HMAC is called ``hmac-`` and that of its hash.
    """
    try:
        length = len(data)
    except TypeError:
        return False  # for the native function to complain about
    if length < _LONG:
        return False
    name = name.lower().removeprefix("hmac-").removeprefix("hmac_")
    return length >= _LONG_OF.get(name, _LONG_ELSEWHERE)


def updating(native: Any) -> Any:
    """In the place of the method ``update(data)`` of a class of hashes."""

    def update(self: Any, obj: Any, /) -> Any:
        try:
            long = len(obj) >= _LONG
        except TypeError:
            long = False
        if long and long_message(obj, self.name):
            return compute_with(native, self, obj)
        return native(self, obj)

    return update
