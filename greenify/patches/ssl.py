"""`ssl`: the methods of `ssl.SSLSocket` that may block.

Neither `ssl.SSLContext` nor any default is touched: contexts from before the patch keep working, and
verification stays what it is.
"""

from __future__ import annotations

import ssl

from greenify.green.ssl import METHODS
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

PATCHES = (Patch(ssl.SSLSocket, replace=METHODS),)
