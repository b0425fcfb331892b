"""What is said of a trace, in words and as a page."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from greenify.tracing.reading import Arrow, Line, Picture, Slice, read
from greenify.tracing.report import analyse, in_words
from tests.support import run_python

_MS = 1_000_000


def _picture() -> Picture:
    """Two threads on a loop: one computes for 90 ms, the other waits for a lock and then for its turn."""
    loop = Line(1, "loop of MainThread", kind="loop")
    loop.slices = [
        Slice("threads", 0, 90 * _MS),
        Slice("loop", 90 * _MS, 91 * _MS),
        Slice("sleeping", 91 * _MS, 190 * _MS),
        Slice("threads", 190 * _MS, 200 * _MS),
    ]
    one = Line(2, "computes", loop.name)
    one.slices = [
        Slice("ready", 0, 1 * _MS),
        Slice("running", 1 * _MS, 90 * _MS),
        Slice("sleep a.py:3", 90 * _MS, 200 * _MS),
    ]
    other = Line(3, "waits <b>", loop.name)
    other.slices = [
        Slice("Lock of a.py:7, held by computes", 0, 40 * _MS),
        Slice("ready", 40 * _MS, 190 * _MS),
        Slice("running", 190 * _MS, 195 * _MS),
        Slice("running", 195 * _MS, 200 * _MS),
    ]
    native = Line(4, "native thread 7", kind="native")
    native.slices = [Slice("zlib.compress", 5 * _MS, 30 * _MS)]
    lines = {line.uuid: line for line in (loop, one, other, native)}
    return Picture(lines, [Arrow(40 * _MS, one, other)], 0, 200 * _MS)


def test_numbers() -> None:
    report = analyse(_picture())
    assert report.seconds == 0.2
    assert report.busy == {"loop of MainThread": pytest.approx(1 - 99 / 200)}
    assert (report.threads, report.switches) == (2, 3)
    stay = report.stays[0]
    assert (stay.thread, stay.waited) == ("computes", 1)
    assert stay.length == pytest.approx(0.089)
    assert (stay.after, stay.before) == ("its start", "sleep a.py:3")
    assert [total.name for total in report.totals] == [
        "sleep a.py:3",
        "Lock of a.py:7, held by computes",
    ]
    assert report.delays == pytest.approx([0.001, 0.15])
    assert report.delay(0.5) == report.delay(1) == pytest.approx(0.15)
    assert [(total.name, total.times) for total in report.calls] == [("zlib.compress", 1)]


def test_words() -> None:
    text = in_words(analyse(_picture(), rows=1), "t.pftrace")
    assert text.startswith("t.pftrace: 200.0 ms, 2 threads and tasks")
    assert "busy 50% of the time" in text
    assert re.search(r"89\.0 ms +0\.001 s +1 +computes \(from its start to sleep a\.py:3\)", text)
    assert "Lock" not in text
    assert "zlib.compress" in text


def test_nothing_has_happened() -> None:
    text = in_words(analyse(Picture({1: Line(1, "p", kind="process")})), "t")
    assert "0 threads" in text


@pytest.mark.skipif(find_spec("plotly") is None, reason="the page is drawn by plotly")
def test_page() -> None:
    from greenify.tracing.page import page

    text = page(_picture(), "words & more", "<t>")
    assert "words &amp; more" in text
    assert "<title>&lt;t&gt;</title>" in text
    assert "waits &lt;b&gt;" not in text.partition("Plotly.newPlot")[0]
    # plotly itself is in it, and nothing is loaded from elsewhere.
    assert len(text) > 1_000_000
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text)
    for name in ("running", "ready", "waiting", "native call", "sleeping"):
        assert f'"name":"{name}"' in text


_PROGRAM = """
import threading, time
def spin():
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
thread = threading.Thread(target=spin, name="spins")
thread.start()
thread.join()
"""

_COMMAND = ("-m", "greenify", "trace-report")


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "t.pftrace"
    run_python(_PROGRAM, options=("--trace", str(file)), check=True)
    more = ("--html", tmp_path / "t.html") if find_spec("plotly") else ()
    result = run_python(file, "--rows", 3, *more, greenify=False, options=_COMMAND, check=True)
    assert "spins (from its start" in result.stdout
    if more:
        assert "spins" in (tmp_path / "t.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file"), (b"{}", "no trace"), (b"", "nothing in")]
)
def test_files_that_are_no_traces(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "t"
    if content is not None:
        file.write_bytes(content)
    result = run_python(file, greenify=False, options=_COMMAND)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_read_gives_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "t.pftrace"
    run_python(_PROGRAM, options=("--trace", str(file)), check=True)
    picture = read(file)
    assert picture.begin < picture.end
    assert sys.maxsize > picture.end
    assert all(each.end >= each.begin for line in picture.lines.values() for each in line.slices)
