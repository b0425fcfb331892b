"""celery's pool with a green thread for each task: ``celery worker -P custom``.

    CELERY_CUSTOM_WORKER_POOL=greenify.integrations.celery:TaskPool celery -A app worker -P custom -c 1000

Asking this module for `TaskPool` patches the process.  celery does that when it reads its command line,
before it imports the application.  To import the module patches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenify.integrations.celery.pool import TaskPool as TaskPool

# Not TaskPool: ``import *`` is no reason to patch the process.
__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name != "TaskPool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from greenify.integrations.late_patch import patch_late

    patch = patch_late()
    # After the patch: what it takes from celery and kombu is patched.
    from greenify.integrations.celery import pool

    pool.loaded(patch)
    globals()[name] = pool.TaskPool
    return pool.TaskPool
