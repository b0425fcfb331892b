"""`os`: reading, writing and closing descriptors, and waiting for children."""

from __future__ import annotations

import os

from greenify.green import os as green
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

PATCHES = (
    Patch(os, replace={name: getattr(green, name) for name in green.__all__ if hasattr(os, name)}),
)
