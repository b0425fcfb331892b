"""`subprocess`: the methods of `Popen` that wait, on the class itself."""

from __future__ import annotations

import subprocess

from greenify.green import subprocess as green
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

PATCHES = (Patch(subprocess.Popen, replace=green.METHODS),)
