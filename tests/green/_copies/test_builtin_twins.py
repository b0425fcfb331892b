"""The twins of C functions that are called most: what Python tells C functions by, they have, too."""

from __future__ import annotations

import sys

import pytest

from tests.support import run_python

BEGIN = """
import greenify
greenify.patch_all()
import _thread, copy, inspect, pickle, threading, time
from multiprocessing.reduction import ForkingPickler
from unittest import mock

"""


def run(program: str) -> str:
    return run_python(BEGIN + program, check=True, timeout=40).stdout


class TestLikeness:
    def test_they_do_not_become_methods(self) -> None:
        run(
            """
class Clock:
    sleep = time.sleep
    ident = threading.get_ident

assert Clock().sleep(0) is None and Clock.sleep(0) is None
assert Clock().ident() == threading.get_ident() == threading.current_thread().ident
"""
        )

    def test_copies_and_pickles_are_equal(self) -> None:
        run(
            """
for function in (time.sleep, _thread.get_ident):
    copies = [copy.copy(function), copy.deepcopy(function), pickle.loads(pickle.dumps(function)),
              ForkingPickler.loads(ForkingPickler.dumps(function))]
    assert all(c == function and hash(c) == hash(function) for c in copies), copies
"""
        )

    def test_a_pickle_needs_no_greenify_to_load(self) -> None:
        made = run("print(pickle.dumps([time.sleep, threading.get_ident], 0).decode('ascii'))")
        run_python(
            f"""
import pickle, sys, time, threading
assert pickle.loads({made.strip().encode()!r}) == [time.sleep, threading.get_ident]
assert not any(name.partition(".")[0] == "greenify" for name in sys.modules)
""",
            check=True,
            timeout=40,
            greenify=False,
        )

    def test_cloudpickle_takes_them_along(self) -> None:
        made = run(
            """
import cloudpickle

sleep, get_ident = time.sleep, threading.get_ident

def work():
    return time.sleep(0.001), sleep(0), get_ident() == threading.get_ident()

print(cloudpickle.dumps([work, time.sleep, threading.get_ident]).hex())
"""
        )
        run_python(
            f"""
import pickle, threading
work, sleep, get_ident = pickle.loads(bytes.fromhex("{made.strip()}"))
assert work() == (None, None, True)
assert sleep(0.001) is None and get_ident() == threading.get_ident()
""",
            check=True,
            timeout=40,
            greenify=False,
        )

    def test_names(self) -> None:
        run(
            """
for function, module in ((time.sleep, "time"), (_thread.get_ident, "_thread")):
    assert function.__module__ == module
    assert getattr(__import__(module), function.__name__) == function
    assert function.__qualname__ == function.__name__ and module in repr(function)
    assert inspect.isroutine(function) and function.__doc__
"""
        )

    def test_wrong_arguments(self) -> None:
        run(
            """
for call in (lambda: time.sleep(), lambda: time.sleep(0, 0), lambda: time.sleep(seconds=0),
             lambda: time.sleep("1"), lambda: threading.get_ident(1)):
    try:
        call()
    except TypeError as exc:
        assert "_module" not in str(exc), exc
    else:
        raise AssertionError
"""
        )

    def test_xmlrpc_does_not_send_them(self) -> None:
        run(
            """
from xmlrpc.client import dumps

for function in (time.sleep, threading.get_ident):
    try:
        dumps((function,), allow_none=True)
    except TypeError as exc:
        assert "cannot marshal" in str(exc)
    else:
        raise AssertionError
"""
        )

    def test_a_mock_with_the_signature(self) -> None:
        run(
            """
with mock.patch("time.sleep", autospec=True) as sleep:
    time.sleep(3)
sleep.assert_called_once_with(3)
"""
        )


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="every call of a Python function has a C frame there"
)
class TestStack:
    def test_a_sleeper_keeps_no_more_c_stack_than_a_bare_wait(self) -> None:
        run(
            """
from greenlet import getcurrent
from greenify import core

hub = core.get_hub()
sizes = {}

def bare():
    hub.ready.append(getcurrent())
    hub.next().switch()

def sleeps():
    time.sleep(0)

def in_a_thread(work):
    def run():
        sizes[work] = getcurrent()
        work()
    return threading.Thread(target=run)

for work in (bare, sleeps):
    thread = in_a_thread(work)
    thread.start()
    while work not in sizes:
        time.sleep(0)
    sizes[work] = sizes[work]._stack_saved
    thread.join()
assert sizes[bare] >= sizes[sleeps] > 0, sizes
"""
        )
