"""Imported by every Python child that `tests/support.py` starts: SIGUSR2 prints all stacks.

faulthandler sees native threads only, and what hangs under greenify is a greenlet that is parked:
those have to be looked up. It is a handler and not `faulthandler.dump_traceback_later()`, because
that starts a native thread, and tests count those. Nothing is imported until the signal comes, so
that what is "imported before the patch" stays for the test to say.
"""

import _signal
import sys


def _print_stacks(number, frame):
    import gc
    import traceback

    write = sys.__stderr__.write
    for thread, current in sys._current_frames().items():
        write(f"\n--- native thread {thread:#x}\n")
        traceback.print_stack(current, file=sys.__stderr__)
    greenlet = sys.modules.get("greenlet")
    if greenlet is not None:
        for candidate in gc.get_objects():
            if isinstance(candidate, greenlet.greenlet) and candidate.gr_frame is not None:
                write(f"\n--- parked {candidate!r}\n")
                traceback.print_stack(candidate.gr_frame, file=sys.__stderr__)
    sys.__stderr__.flush()


# Not where a parent ignores or handles it already (a child that was forked by a test on purpose).
if _signal.getsignal(_signal.SIGUSR2) == _signal.SIG_DFL:
    _signal.signal(_signal.SIGUSR2, _print_stacks)
