"""Guards against recursion in ``repr``, while an item's ``__repr__`` waits and another thread comes."""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run
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


@both_modes
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ("[Slow(), 1]", "[<slow>, 1]"),
        ("{1: Slow(), 2: [Slow()]}", "{1: <slow>, 2: [<slow>]}"),
        ("{Slow()}", "{<slow>}"),
        ("collections.deque([Slow()])", "deque([<slow>])"),
        # It does contain itself.
        ("[Slow()]; shared.append(shared)", "[<slow>, [...]]"),
        ("[Slow()]; shared.append((shared, Slow()))", "[<slow>, ([...], <slow>)]"),
    ],
)
def test_the_interpreters_guard(made: str, expected: str, mode: Mode) -> None:
    run(SLOW + f"import collections\nshared = {made}\nall_see(shared, {expected!r})\n", mode)


def test_switches_are_followed_only_meanwhile() -> None:
    run(
        SLOW
        + """
import greenlet
from greenify import core
shared = [Slow()]
all_see(shared, "[<slow>]")
assert greenlet.gettrace() is None
assert not core.get_hub().shown
""",
        "patch_all",
    )


def test_a_thread_that_is_killed_meanwhile() -> None:
    run(
        SLOW
        + """
import greenify
from greenify import core
class Waits:
    def __repr__(self):
        entered.set()
        try:
            threading.Event().wait()
        finally:
            left.append(repr(shared))
entered, left, shared = threading.Event(), [], []
shared.append(Waits())
task = greenify.spawn(repr, shared)
entered.wait()
task.kill(); task.join()
# It still shows it, and the main thread does not.
assert left == ["[...]"], left
assert not core.get_hub().shown
""",
        "patch_all",
    )


def test_a_callback_of_the_hub() -> None:
    run(
        SLOW
        + """
import greenify
shown, shared = queue.SimpleQueue(), [Slow()]
greenify.call_soon(lambda: shown.put(repr(shared)))
all_see(shared, "[<slow>]")
assert shown.get() == "[<slow>]"
""",
        "patch_all",
    )


def test_a_child_of_a_fork() -> None:
    run(
        SLOW
        + """
import greenlet
from greenify import core
shared = [Slow()]
class Forks:
    def __repr__(self):
        return str(os.fork())
threads = [Thread(repr, shared) for _ in range(2)]
settle()
mine = repr([Forks()])
if mine == "[0]":
    assert repr(shared) == "[<slow>]"
    time.sleep(0)
    assert greenlet.gettrace() is None and not core.get_hub().shown
    os._exit(0)
assert os.waitpid(int(mine[1:-1]), 0)[1] == 0
assert [thread.end() for thread in threads] == ["[<slow>]"] * 2
""",
        "patch_all",
    )


def test_in_another_os_thread() -> None:
    run(
        SLOW
        + """
import greenify
def serve():
    tasks = [greenify.spawn(repr, shared) for _ in range(2)]
    for task in tasks:
        task.join()
        found.append(task.result)
found, shared = [], [Slow()]
pool = greenify.NativeThreadPoolExecutor(1)
pool.submit(serve).result()
assert found == ["[<slow>]"] * 2, found
""",
        "patch_all",
    )


def test_undone() -> None:
    run(
        """
import greenify
from greenify import core
hub = core.get_hub()
greenify.restore()
assert hub.shown == ()
""",
        "patch_all",
    )
