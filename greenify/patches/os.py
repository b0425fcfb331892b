"""`os`: reading, writing and closing descriptors, and waiting for children.

Also in `posix`, from which `os` and a few other modules take them.
"""

from __future__ import annotations

import os
import posix
from typing import Any

from greenify.green import os as green
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

_replaced: dict[str, Any] = {
    name: getattr(green, name) for name in green.REPLACED if hasattr(os, name)
}

PATCHES = (
    Patch(os, replace=_replaced),
    Patch(posix, replace={name: new for name, new in _replaced.items() if hasattr(posix, name)}),
)
