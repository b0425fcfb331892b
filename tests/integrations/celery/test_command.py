"""What celery's own command says of our pool; no broker is needed for that."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integrations.celery.workers import POOL
from tests.support import child_env

PROGRAM = """
from celery import Celery
app = Celery("program", broker="memory://")
app.conf.update({settings})
"""


@pytest.mark.skipif(find_spec("celery") is None, reason="needs greenify[celery]")
@pytest.mark.parametrize(
    ("options", "settings", "named"),
    [
        (["--max-tasks-per-child", "5"], "", "--max-tasks-per-child"),
        ([], "worker_max_tasks_per_child=5", "worker_max_tasks_per_child"),
        (["--max-memory-per-child", "5000"], "", "--max-memory-per-child"),
    ],
)
def test_what_asks_for_processes_is_refused_in_one_line(
    tmp_path: Path, options: list[str], settings: str, named: str
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.format(settings=settings))
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "program", "worker", "-P", "custom", *options],
        cwd=tmp_path,
        env=child_env({"CELERY_CUSTOM_WORKER_POOL": POOL, "PYTHONWARNINGS": ""}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ") and named in line, done.stderr
