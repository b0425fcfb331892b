"""examples/crawler.py, with real threads and under the launcher."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import site_server
from tests.support import EXAMPLES, run_python, running_python

CRAWLER = EXAMPLES / "crawler.py"
RESOLVERS = 16  # native threads that look up host names


def crawl(
    url: str, *options: object, green: bool, directory: Path
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    report = directory / "report.json"
    done = run_python(CRAWLER, url, "--json", report, *options, greenify=green)
    return done, json.loads(report.read_text())


@pytest.fixture(scope="module")
def serially(site: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What plain Python finds when it takes one page after the other: the measure."""
    directory = tmp_path_factory.mktemp("serially")
    options = ("--serial", "--ca", site["ca"])
    return crawl(site["http"], *options, green=False, directory=directory)[1]


class TestCrawl:
    def test_measure(self, site: dict[str, Any], serially: dict[str, Any]) -> None:
        """Every page of the site's map is there, on the right port, or failed as the map says."""
        pages = {f"{site[scheme(n)]}page/{n}": n for n in range(300)}
        failed = {url for url, n in pages.items() if n % 43 == 42}
        hung_up = {url for url, n in pages.items() if n % 61 == 60}
        files = {f"{site[key]}file/{n}" for key in ("http", "https") for n in range(5)}
        assert set(serially["pages"]) == (pages.keys() | files) - failed - hung_up

        expected = dict.fromkeys(failed, "status 500") | dict.fromkeys(hung_up, "ConnectionError")
        expected |= {f"{site[key]}missing": "status 404" for key in ("http", "https")}
        assert serially["errors"] == expected

        moved = {f"{site[scheme(n)]}go/{n}" for n in range(300) if n % 11 == 10}
        assert set(serially["redirects"]) == moved | {site["http"]}

    @pytest.mark.parametrize("workers", [1, 50])
    def test_finds_the_same(
        self,
        workers: int,
        green: bool,
        site: dict[str, Any],
        serially: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        options = ("--workers", workers, "--ca", site["ca"])
        done, report = crawl(site["http"], *options, green=green, directory=tmp_path)
        assert done.returncode == 0
        for key in ("pages", "redirects", "errors", "bytes"):
            assert report[key] == serially[key]
        assert not report["interrupted"]

    def test_crowd(self, green: bool, tmp_path: Path) -> None:
        """The server sees many requests at once, the operating system few threads."""
        # Long enough for a busy machine to begin 25 requests before the first is answered.
        with site_server(120, 1) as site:
            options = ("--workers", 50, "--ca", site["ca"])
            _, report = crawl(site["http"], *options, green=green, directory=tmp_path)
            assert statistics(site)["peak_open_requests"] > 25
        if green:
            assert 1 <= report["peak_threads"] <= 1 + RESOLVERS
        else:
            assert report["peak_threads"] > 50

    def test_summary_and_progress(self, green: bool, site: dict[str, Any]) -> None:
        done = run_python(CRAWLER, site["http"], "--ca", site["ca"], greenify=green, check=True)
        assert "│ pages           │ 300 " in done.stdout
        assert "│ redirects       │ 28 " in done.stdout
        assert (
            "│ errors          │ 12 (6 status 500, 4 ConnectionError, 2 status 404) " in done.stdout
        )
        assert "340/340" in done.stderr


class TestTrouble:
    def test_certificate_not_trusted(
        self, green: bool, site: dict[str, Any], tmp_path: Path
    ) -> None:
        """Without --ca no page of the TLS part is read, and the rest is."""
        done, report = crawl(site["http"], "--quiet", green=green, directory=tmp_path)
        assert done.returncode == 0
        assert done.stderr == ""
        assert report["pages"]
        assert all(url.startswith(site["http"]) for url in report["pages"])
        over_tls = [what for url, what in report["errors"].items() if url.startswith(site["https"])]
        assert set(over_tls) == {"SSLError"}

    def test_timeout(self, green: bool, tmp_path: Path) -> None:
        with site_server(3, 60) as site:
            url = site["http"] + "page/1"
            options = ("--timeout", 0.2)
            done, report = crawl(url, *options, green=green, directory=tmp_path)
        assert done.returncode == 1
        assert report["errors"] == {url: "ReadTimeout"}

    def test_nobody_answers(self, green: bool, tmp_path: Path) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
            done, report = crawl(url, green=green, directory=tmp_path)
        assert done.returncode == 1
        assert report["errors"] == {url: "ConnectionError"}

    def test_limit(self, green: bool, site: dict[str, Any], tmp_path: Path) -> None:
        options = ("--limit", 20, "--ca", site["ca"])
        _, report = crawl(site["http"], *options, green=green, directory=tmp_path)
        visited = len(report["pages"]) + len(report["redirects"]) + len(report["errors"])
        assert visited == 20

    @pytest.mark.parametrize(
        "options", [["--workers", "8"], ["--serial"]], ids=["workers", "serial"]
    )
    def test_interrupt(self, options: Sequence[str], green: bool, tmp_path: Path) -> None:
        """Ctrl-C while answers are due in a minute: a summary, soon, and exit code 130."""
        report_file = tmp_path / "report.json"
        with site_server(100, 60) as site:
            arguments = (*options, "--timeout", "100", "--json", str(report_file))
            with running_python(CRAWLER, site["http"], *arguments, greenify=green) as crawler:
                wait_for_open_requests(site, 1)
                crawler.send_signal(signal.SIGINT)
                assert crawler.wait(20) == 130
        report = json.loads(report_file.read_text())
        assert report["interrupted"]
        assert report["redirects"] == [site["http"]]
        assert report["seconds"] < 25
        assert "interrupted" in crawler.stdout
        assert "Traceback" not in crawler.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "required: url"),
            (["nonsense"], "not an address to start from: 'nonsense'"),
            (["http://localhost/", "--workers", "0"], "must be at least 1"),
            (["http://localhost/", "--timeout", "0"], "must be more than 0"),
            (["http://localhost/", "--ca", "/missing.pem"], "no such certificate file"),
        ],
    )
    def test_usage(self, arguments: list[str], message: str, green: bool) -> None:
        done = run_python(CRAWLER, *arguments, greenify=green)
        assert done.returncode == 2
        assert message in done.stderr


def scheme(number: int) -> str:
    return "https" if number % 4 == 3 else "http"


def statistics(site: dict[str, Any]) -> dict[str, int]:
    with urllib.request.urlopen(site["http"] + "statistics", timeout=20) as answer:
        result: dict[str, int] = json.load(answer)
    return result


def wait_for_open_requests(site: dict[str, Any], number: int) -> None:
    """Return when so many requests wait for an answer, this one of ours not counted."""
    pause = threading.Event()
    for _ in range(1_000):
        if statistics(site)["open_requests"] > number:
            return
        pause.wait(0.02)
    raise AssertionError("the crawler asks for nothing")
