"""bcrypt: the others run while a password is checked."""

from __future__ import annotations

import pytest

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode, run_python

needs("bcrypt")


@both_modes
class TestBcrypt:
    def test_the_others_run(self, mode: Mode) -> None:
        check(
            """
    import bcrypt
    salt = bcrypt.gensalt(11)
    hashed = ticks_during(bcrypt.hashpw, b"secret", salt)
    assert ticks_during(bcrypt.checkpw, b"secret", hashed)
    assert not bcrypt.checkpw(b"other", hashed)
    key = ticks_during(bcrypt.kdf, b"secret", salt, 32, rounds=100)
    assert len(key) == 32
            """,
            mode,
        )

    def test_many_at_once(self, mode: Mode) -> None:
        check(
            """
    import bcrypt
    passwords = [f"secret {number}".encode() for number in range(12)]
    threads = [Thread(bcrypt.hashpw, password, bcrypt.gensalt(4)) for password in passwords]
    hashed = [thread.end() for thread in threads]
    checks = [Thread(bcrypt.checkpw, *pair) for pair in zip(passwords, hashed)]
    assert [thread.end() for thread in checks] == [True] * 12
            """,
            mode,
        )

    def test_errors(self, mode: Mode) -> None:
        out = check(
            """
    import bcrypt
    print(outcome(bcrypt.hashpw, b"secret", b"no salt"))
    print(outcome(bcrypt.hashpw, "text", bcrypt.gensalt(4))[:40])
    print(outcome(bcrypt.hashpw))
            """,
            mode,
        )
        assert out.splitlines()[0] == "ValueError: Invalid salt"
        assert out.splitlines()[1].startswith("TypeError: ")

    def test_it_is_a_function_of_c(self, mode: Mode) -> None:
        check(
            """
    import bcrypt, copy, pickle
    class User:
        check = bcrypt.checkpw  # no method
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
    assert User().check(b"secret", hashed)
    assert pickle.loads(pickle.dumps(bcrypt.hashpw)) is bcrypt.hashpw is copy.copy(bcrypt.hashpw)
    assert bcrypt.hashpw.__name__ == "hashpw" and bcrypt.hashpw.__module__ == "bcrypt._bcrypt"
            """,
            mode,
        )


def test_imported_before_the_patch_and_restored() -> None:
    run_python(
        """
        import bcrypt
        from bcrypt import hashpw, checkpw as check
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("bcrypt")
        assert bcrypt.hashpw is hashpw is bcrypt._bcrypt.hashpw and type(hashpw) is not type(len)
        assert check(b"x", hashpw(b"x", bcrypt.gensalt(4)))
        greenify.restore()
        assert bcrypt.hashpw is hashpw is bcrypt._bcrypt.hashpw and type(hashpw) is type(len)
        """,
        greenify=False,
        check=True,
    )


@pytest.mark.parametrize("argument", ["skip='bcrypt'", "only='time'"])
def test_left_out(argument: str) -> None:
    run_python(
        f"""
        import greenify, sys
        greenify.patch_all({argument})
        import bcrypt
        assert type(bcrypt.hashpw) is type(len) and not greenify.is_patched("bcrypt")
        assert "greenify.libraries.bcrypt" not in sys.modules
        """,
        greenify=False,
        check=True,
    )
