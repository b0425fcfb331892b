"""examples/pipeline.py: tasks, bounded queues, a task group and a time-out, with nothing patched."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support import EXAMPLES, run_python

PIPELINE = EXAMPLES / "pipeline.py"

# Under the launcher the same program shares the hub with patched code.
everywhere = pytest.mark.parametrize("patched", [False, True], ids=["unpatched", "patched"])


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(5):
        path = tmp_path / f"{number}.txt"
        path.write_text("\n".join(f"common word{'abcde'[line % 5]} x" for line in range(100)))
        paths.append(path)
    return paths


@everywhere
def test_counts(texts: list[Path], patched: bool) -> None:
    done = run_python(PIPELINE, *texts, "--top", 100, greenify=patched, check=True)
    expected = Counter(word for path in texts for word in re.findall("[a-z]{2,}", path.read_text()))
    printed = dict(reversed(line.split()) for line in done.stdout.splitlines())
    assert printed == {word: str(number) for word, number in expected.items()}
    assert printed["common"] == "500" and len(printed) == 6


@everywhere
def test_time_limit(texts: list[Path], patched: bool) -> None:
    done = run_python(PIPELINE, *texts, "--delay", 30, "--timeout", 0.05, greenify=patched)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "not done after 0.05 seconds\n"


@everywhere
def test_an_error_ends_all_stages(texts: list[Path], tmp_path: Path, patched: bool) -> None:
    missing = tmp_path / "missing.txt"
    done = run_python(PIPELINE, *texts, missing, "--delay", 0.001, greenify=patched)
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr and "missing.txt" in done.stderr
    assert "ExceptionGroup: errors in a TaskGroup" in done.stderr
