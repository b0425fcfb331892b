"""Guards against recursion in ``repr``, while an item's ``__repr__`` waits and another thread comes."""

from __future__ import annotations

import textwrap

import pytest

from tests.green import programs
from tests.green.programs import both_modes
from tests.support import Mode

SLOW = """
class Slow:
    def __repr__(self):
        time.sleep(0.001)
        return "<slow>"
def all_see(shared, expected):
    threads = [Thread(repr, shared) for _ in range(4)]
    found = [thread.end() for thread in threads]
    assert found == [expected] * 4, found
"""


def run(code: str, mode: Mode) -> None:
    """`programs.run` for code that begins at the margin."""
    programs.run(textwrap.indent(code, "    "), mode)


@both_modes
def test_recursive_repr_is_of_a_thread(mode: Mode) -> None:
    run(
        SLOW
        + """
import dataclasses, reprlib
class Recursive:
    @reprlib.recursive_repr()
    def __repr__(self):
        return f"Recursive({Slow()!r}, {self.me!r})"
recursive = Recursive()
recursive.me = recursive
all_see(recursive, "Recursive(<slow>, ...)")
@dataclasses.dataclass
class Data:
    item: object
all_see(Data(Slow()), "Data(item=<slow>)")
""",
        mode,
    )


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(False, id="plain"),
        pytest.param(
            "patch_all",
            id="patched",
            marks=pytest.mark.xfail(
                strict=True,
                reason="the interpreter keeps the containers under way per OS thread (docs/limits.md)",
            ),
        ),
    ],
)
def test_the_interpreters_guard(mode: Mode) -> None:
    run(SLOW + "all_see([Slow(), 1], '[<slow>, 1]')\n", mode)
