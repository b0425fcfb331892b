"""Watching a path for changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from greenify.integrations.gevent.watchers import timer, watcher

if TYPE_CHECKING:
    from greenify.integrations.gevent.loop import loop as Loop

__all__ = ["stat"]

_lstat = os.lstat

# Seconds between two looks: when nobody says, and at least; libev's figures.
_DEFAULT = 5.0074891
_SHORTEST = 0.1074891


def _key(found: os.stat_result | None) -> object:
    """What has to differ for a change: times in nanoseconds, for a float loses some."""
    if found is None:
        return None
    return (
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_rdev,
        found.st_size,
        found.st_atime_ns,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


class stat(watcher):
    """Happens when what ``lstat`` says of `path` has changed, or the path appears or vanishes.

    The path is looked at every `interval` seconds, 5 when that is 0, and not more often than every 0.1.
    """

    __slots__ = ("_attr", "_interval", "_path", "_paths", "_prev", "_timer")

    def __init__(
        self,
        loop: Loop,
        path: str | bytes | os.PathLike[Any],
        interval: float = 0.0,
        ref: bool = True,
        priority: int | None = None,
    ) -> None:
        super().__init__(loop, ref, priority)
        self._path = path
        self._paths = os.fsencode(path)
        self._interval = interval
        self._attr: os.stat_result | None = None
        self._prev: os.stat_result | None = None
        self._timer: timer | None = None

    @property
    def path(self) -> str | bytes | os.PathLike[Any]:
        """The path as it was given."""
        return self._path

    @property
    def attr(self) -> os.stat_result | None:
        """What was found last; None if nothing was."""
        return self._attr

    @property
    def prev(self) -> os.stat_result | None:
        """What was found before the last change; None if nothing was."""
        return self._prev

    @property
    def interval(self) -> float:
        """Seconds between two looks; what is really used from the first start on."""
        return self._interval

    def _arm(self) -> None:
        if not self._interval:
            self._interval = _DEFAULT
        self._interval = max(self._interval, _SHORTEST)
        self._attr = self._prev = self._look()
        super()._arm()
        # Our own reference is counted already.
        self._timer = timer(self.loop, self._interval, self._interval, ref=False)
        self._timer.start(self._compare)

    def _disarm(self) -> None:
        super()._disarm()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _look(self) -> os.stat_result | None:
        try:
            return _lstat(self._paths)
        except OSError:
            return None

    def _compare(self) -> None:
        found = self._look()
        if _key(found) != _key(self._attr):
            self._prev, self._attr = self._attr, found
            self.loop._feed(self)

    def _format(self) -> str:
        return f" path={self._path!r} interval={self._interval}"
