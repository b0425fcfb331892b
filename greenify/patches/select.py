"""`select`: waiting for descriptors parks the calling greenlet."""

from __future__ import annotations

import select
from typing import Any

from greenify.green import select as green
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

_names = ("select", "poll", "epoll", "kqueue")
_replace: dict[str, Any] = {name: getattr(green, name) for name in _names if hasattr(select, name)}

PATCHES = (Patch(select, replace=_replace),)
