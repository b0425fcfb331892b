"""When ctypes' copy of `errno` begins to be each thread's own; who does not keep one pays nothing."""

from __future__ import annotations

import pytest

from tests.support import run_python

CHECK = """
import errno, greenlet, threading

def check(close):
    "Two threads, each with its own value."
    barrier = threading.Barrier(2)
    found = []
    def fails():
        close(-1)
        barrier.wait(20)
        found.append(ctypes.get_errno() == errno.EBADF)
    def sets():
        ctypes.set_errno(123)
        barrier.wait(20)
        found.append(ctypes.get_errno() == 123)
    threads = [threading.Thread(target=each) for each in (fails, sets)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [True, True] and ctypes.get_errno() == 0
    print("right")
"""

LIBRARY = "ctypes.CDLL(None, use_errno=True).close"
TYPE = "ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, use_errno=True)(('close', ctypes.CDLL(None)))"


class TestErrno:
    @pytest.mark.parametrize("close", [LIBRARY, TYPE], ids=["library", "type"])
    def test_from_the_first_function_on(self, close: str) -> None:
        code = f"import ctypes\n{CHECK}\ncheck({close})"
        assert run_python(code, check=True).stdout == "right\n"

    @pytest.mark.parametrize("close", [LIBRARY, TYPE], ids=["library", "type"])
    def test_made_before_the_patch(self, close: str) -> None:
        code = f"""
import ctypes, warnings
warnings.simplefilter("ignore")
close = {close}
import greenify
greenify.patch_all()
{CHECK}
check(close)
greenify.restore()
print(type(ctypes.set_errno).__name__, ctypes.set_errno(5), ctypes.get_errno())
"""
        told = run_python(code, greenify=False, check=True).stdout
        assert told == "right\nbuiltin_function_or_method 0 5\n"

    def test_the_next_thread_of_a_greenlet_begins_with_none(self) -> None:
        code = """
import ctypes, threading
close = ctypes.CDLL(None, use_errno=True).close
found = []
def work():
    found.append(ctypes.get_errno())
    close(-1)
for _ in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert found == [0, 0, 0] and ctypes.get_errno() == 0
"""
        run_python(code, check=True)

    def test_without_it_nobody_looks_at_switches(self) -> None:
        code = """
import ctypes, greenlet, inspect, threading
library = ctypes.CDLL(None)
assert library.close(-1) == -1 and ctypes.get_errno() == 0
ctypes.CFUNCTYPE(ctypes.c_int)
thread = threading.Thread(target=library.close, args=(-1,))
thread.start()
thread.join()
assert greenlet.gettrace() is None
# What takes the place of ctypes' functions looks like them.
assert "use_errno" in inspect.signature(ctypes.CDLL).parameters
assert ctypes.CFUNCTYPE.__name__ == "CFUNCTYPE" and ctypes.CDLL.__init__.__qualname__ == "CDLL.__init__"
"""
        run_python(code, check=True)
