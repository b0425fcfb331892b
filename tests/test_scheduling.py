"""The loss of a process of tests fails the test that it ran, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, child_env

TESTS = """
import os
from pathlib import Path
import pytest
died = Path("died")
@pytest.mark.parametrize("number", range(100))
def test(number):
    if number == 60 and not died.exists():
        died.touch()
        os._exit(3)
"""


def test_a_lost_worker_does_not_hang_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_many.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_xdist_make_scheduler\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup"],
        cwd=tmp_path,
        env=child_env({"PYTHONPATH": str(ROOT)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    # It is run once more by another one.
    assert "1 failed, 100 passed" in done.stdout, done.stdout
