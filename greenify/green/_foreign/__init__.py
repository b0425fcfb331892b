"""Calls that leave Python and wait, or compute, in C: what keeps the other green threads running meanwhile.

| remedy | for |
|---|---|
| `try_again` | what has a variant that does not wait, and nothing to wait for |
| `hand_over` | a call without state of its own, which waits: it runs on a native thread |
| `hand_over_interruptibly` | the same, of an object that can be told to end its call |
| `compute`, `compute_with` | one that computes: the same, with as many at a time as there are processors |
| `OwnThread`, `own_thread` | the calls of one object: a native thread of its own runs them all |
| `wait_callbacks` | a C library that calls a function where it would wait: its calls run on the hub |
| `run_back` | a Python function that C code calls meanwhile: it runs in the thread of the caller |
| `library_threads` | a thread of a library that lives in C is a native one |

Everything here works with nothing patched, too.  A call on a native thread *is* the caller's: it sees the
context variables, the thread-local data, the identity and the re-entrant locks of the green thread that waits
for it.
"""

from greenify.green._foreign.calls import (
    compute,
    compute_with,
    hand_over,
    hand_over_interruptibly,
    run_back,
)
from greenify.green._foreign.own_thread import OwnThread, own_thread
from greenify.green._foreign.trying import NOT_YET, NotYet, try_again

__all__ = [
    "NOT_YET",
    "NotYet",
    "OwnThread",
    "compute",
    "compute_with",
    "hand_over",
    "hand_over_interruptibly",
    "own_thread",
    "run_back",
    "try_again",
]
