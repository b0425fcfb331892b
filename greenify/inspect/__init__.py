"""Who waits for what, now: the threads, tasks and greenlets of a program, looked at from outside.

Nothing is written down while the program runs: what somebody waits for is read from the frames in which he
waits, when somebody asks.
"""

from greenify.inspect.frames import Place, user_frame
from greenify.inspect.listening import close, listen
from greenify.inspect.snapshot import Row, Snapshot, snapshot
from greenify.inspect.stats import Delays, Stats, measure_delays
from greenify.inspect.waits import Wait, wait_in, wait_of

__all__ = [
    "Delays",
    "Place",
    "Row",
    "Snapshot",
    "Stats",
    "Wait",
    "close",
    "listen",
    "measure_delays",
    "snapshot",
    "user_frame",
    "wait_in",
    "wait_of",
]
