"""What stands in the place of a hub's ready queue for those that wake, while somebody wants to know of that.

The hub itself takes from the same queue as ever.  So taking stays a single operation in C, and another OS
thread that has just read the attribute wakes as before: nothing is lost but a note.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Recorder"]


class Recorder:
    """A ready queue whose `append` is another one.

    Args:
        queue: the queue.
        append: called in the place of its `append`; puts the item into the queue.
        pop: called in the place of its `pop`, by who takes back the wake-up that came last.
    """

    __slots__ = (
        "_queue",
        "append",
        "appendleft",
        "clear",
        "extend",
        "extendleft",
        "pop",
        "popleft",
        "remove",
        "rotate",
    )

    def __init__(
        self,
        queue: deque[Any],
        append: Callable[[Any], None],
        pop: Callable[[], Any] | None = None,
    ) -> None:
        self._queue = queue
        self.append = append
        self.appendleft = queue.appendleft
        self.clear = queue.clear
        self.extend = queue.extend
        self.extendleft = queue.extendleft
        self.pop = queue.pop if pop is None else pop
        self.popleft = queue.popleft
        self.remove = queue.remove
        self.rotate = queue.rotate

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._queue)

    def __contains__(self, item: object) -> bool:
        return item in self._queue

    def __getitem__(self, index: int) -> Any:
        return self._queue[index]
