"""Programs that use a library from several threads, run with real threads and under the patch.

What they assert or print has to be the same both ways.  They have what `tests.green.programs` gives, and
`ticking`: whether the other threads run while a call waits.
"""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run, same_output

__all__ = ["READY", "both_modes", "check", "needs", "same_output"]

READY = """
    class Ticking:
        '''Counts, in a thread of its own, how often another thread comes to run.'''

        def __enter__(self):
            self.ticks = 0
            self.stop = False
            self.thread = Thread(self.run)
            return self

        def run(self):
            while not self.stop:
                time.sleep(0.002)
                self.ticks += 1

        def __exit__(self, *exc_info):
            self.stop = True
            self.thread.end()

    def ticks_during(function, *args, **kwargs):
        '''The result of a call that takes a while, during which another thread has to run at least thrice.'''
        with Ticking() as ticking:
            while not ticking.ticks:
                time.sleep(0.001)
            before = ticking.ticks
            result = function(*args, **kwargs)
            during = ticking.ticks - before
        assert during >= 3, f"the others stood still: {during} ticks"
        return result
"""


def check(code: str, mode: object, *args: object, timeout: float = 60) -> str:
    """Run a program, which has to succeed and to be silent on standard error; returns what it printed."""
    return run(READY + code, mode, *args, timeout=timeout)  # type: ignore[arg-type]


def needs(package: str) -> None:
    """Skip the tests of a module whose library is not installed; see the extra ``libraries``."""
    from tests.libraries.servers import required

    if required():
        __import__(package)
    else:
        pytest.importorskip(package, reason=f"no {package}: pip install -e '.[libraries]'")
