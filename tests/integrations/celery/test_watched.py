"""A worker with our pool is watched when the environment says so; no broker is needed for that."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integrations.celery.workers import POOL
from tests.integrations.running import Running, started

PROGRAM = """
import ctypes, os
from celery import Celery
from celery.signals import worker_ready
app = Celery("program", broker="memory://")
reader, writer = os.pipe()
@app.task
def block():
    ctypes.CDLL(None).read(reader, ctypes.create_string_buffer(1), 1)
@worker_ready.connect
def begin(**_):
    block.delay()
"""


@pytest.mark.skipif(find_spec("celery") is None, reason="needs greenify[celery]")
def test_the_environment_has_it_watched(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "celery", "-A", "program", "worker", "-P", "custom"]
    env = {"CELERY_CUSTOM_WORKER_POOL": POOL, "GREENIFY_WATCH": "0.1"}
    with started([*command, "--without-mingle", "--without-gossip"], tmp_path, env) as process:
        # In the worker's log, once.
        (place,) = Running(tmp_path, process).until(r"has kept the loop .*, at (\S+) in block")
        assert place.startswith(str(tmp_path / "program.py"))
