"""examples/demo.py: the comparison itself, on a small site."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.clients.server import serving
from tests.support import EXAMPLES, run_python, running_python

DEMO = EXAMPLES / "demo.py"


@pytest.mark.smoke
def test_own_site() -> None:
    options = ("--pages", 60, "--delay", 0.03, "--repeat", 1)
    done = run_python(DEMO, *options, greenify=False, timeout=120, check=True)
    assert "yes all crawls found the same pages and errors" in done.stdout
    assert "yes one OS thread, plus up to 16 that look up names" in done.stdout
    for row in ("pages", "redirects", "errors", "seconds", "peak OS threads", "peak memory"):
        assert f"│ {row} " in done.stdout


def test_other_site(site: dict[str, Any]) -> None:
    options = ("--url", site["http"], "--limit", 50, "--repeat", 1)
    done = run_python(DEMO, *options, greenify=False, timeout=120, check=True)
    assert "yes all crawls visited as many addresses" in done.stdout


def test_strict_fails_on_a_missed_goal(site: dict[str, Any]) -> None:
    """With one worker, nothing is ten times faster."""
    options = ("--url", site["http"], "--limit", 10, "--repeat", 1, "--workers", 1)
    assert run_python(DEMO, *options, "--strict", greenify=False).returncode == 1


def test_fails_when_the_crawls_differ() -> None:
    with serving() as server:
        start = f"http://localhost:{server.listen()}/links?to=/hello&to=/flaky/once/1"
        done = run_python(DEMO, "--url", start, "--repeat", 1, greenify=False)
    assert done.returncode == 1
    assert " no all crawls found the same pages and errors" in done.stdout


def test_fails_when_nothing_is_found() -> None:
    with serving() as server:
        start = f"http://localhost:{server.listen()}/missing"
        done = run_python(DEMO, "--url", start, greenify=False)
    assert done.returncode == 1
    assert "not one page was found" in done.stderr


def test_interrupt() -> None:
    with running_python(DEMO, "--delay", 60, greenify=False) as demo:
        assert demo.readline().startswith("serial:")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 130
