"""`greenify.patch_all` and its kin, each in a process of its own."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from greenify.patches.selection import ORDER
from tests.support import run_python


def run(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return run_python(code, greenify=False, check=True, **options)


# Everything that hangs on the modules of the standard library, by identity.
SNAPSHOT = """
import _ctypes, sys, types  # _ctypes: the guard of repr is reached by it

def snapshot():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("greenify", "pyuv", "greenlet", "__main__"):
            continue
        for key, value in list(vars(module).items()):
            found[name, key] = value
            if isinstance(value, type) and value.__module__ == name:
                for attribute, inner in list(vars(value).items()):
                    found[name, key, attribute] = inner
    return found

def differences(before, after):
    return sorted(
        ".".join(key)
        for key in before.keys() | after.keys()
        if before.get(key, key) is not after.get(key, key)
        # Made anew at every look.
        and not isinstance(before.get(key), (types.GetSetDescriptorType, types.MappingProxyType))
    )
"""


class TestPatchAll:
    @pytest.mark.smoke
    def test_threads_run_concurrently(self) -> None:
        run(
            """
            import greenify
            greenify.patch_all()
            import threading, time
            start = time.monotonic()
            threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(50)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert 0.2 <= time.monotonic() - start < 8  # one after the other: ten
            import os
            # What looks after long calls into C ends with the threads.
            while len(os.listdir("/proc/self/task")) > 1:
                assert time.monotonic() - start < 30
                time.sleep(0.001)
            """
        )

    def test_starts_no_loop_no_thread_and_opens_no_descriptor(self) -> None:
        run(
            """
            import os
            before = os.listdir("/proc/self/fd")
            def opened():
                # Not what libffi keeps open, which is out of the way.
                return [
                    number for number in os.listdir("/proc/self/fd") if number not in before
                    and not (int(number) >= 900 and "/libffi.so" in os.readlink(f"/proc/self/fd/{number}"))
                ]
            import greenify
            greenify.patch_all()
            import greenify.core as core
            assert core.current_hub() is None
            assert opened() == []
            assert len(os.listdir("/proc/self/task")) == 1
            greenify.restore()
            assert opened() == []
            """
        )

    def test_twice_is_once(self) -> None:
        run(
            """
            import greenify
            greenify.patch_all()
            before = [(id(c.owner), c.name, id(c.after)) for c in greenify.changes()]
            greenify.patch_all()
            assert [(id(c.owner), c.name, id(c.after)) for c in greenify.changes()] == before
            """
        )

    def test_second_call_adds(self) -> None:
        run(
            """
            import greenify, select, time
            greenify.patch_all(only="time")
            green = time.sleep
            assert green is not greenify.original("time", "sleep")
            assert greenify.is_patched("time") and not greenify.is_patched("select")
            greenify.patch_all(only=["select", "time"])
            assert time.sleep is green and select.select is not greenify.original("select", "select")
            assert [n for n in greenify.ORDER if greenify.is_patched(n)] == ["time", "select"]
            """
        )

    def test_skip(self) -> None:
        run(
            """
            import greenify, _thread, threading
            greenify.patch_all(skip={"thread"})
            assert type(threading.Lock()) is type(_thread.allocate_lock()) is _thread.LockType
            assert _thread.LockType.__module__ == "_thread"
            assert [n for n in greenify.ORDER if not greenify.is_patched(n)] == ["thread"]
            """
        )

    @pytest.mark.parametrize("name", ORDER)
    def test_each_patch_alone(self, name: str) -> None:
        run(
            SNAPSHOT
            + f"""
import greenify, greenify.patches
from greenify.patches.selection import NEEDS
for each in greenify.ORDER: greenify.patches._load(each)
names = [{name!r}, *NEEDS.get({name!r}, ())]
before = snapshot()
greenify.patch_all(only=names)
assert greenify.is_patched({name!r})
assert {{c.patch for c in greenify.changes()}} <= set(names)
greenify.restore()
assert not differences(before, snapshot()), differences(before, snapshot())
"""
        )

    def test_unknown_name_changes_nothing(self) -> None:
        run(
            """
            import greenify
            for options in (dict(only=["time", "sokcet"]), dict(skip="sokcet")):
                try:
                    greenify.patch_all(**options)
                except greenify.UnknownPatchError as exc:
                    assert "did you mean 'socket'" in str(exc)
                else:
                    raise AssertionError
            try:
                greenify.is_patched("sokcet")
            except greenify.UnknownPatchError:
                pass
            else:
                raise AssertionError
            assert greenify.changes() == ()
            """
        )

    def test_failure_in_the_middle_undoes_everything(self) -> None:
        run(
            SNAPSHOT
            + """
import difflib  # the message of the failure imports it
import greenify, greenify.patches
import greenify.patches.subprocess as broken
for each in greenify.ORDER: greenify.patches._load(each)
from time import sleep
import time, threading
lock = threading.Lock()
lock.acquire()
from greenify.patches.record import Patch
broken.PATCHES += (Patch(time, replace={"slepp": 1}),)
before = snapshot()
number = id(lock)
try:
    greenify.patch_all()
except greenify.PatchError as exc:
    assert "did you mean 'sleep'" in str(exc), exc
else:
    raise AssertionError
assert not differences(before, snapshot()), differences(before, snapshot())
assert id(lock) == number and lock.locked() and sleep is time.sleep
assert greenify.changes() == ()
assert not any(map(greenify.is_patched, greenify.ORDER))
broken.PATCHES = broken.PATCHES[:-1]
greenify.patch_all()
assert sleep is time.sleep and id(lock) != number and lock.locked()
"""
        )

    def test_from_many_native_threads_at_once(self) -> None:
        run(
            """
            import warnings
            warnings.simplefilter("ignore")
            import greenify, greenify.patches, _thread, time
            for each in greenify.ORDER: greenify.patches._load(each)
            start, native_lock = _thread.start_new_thread, _thread.allocate_lock
            go = native_lock(); go.acquire()
            done = [native_lock() for _ in range(8)]
            errors = []
            def work(lock, index):
                with go: pass
                try:
                    greenify.patch_all(only=greenify.ORDER[: index + 1] if index != 9 else None)
                except BaseException as exc:
                    errors.append(exc)
                lock.release()
            for index, lock in enumerate(done):
                lock.acquire()
                start(work, (lock, index))
            go.release()
            for lock in done:
                assert lock.acquire(timeout=20)
            assert not errors, errors
            seen = [(id(c.owner), c.name) for c in greenify.changes() if c.kind == "replaced"]
            assert len(seen) == len(set(seen))
            assert all(greenify.is_patched(name) for name in greenify.ORDER[:8])
            """
        )


class TestRestore:
    def test_everything_comes_back(self) -> None:
        run(
            SNAPSHOT
            + """
import asyncio, concurrent.futures, logging, queue, socketserver, subprocess, ssl, tempfile, threading
import greenify, greenify.patches
for each in greenify.ORDER: greenify.patches._load(each)
before = snapshot()
for _ in range(2):
    greenify.patch_all()
    assert len(differences(before, snapshot())) > 100
    threads = [threading.Thread(target=subprocess.run, args=(["true"],)) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    greenify.restore()
    assert not differences(before, snapshot()), differences(before, snapshot())
    assert greenify.changes() == ()
    thread = threading.Thread(target=print, args=("native",)); thread.start(); thread.join()
"""
        )

    def test_refuses_over_a_later_patch(self) -> None:
        run(
            """
            import greenify, time, select
            greenify.patch_all()
            ours = time.sleep
            time.sleep = theirs = lambda seconds: ours(seconds)
            select.select = len
            count = len(greenify.changes())
            try:
                greenify.restore()
            except greenify.RestoreError as exc:
                assert "time.sleep is now __main__.<lambda>" in str(exc), exc
                assert "select.select is now len" in str(exc), exc
            else:
                raise AssertionError
            assert len(greenify.changes()) == count
            assert time.sleep is theirs
            """
        )

    def test_without_a_patch(self) -> None:
        run("import greenify; greenify.restore(); greenify.restore()")


class TestPatched:
    def test_for_a_while(self) -> None:
        run(
            """
            import greenify, time
            with greenify.patched(only="time"):
                assert time.sleep is not greenify.original("time", "sleep")
                assert greenify.is_patched("time")
            assert time.sleep.__module__ == "time"
            assert not greenify.is_patched("time")
            """
        )

    def test_takes_back_only_what_it_has_added(self) -> None:
        run(
            """
            import greenify, time, select
            greenify.patch_all(only="time")
            with greenify.patched(only="time,select"):
                with greenify.patched():
                    assert greenify.is_patched("socket")
                assert not greenify.is_patched("socket")
                assert select.select is not greenify.original("select", "select")
            assert [name for name in greenify.ORDER if greenify.is_patched(name)] == ["time"]
            assert select.select.__module__ == "select"
            """
        )

    def test_after_an_exception(self) -> None:
        run(
            """
            import greenify, time
            @greenify.patched()
            def work():
                assert greenify.is_patched("time")
                raise KeyError
            try:
                work()
            except KeyError:
                pass
            assert greenify.changes() == ()
            """
        )


class TestReading:
    def test_original(self) -> None:
        run(
            """
            import greenify, socket, time
            names = (time, "sleep"), (socket, "getaddrinfo"), (socket.socket, "recv")
            # By number: references would follow the patch.
            native = [id(getattr(*name)) for name in names]
            assert [id(greenify.original(*name)) for name in names] == native
            greenify.patch_all()
            assert [id(greenify.original(*name)) for name in names] == native
            assert not [name for name in names if id(getattr(*name)) in native]
            assert greenify.original("time", "monotonic") is time.monotonic
            for owner, name, error in (
                ("time", "slepp", AttributeError), ("no_such_module", "f", ImportError)
            ):
                try:
                    greenify.original(owner, name)
                except error:
                    pass
                else:
                    raise AssertionError
            greenify.restore()
            assert [id(getattr(*name)) for name in names] == native
            """
        )

    def test_changes(self) -> None:
        run(
            """
            import time
            from time import sleep
            import greenify
            assert greenify.changes() == ()
            greenify.patch_all(only="time")
            found = {str(c): c for c in greenify.changes()}
            assert set(found) == {
                "time.sleep -> greenify.green.time.sleep",
                "__main__.sleep -> greenify.green.time.sleep",
            }, found
            change = found["__main__.sleep -> greenify.green.time.sleep"]
            assert (change.patch, change.kind) == ("time", "rebound")
            assert change.after is time.sleep and change.before is greenify.original("time", "sleep")
            """
        )

    def test_planned_is_what_gets_replaced(self) -> None:
        run(
            """
            import greenify
            from greenify.patches import planned
            plan = [(c.patch, c.where) for c in planned()]
            assert greenify.changes() == ()
            greenify.patch_all()
            made = [(c.patch, c.where) for c in greenify.changes() if c.kind == "replaced"]
            assert [row for row in made if row in plan] == plan
            """
        )
