"""examples/concurrent_requests.py, with real threads and under the launcher."""

from __future__ import annotations

import re

import pytest

from tests.clients.server import serving
from tests.support import EXAMPLES, run_python

SCRIPT = EXAMPLES / "concurrent_requests.py"


@pytest.mark.smoke
def test_own_server(green: bool) -> None:
    done = run_python(SCRIPT, greenify=green, check=True)
    assert "200 x status 200" in done.stdout
    assert done.stderr == ""


def test_other_server(green: bool) -> None:
    """One that answers nobody before all are there."""
    with serving() as server:
        # By number: looking up a name takes native threads, up to one for each that is slow to come.
        url = f"http://127.0.0.1:{server.listen()}/together/100"
        done = run_python(SCRIPT, url, "--requests", 100, greenify=green, check=True)
    assert "100 x status 200" in done.stdout
    assert server.seen.peak == 100
    threads = re.search(r"(\d+) OS threads", done.stdout)
    assert threads is not None
    # With a thread for the time slices.
    assert int(threads[1]) <= 2 if green else int(threads[1]) > 100


def test_failures_are_counted(green: bool) -> None:
    with serving() as server:
        url = f"http://localhost:{server.listen()}/flaky/counted/3"
        done = run_python(SCRIPT, url, "--requests", 10, greenify=green)
    assert done.returncode == 1
    assert "7 x status 200\n3 x status 503\n" in done.stdout
