"""`time`: sleeping parks the calling greenlet."""

from __future__ import annotations

import time

from greenify.green import time as green
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

PATCHES = (Patch(time, replace={"sleep": green.sleep}),)
