"""pytest-xdist's scheduler for groups, such that the loss of a worker does not hang the run."""

from __future__ import annotations

from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

__all__ = ["Scheduling"]


class Scheduling(LoadGroupScheduling):
    """Keeps two tests with each worker, or lets it end.

    A worker runs a test only when it knows the next one, or that there is none.  After a loss (pytest-timeout
    ends the process of a test that hangs) pytest-xdist 3.8 hands out all that the lost one had, also groups
    of which nothing is left: a worker that gets such a one waits, and the run with it.
    """

    def _reschedule(self, node: WorkerController) -> None:
        if node not in self.registered_collections:
            return  # it is new, and calls this when it has found its tests
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)
