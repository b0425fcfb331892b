"""argon2-cffi: the others run while a password is checked."""

from __future__ import annotations

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode

needs("argon2")


@both_modes
class TestArgon2:
    def test_the_others_run(self, mode: Mode) -> None:
        check(
            """
    import argon2
    from argon2 import low_level
    hasher = argon2.PasswordHasher(time_cost=12, parallelism=1)
    hashed = ticks_during(hasher.hash, "secret")
    assert ticks_during(hasher.verify, hashed, "secret")
    raw = ticks_during(
        low_level.hash_secret_raw, b"secret", b"salt" * 4, 12, 65536, 1, 32, low_level.Type.ID)
    assert len(raw) == 32
            """,
            mode,
        )

    def test_errors(self, mode: Mode) -> None:
        out = check(
            """
    import argon2
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    hashed = hasher.hash("secret")
    print(outcome(hasher.verify, hashed, "other"))
    print(outcome(hasher.verify, "nonsense", "other").partition(":")[0])
            """,
            mode,
        )
        assert out.splitlines() == [
            "VerifyMismatchError: The password does not match the supplied hash",
            "InvalidHashError",
        ]
