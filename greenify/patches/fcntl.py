"""`fcntl`: waiting for a lock on a file.

`fcntl.fcntl`, which can do that too, is a matter of the patch `socket`.
"""

from __future__ import annotations

import fcntl

from greenify.green import fcntl as green
from greenify.green._copies.builtin import builtin_twin
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

PATCHES = (
    Patch(
        fcntl,
        replace={
            name: builtin_twin(getattr(fcntl, name), getattr(green, name))
            for name in ("flock", "lockf")
        },
    ),
)
