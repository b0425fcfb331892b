"""`selectors`: the classes stay, their waits become cooperative, in selectors made before as well."""

from __future__ import annotations

import selectors

from greenify.green import select as green
from greenify.green.selectors import ADOPTING
from greenify.patches.record import Patch

__all__ = ["PATCHES"]

PATCHES = (
    Patch(selectors.SelectSelector, replace={"_select": green.select}),
    Patch(selectors.PollSelector, replace={"_selector_cls": green.poll}),
    *(
        [Patch(selectors.EpollSelector, replace={"_selector_cls": green.epoll})]
        if hasattr(selectors, "EpollSelector")
        else []
    ),
    *(Patch(owner, replace={"select": method}) for owner, method in ADOPTING.items()),
)
