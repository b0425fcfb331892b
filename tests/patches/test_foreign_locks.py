"""Locks in C that take all green threads of an OS thread for one: one at a time inside, as with threads."""

from __future__ import annotations

import sys

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode, run_python


class TestFastrlock:
    @both_modes
    def test_one_thread_at_a_time(self, mode: Mode) -> None:
        run(
            """
from fastrlock.rlock import FastRLock
lock, inside, most = FastRLock(), [], []
def enter():
    with lock:
        with lock:
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.001)
            inside.pop()
threads = [Thread(enter) for _ in range(5)]
for thread in threads:
    thread.end()
assert most == [1] * 5, most
""",
            mode,
        )

    @both_modes
    def test_its_interface(self, mode: Mode) -> None:
        run(
            """
import fastrlock.rlock
lock = fastrlock.rlock.FastRLock()
assert lock.acquire() is True and lock.acquire(False) is True and lock._is_owned()
def other():
    return lock.acquire(blocking=False), lock._is_owned()
assert Thread(other).end() == (False, False)
lock.release()
lock.release()
assert not lock._is_owned()
assert outcome(lock.release) == "RuntimeError: cannot release un-acquired lock"
held, go = threading.Event(), threading.Event()
def hold():
    with lock as nothing:
        assert nothing is None
        held.set()
        assert go.wait(LONG)
thread = Thread(hold)
assert held.wait(LONG)
assert outcome(lock.__exit__, None, None, None) == "RuntimeError: cannot release un-acquired lock"
assert not lock.acquire(False)
go.set()
assert lock.acquire()
thread.end()
assert lock._is_owned() and type(lock).__name__ == "FastRLock" == fastrlock.rlock.FastRLock.__qualname__
""",
            mode,
        )

    def test_it_is_put_back(self) -> None:
        run_python(
            """
import fastrlock.rlock, greenify
native = id(fastrlock.rlock.FastRLock)  # a reference would be patched
with greenify.patched():
    assert id(fastrlock.rlock.FastRLock) != native
assert id(fastrlock.rlock.FastRLock) == native
""",
            greenify=False,
            check=True,
        )


H5PY = """
import h5py
file = h5py.File("in memory", "w", driver="core", backing_store=False)
for name in "abc":
    file[name] = [1, 2, 3]
"""


@pytest.mark.skipif(
    sys.version_info >= (3, 15), reason="the test extra has h5py up to CPython 3.14"
)
class TestH5py:
    @both_modes
    @pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
    def test_a_callback_that_waits_keeps_the_others_out(self, mode: Mode, late: bool) -> None:
        """HDF5 is not safe to be entered by two threads, and h5py has one lock for all of it."""
        code = (
            H5PY
            + """
inside, begun, log = threading.Event(), threading.Event(), []
def visit(name):
    inside.set()
    assert begun.wait(LONG)
    for _ in range(3):
        time.sleep(0.001)
    log.append(name)
def use():
    assert inside.wait(LONG)
    begun.set()
    first = file["a"][0]
    log.append("used")
    return first
threads = [Thread(file.visit, visit), Thread(use)]
assert threads[1].end() == 1
threads[0].end()
assert log == ["a", "b", "c", "used"], log
from h5py._objects import phil
assert not phil._is_owned() and phil.acquire() and phil._is_owned()
phil.release()
"""
        )
        if late and mode:
            run(
                "import greenify; greenify.restore()\nimport h5py\ngreenify.patch_all()\n" + code,
                mode,
            )
        else:
            run(code, mode)

    def test_it_is_put_back(self) -> None:
        run_python(
            """
import h5py, greenify
from h5py._objects import phil
methods = ("acquire", "release", "_is_owned", "__enter__", "__exit__")
natives = [vars(type(phil))[name] for name in methods]
with greenify.patched():
    assert all(vars(type(phil))[name] is not native for name, native in zip(methods, natives))
    with phil:
        assert phil._is_owned()
    another = type(phil)()
    with another:
        assert another._is_owned() and not phil._is_owned()
assert [vars(type(phil))[name] for name in methods] == natives
with phil:
    assert phil._is_owned()
file = h5py.File("in memory", "w", driver="core", backing_store=False)
file["a"] = [1]
assert file["a"][0] == 1
""",
            greenify=False,
            check=True,
        )

    def test_a_patch_while_it_is_in_use(self) -> None:
        result = run_python(
            """
import warnings
from h5py._objects import phil
import greenify
with phil, warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    greenify.patch_all()
    assert phil._is_owned()
assert not phil._is_owned()
print([str(each.message)[:17] for each in found if each.category is greenify.NativeLockWarning])
""",
            greenify=False,
            check=True,
        )
        assert result.stdout == "['h5py is in use by']\n"


@pytest.mark.skipif(
    sys.version_info >= (3, 15), reason="the test extra has lmdb up to CPython 3.14"
)
class TestWarning:
    CODE = """
import warnings
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    import lmdb
    import lmdb.cpython
print([(each.category.__name__, str(each.message).partition(" ")[0], each.lineno) for each in found])
"""

    def test_says_so_when_the_library_is_imported(self) -> None:
        result = run_python(self.CODE, greenify=True, check=True)
        assert result.stdout == "[('NativeLockWarning', 'lmdb', 5)]\n"

    def test_nothing_without_the_patch(self) -> None:
        assert run_python(self.CODE, greenify=False, check=True).stdout == "[]\n"
        code = "import greenify; greenify.patch_all(skip='thread')\n" + self.CODE
        assert run_python(code, greenify=False, check=True).stdout == "[]\n"

    def test_what_it_says_is_true_and_the_remedy_works(self, tmp_path: object) -> None:
        code = f"""
            import sys, tempfile, threading, time, warnings
            warnings.simplefilter("ignore")
            import lmdb
            environment = lmdb.open({str(tmp_path)!r}, map_size=1 << 20)
            lock, errors, tried = threading.Lock(), [], threading.Event()
            patched = "greenify" in sys.modules
            def write(locked):
                try:
                    if locked:
                        with lock:
                            write(False)
                    else:
                        with environment.begin(write=True) as transaction:
                            transaction.put(b"key", b"value")
                            if patched and not lock.locked():
                                assert tried.wait(20)
                except lmdb.Error as exc:
                    errors.append(str(exc))
                    if len(errors) == 2:
                        tried.set()
            for locked in (False, True):
                errors.clear()
                threads = [threading.Thread(target=write, args=(locked,)) for _ in range(3)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                print(len(errors), all("same thread" in error for error in errors))
        """
        assert run_python(code, greenify=True, check=True).stdout == "2 True\n0 True\n"
        assert run_python(code, greenify=False, check=True).stdout == "0 True\n0 True\n"
