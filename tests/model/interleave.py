"""Another OS thread that comes in between, at every single step: deterministic tests of lock-free code.

What lets locks and queues be used from several OS threads at once is that each step of them is atomic.
`at_every_step` runs an operation over and over and lets something else happen in its middle, before each of
its bytecode instructions in turn, as the interpreter may when it switches threads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any

Call = Callable[[], Any]


class Interleaving:
    """Runs an operation and interrupts it at given steps."""

    def __init__(self, filenames: set[str], steps: tuple[int, ...]) -> None:
        self._filenames = filenames
        self._steps = steps
        self._intruders: tuple[Call, ...] = ()
        self.seen = 0

    def __call__(self, operation: Call, *intruders: Call) -> Any:
        """Call ``operation()``, call each intruder before one of its instructions; what it returned."""
        self._intruders = intruders
        before = sys.gettrace()
        # From CPython 3.12 on, the interpreter has to know of it when tracing begins.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        try:
            return operation()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename not in self._filenames:
            return None
        if event == "call":
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
            frame.f_trace = (
                self._trace
            )  # CPython 3.13 looks at it when this is set, not when we return it
        elif event == "opcode":
            for step, intruder in zip(self._steps, self._intruders, strict=True):
                if step == self.seen:
                    intruder()
            self.seen += 1
        return self._trace


def at_every_step(*modules: ModuleType, intruders: int = 1) -> Iterator[Interleaving]:
    """Yield a callable ``run(operation, *intruders)`` for every way to put the intruders into the operation.

    The steps are those in the code of `modules`.  The caller sets everything up afresh in each round.  A step
    may lie behind the end of the operation: then that intruder is not called.
    """
    steps = [0] * intruders
    most = 0
    while True:
        run = Interleaving({str(module.__file__) for module in modules}, tuple(steps))
        yield run
        most = max(most, run.seen)
        # Count on: the last step up to the end of the operation, then the one before it, ...
        place = intruders - 1
        while place >= 0 and steps[place] >= run.seen:
            place -= 1
        if place < 0:
            assert most > 5, "nothing was traced"
            return
        steps[place:] = [steps[place] + 1] * (intruders - place)
