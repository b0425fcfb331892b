"""The cooperative twin of `fcntl`: who waits for a lock on a file lets the others run.

The kernel tells nobody when a file lock becomes free.  So the variant of the call that does not wait is tried
again, after pauses that grow to 10 ms; between two attempts the caller has nothing that a kill could leave
behind.
"""

from __future__ import annotations

import fcntl as _fcntl
from typing import Any

from greenify.core.tracebacks import leave_out_twin
from greenify.green._copies.rest import complete
from greenify.green._files.descriptor_io import runs_natively
from greenify.green._foreign.trying import until_free

__all__ = ["fcntl", "flock", "lockf"]

_flock = _fcntl.flock
_lockf = _fcntl.lockf
_call = _fcntl.fcntl

_UNLOCK = _fcntl.LOCK_UN
_AT_ONCE = _fcntl.LOCK_NB

# The commands that wait, with those that do not.
_INSTEAD = {
    getattr(_fcntl, waits): getattr(_fcntl, does_not)
    for waits, does_not in (("F_SETLKW", "F_SETLK"), ("F_OFD_SETLKW", "F_OFD_SETLK"))
    if hasattr(_fcntl, waits) and hasattr(_fcntl, does_not)
}


# They take whatever comes, for the native ones to complain about.


def flock(*args: Any) -> None:
    """See `fcntl.flock`."""
    if _waits(args) and len(args) == 2:
        fd, operation = args
        try:
            until_free(lambda: _flock(fd, operation | _AT_ONCE))
        except BaseException:
            leave_out_twin()
            raise
    else:
        _flock(*args)


def lockf(*args: Any) -> None:
    """See `fcntl.lockf`."""
    if _waits(args):
        fd, cmd, *place = args
        try:
            until_free(lambda: _lockf(fd, cmd | _AT_ONCE, *place))
        except BaseException:
            leave_out_twin()
            raise
    else:
        _lockf(*args)


def _waits(args: tuple[Any, ...]) -> bool:
    operation = args[1] if len(args) > 1 else None
    return type(operation) is int and not (operation & (_UNLOCK | _AT_ONCE) or runs_natively())


def fcntl(*args: Any) -> Any:
    """See `fcntl.fcntl`; F_SETLKW and F_OFD_SETLKW wait cooperatively."""
    instead = _INSTEAD.get(args[1]) if len(args) > 1 and type(args[1]) is int else None
    if instead is None or runs_natively():
        return _call(*args)
    fd, _, *arg = args
    try:
        return until_free(lambda: _call(fd, instead, *arg))
    except BaseException:
        leave_out_twin()
        raise


complete(globals(), _fcntl)


def __getattr__(name: str) -> Any:
    return getattr(_fcntl, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_fcntl)})
