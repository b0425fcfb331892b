"""The frame below a task's own code: above it a time slice may end, in the pool's code it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenify.integrations.celery.jobs import Job

__all__ = ["call"]


def call(job: Job) -> Any:
    """What the task of `job` returns, as celery's tracer wraps it."""
    return job.target(*job.args, **job.kwargs)
