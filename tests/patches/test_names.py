"""What stands for a class or function of C is called what that is called, and behaves as that does.

`twins` describes each place that a patch replaces, natively and patched.  What differs is a row of `ROWS`,
with its reason; a row that nothing needs fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatchcase

import pytest

from tests.support import ROOT, child_env

Description = dict[str, dict[str, str]]

_BOUND = "a bound method: entered without a frame of C, which each switch would have to copy"
_FUNCTION = "a Python function in a class: C's kind of descriptor cannot be made from Python"
_MUTABLE = "only C makes immutable classes; a metaclass that did would keep programs from using another one"
_STATE = "what belongs to the twin is kept in the object"

BOUND = (
    "time::sleep",
    "*::get_ident",
    "select::select",
    "select::poll",
    "selectors:*Selector:_sel*",
)
METHODS = ("cProfile:Profile:enable", "socket:socket:*")

#: Places, aspects, the reason, and the Pythons for which that is so.
ROWS: list[tuple[tuple[str, ...], tuple[str, ...], str, bool]] = [
    (
        BOUND,
        ("kind", "repr", "order", "__dict__", "__self__", "pickle*", "Python's pickle"),
        _BOUND,
        True,
    ),
    (BOUND, ("deepcopy",), "equal, not the same: " + _BOUND, True),
    (METHODS, ("kind", "repr", "pickle", "__module__", "__objclass__"), _FUNCTION, True),
    (
        ("socket:socket:__del__",),
        ("*",),
        "a descriptor that gives C's own to whoever asks, in an instance and in the class",
        True,
    ),
    (
        ("signal::*", "socket::*"),
        ("__module__", "pickle*", "Python's pickle"),
        "the modules of C below these keep their own, so it is found by name in the one that is patched",
        True,
    ),
    (
        ("socket:socket:_real_close",),
        ("signature",),
        "what it needs at the interpreter's end is in its defaults",
        True,
    ),
    (
        ("subprocess:Popen:_execute_child",),
        ("signature",),
        "passes on what Popen of each version passes",
        True,
    ),
    (
        ("*::SimpleQueue", "_thread::*", "threading::*", "_multiprocessing::SemLock"),
        ("setting an attribute",),
        _MUTABLE,
        True,
    ),
    (("select::epoll",), ("setting an attribute",), _MUTABLE, sys.version_info >= (3, 15)),
    (
        ("io::Buffered*", "io::FileIO"),
        ("subscript",),
        "the interpreter's text has the name of the class's own class, which is another one",
        sys.version_info < (3, 11),
    ),
    (
        ("*::SimpleQueue", "_thread::*", "threading::*"),
        ("signature",),
        "C keeps that of a class beside its documentation, where nothing written in Python can",
        sys.version_info >= (3, 14),
    ),
    (
        ("*::SimpleQueue", "*io::Buffered*", "*io::FileIO", "_thread::*", "threading::*"),
        ("__text_signature__",),
        "C keeps it in the documentation of a class; `inspect.signature` agrees",
        True,
    ),
    (
        ("*::SimpleQueue",),
        ("instance: get*.__doc__",),
        "C loses it in bound methods of this kind",
        True,
    ),
    (
        ("*::allocate*", "*::_allocate_lock", "*::Lock", "*::LockType", "*::lock", "select::poll"),
        ("instance: pickle 0",),
        "the error of protocol 2, which says what is wrong",
        True,
    ),
    (
        ("_thread::LockType",),
        ("instance",),
        "greenify makes locks by calling the class",
        sys.version_info < (3, 13),
    ),
    (("*io::Buffered*",), ("instance: __dict__",), _STATE, True),
    (
        ("*io::BufferedRWPair",),
        ("instance: pickle 0",),
        "natively, it becomes an object that can do nothing",
        sys.version_info >= (3, 12),
    ),
    (
        ("*io::Buffered*", "*io::FileIO"),
        ("order",),
        "a metaclass, which makes the native class's instances count as its own",
        True,
    ),
    (
        ("_multiprocessing::SemLock",),
        (
            "instance: __dict__",
            "instance: setting an attribute",
            "instance: weak reference",
            "instance: attributes",
        ),
        _STATE,
        True,
    ),
]


def _describe(mode: str, places: str = "") -> Description:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.patches.twins", mode],
        cwd=ROOT,
        env=child_env(),
        input=places,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not result.returncode, result.stderr
    found: Description = json.loads(result.stdout)
    return found


def _differences(native: Description, twins: Description) -> list[tuple[str, str, str, str]]:
    found = []
    for place, aspects in native.items():
        for aspect in aspects.keys() | twins[place].keys():
            one, other = aspects.get(aspect), twins[place].get(aspect)
            if "instance" in aspects and aspect.startswith("instance:"):
                continue  # natively there is no instance to compare with
            if one != other:
                found.append((place, aspect, str(one), str(other)))
    return sorted(found)


@pytest.mark.smoke
def test_every_twin_looks_like_what_it_stands_for() -> None:
    twins = _describe("patched")
    native = _describe("plain", json.dumps(list(twins)))
    assert len(native) > 100
    used = set()
    unexplained = []
    for place, aspect, one, other in _differences(native, twins):
        for number, (places, aspects, _, here) in enumerate(ROWS):
            if (
                here
                and any(fnmatchcase(place, pattern) for pattern in places)
                and any(fnmatchcase(aspect, pattern) for pattern in aspects)
            ):
                used.add(number)
                break
        else:
            unexplained.append(f"{place}, {aspect}:\n  native {one}\n  twin   {other}")
    if unexplained:
        pytest.fail(f"{len(unexplained)} differences:\n" + "\n".join(unexplained), pytrace=False)
    needless = [row[2] for number, row in enumerate(ROWS) if row[3] and number not in used]
    assert not needless, f"rows that nothing needs: {needless}"


@pytest.mark.smoke
def test_the_native_ones_look_the_same_twice() -> None:
    """The control: what is compared does not depend on the moment, or on the process."""
    places = json.dumps(
        ["time::sleep", "_thread::RLock", "socket:socket:recv", "queue::SimpleQueue"]
    )
    assert _describe("plain", places) == _describe("plain", places)
