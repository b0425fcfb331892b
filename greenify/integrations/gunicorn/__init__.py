"""gunicorn's worker with green threads: ``gunicorn -k egg:greenify#greenify app:app``."""

from __future__ import annotations

from greenify.integrations.gunicorn.worker import GreenifyWorker

__all__ = ["GreenifyWorker"]
