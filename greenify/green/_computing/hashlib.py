"""hashlib: `update` of every hash, and what derives keys.

The functions that make a hash (`hashlib.sha256`, `hashlib.new`) stay as they are, with data, too: a twin in
Python would make a hash of 1 KiB 1.2 times as slow, and C knows them by their identity.
"""

from __future__ import annotations

import hashlib
from typing import Any

from greenify.green._computing.hashing import updating
from greenify.green._foreign import compute

__all__ = ["REPLACED"]

# 0.3 us a round of PBKDF2 with SHA-256; of scrypt 2.4 us for n = 1 with r = 8.
_LONG_ROUNDS = 1000
_LONG_SCRYPT = 1000


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
