"""gevent on greenify's loop.  Every test is a gevent program in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import run_python

__all__ = ["ENV", "run_gevent"]

ENV = {"GEVENT_LOOP": "greenify.integrations.gevent.loop"}


def run_gevent(
    code: str | Path, *args: object, timeout: float = 60, python: str | Path = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run a gevent program on our loop to its end, which has to be a good one."""
    return run_python(
        code, *args, greenify=False, env=ENV, timeout=timeout, python=python, check=True
    )
