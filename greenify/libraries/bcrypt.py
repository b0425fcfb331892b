"""bcrypt: checking a password takes 0.2 s, computed in Rust without the interpreter lock."""

from __future__ import annotations

from greenify.libraries.record import Library
from greenify.libraries.remedies import computed

__all__ = ["LIBRARY"]

LIBRARY = Library(
    package="bcrypt",
    tested="5.0",
    # Where the functions come from, and where pickle looks for them; the package takes them over from there.
    replace={
        "bcrypt._bcrypt": {"hashpw": computed, "checkpw": computed, "kdf": computed},
    },
    stays={"gensalt": "computes for a few microseconds"},
)
