"""Programs that use the pool by itself, as a worker of celery does."""

from __future__ import annotations

import textwrap

from tests.support import run_python

#: What each program begins with.  `tell` is what the worker is told of each task.
BEGIN = """
import threading, time
from greenify.integrations.celery import TaskPool
told, changed = [], threading.Condition()

def tell(*what):
    with changed:
        told.append(what)
        changed.notify_all()

def until(*what):
    with changed:
        assert changed.wait_for(lambda: what in told, 60), (what, told)

def begin(pool, target, *args, name=None, **options):
    return pool.apply_async(
        target, args,
        accept_callback=lambda pid, when: tell("accepted", pid if name is None else name),
        callback=lambda result: tell("returned", result),
        error_callback=lambda info: tell("failed", info.type.__name__),
        timeout_callback=lambda soft, limit: tell("time", "soft" if soft else "hard", limit),
        **options,
    )

def started(limit, **options):
    pool = TaskPool(limit, **options)
    pool.start()
    return pool
"""


def run(program: str) -> tuple[list[str], str]:
    """The lines that a program prints, and its standard error; it is patched by asking for the pool."""
    result = run_python(
        BEGIN + textwrap.dedent(program),
        greenify=False,
        check=True,
        env={"PYTHONWARNINGS": "error"},
    )
    return result.stdout.splitlines(), result.stderr
