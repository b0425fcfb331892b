"""examples/crawler_tasks.py: urllib on twins and a pool of tasks, with nothing patched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import site_server
from tests.examples.test_crawler import CRAWLER, statistics
from tests.support import EXAMPLES, run_python

TASKS = EXAMPLES / "crawler_tasks.py"

# Under the launcher the same program shares the hub with patched code.
everywhere = pytest.mark.parametrize("patched", [False, True], ids=["unpatched", "patched"])


def crawl(url: str, *options: object, patched: bool, directory: Path) -> dict[str, Any]:
    report = directory / "report.json"
    run_python(TASKS, url, "--json", report, *options, greenify=patched, timeout=60)
    result: dict[str, Any] = json.loads(report.read_text())
    return result


@everywhere
def test_finds_what_the_serial_crawler_finds(
    site: dict[str, Any], tmp_path: Path, patched: bool
) -> None:
    measure = tmp_path / "measure.json"
    run_python(
        CRAWLER, site["http"], "--serial", "--ca", site["ca"], "--json", measure, greenify=False
    )
    expected = json.loads(measure.read_text())
    found = crawl(site["http"], "--ca", site["ca"], patched=patched, directory=tmp_path)
    assert found["complete"] and len(found["pages"]) > 200
    assert sorted(found["pages"]) == expected["pages"]
    assert sorted(found["redirects"]) == expected["redirects"]
    assert found["errors"].keys() == expected["errors"].keys()
    statuses = {url: what for url, what in expected["errors"].items() if "status" in what}
    assert statuses.items() <= found["errors"].items()


def test_many_requests_at_once(tmp_path: Path) -> None:
    with site_server(300, 0.05) as site:
        options = ("--workers", 50, "--ca", site["ca"])
        crawl(site["http"], *options, patched=False, directory=tmp_path)
        assert statistics(site)["peak_open_requests"] > 25


@everywhere
def test_time_limit(tmp_path: Path, patched: bool) -> None:
    with site_server(20, 60) as site:
        done = run_python(TASKS, site["http"] + "page/1", "--limit", 0.3, greenify=patched)
    assert done.returncode == 1
    assert done.stderr == "not complete after 0.3 seconds\n"


def test_certificates_are_verified(site: dict[str, Any]) -> None:
    done = run_python(TASKS, site["https"], greenify=False)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stdout and "0 pages" in done.stdout
