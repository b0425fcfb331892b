"""argon2-cffi: checking a password takes 0.05 s and more, computed in C without the interpreter lock.

`PasswordHasher` calls these functions, which it has from ``argon2.low_level``.
"""

from __future__ import annotations

from greenify.libraries.record import Library
from greenify.libraries.remedies import computed

__all__ = ["LIBRARY"]

LIBRARY = Library(
    package="argon2-cffi",
    tested="23.1 to 25.1",
    replace={
        "argon2.low_level": {
            "hash_secret": computed,
            "hash_secret_raw": computed,
            "verify_secret": computed,
            "core": computed,
        },
    },
    stays={"argon2.low_level.lib": "the bare C functions: call them by greenify.offload"},
)
