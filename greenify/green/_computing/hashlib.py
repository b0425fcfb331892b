"""hashlib: `update` of every hash, and what derives keys.

The functions that make a hash (`hashlib.sha256`, `hashlib.new`) stay as they are, with data, too: a twin in
Python would make a hash of 1 KiB 1.2 times as slow, and C knows them by their identity.
"""

from __future__ import annotations

import hashlib
from typing import Any

from greenify.green._foreign import compute, compute_with

__all__ = ["LONG", "REPLACED", "long_message", "updating"]

# 240 MiB/s (SHA-3) to 1500 (SHA-256 with the processor's help).
LONG = 1 << 16
_LONG_OF = {"sha1": 6 * LONG, "sha224": 6 * LONG, "sha256": 6 * LONG, "blake2s": LONG}
_LONG_OF.update({f"sha3_{bits}": LONG for bits in (224, 256, 384, 512)})
_LONG_OF.update({"shake_128": LONG, "shake_256": LONG})
_LONG_ELSEWHERE = 2 * LONG

# 0.3 us a round of PBKDF2 with SHA-256; of scrypt 2.4 us for n = 1 with r = 8.
_LONG_ROUNDS = 1000
_LONG_SCRYPT = 1000


def long_message(data: Any, name: str) -> bool:
    """Whether to hash `data` takes so long that it is handed over.

    Args:
        name: of the hash; an HMAC is called ``hmac-`` and that of its hash.
    """
    try:
        length = len(data)
    except TypeError:
        return False  # for the native function to complain about
    if length < LONG:
        return False
    name = name.lower().removeprefix("hmac-").removeprefix("hmac_")
    return length >= _LONG_OF.get(name, _LONG_ELSEWHERE)


def updating(native: Any) -> Any:
    """In the place of the method ``update(data)`` of a class of hashes."""

    def update(self: Any, obj: Any, /) -> Any:
        try:
            long = len(obj) >= LONG
        except TypeError:
            long = False
        if long and long_message(obj, self.name):
            return compute_with(native, self, obj)
        return native(self, obj)

    return update


_pbkdf2_hmac: Any = getattr(hashlib, "pbkdf2_hmac", None)
_scrypt: Any = getattr(hashlib, "scrypt", None)


def pbkdf2_hmac(
    hash_name: Any, password: Any, salt: Any, iterations: Any, dklen: Any = None
) -> Any:
    """See `hashlib.pbkdf2_hmac`."""
    if type(iterations) is int and iterations >= _LONG_ROUNDS:
        return compute(_pbkdf2_hmac, hash_name, password, salt, iterations, dklen)
    return _pbkdf2_hmac(hash_name, password, salt, iterations, dklen)


def scrypt(password: Any, **options: Any) -> Any:
    """See `hashlib.scrypt`."""
    cost = 1
    for name in ("n", "r", "p"):
        value = options.get(name)
        cost *= value if type(value) is int else 1
    if cost >= 8 * _LONG_SCRYPT:
        return compute(_scrypt, password, **options)
    return _scrypt(password, **options)


_functions: dict[str, Any] = {}
if _pbkdf2_hmac is not None:
    _functions["pbkdf2_hmac"] = pbkdf2_hmac
if _scrypt is not None:
    _functions["scrypt"] = scrypt

#: What is replaced, by what holds it.
REPLACED: dict[Any, dict[str, Any]] = {hashlib: _functions}

# The classes: of OpenSSL's hashes, with and without a length of the result, and what Python brings along.
for _name in sorted(hashlib.algorithms_guaranteed):
    _class: Any = type(hashlib.new(_name))
    if _class not in REPLACED:
        REPLACED[_class] = {"update": updating(_class.update)}
