"""Crawl a website with worker threads: ordinary code for `threading`, `queue` and `requests`.

    $ python examples/crawler.py https://host.example/ --workers 50     # 50 threads
    $ python -m greenify examples/crawler.py https://host.example/ --workers 50
                                                                        # 50 greenlets in one thread

It follows links and redirects within the site of the start address (the same host name, whatever
the port and the scheme), asks for every address once, and prints what it found, how long that took,
and how many threads of the operating system and how much memory it needed. Ctrl-C stops it with the
summary so far and exit code 130.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import requests
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

MAX_BODY = 10_000_000
CHUNK = 65_536


@dataclass
class Report:
    """The result of a crawl; what `--json` writes."""

    start: str
    workers: int
    pages: list[str] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_threads: int = 0
    peak_memory_kib: int = 0
    interrupted: bool = False


class LinkParser(HTMLParser):
    """Collects the targets of the links in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


class Usage:
    """The peaks of this process, sampled after each page (a thread for it would count itself)."""

    def __init__(self) -> None:
        self.threads = 0
        self.memory_kib = 0
        self._next_ps = 0.0

    def sample(self) -> None:
        try:
            with open("/proc/self/status", encoding="ascii", errors="replace") as status:
                values = dict(line.split(":", 1) for line in status)
        except FileNotFoundError:
            self._sample_with_ps()
            return
        self.threads = max(self.threads, int(values["Threads"]))
        self.memory_kib = int(values["VmHWM"].split()[0])

    def _sample_with_ps(self) -> None:
        """For macOS, which has no /proc: `ps` counts the threads. It is slow: once a second."""
        in_kib = 1024 if sys.platform == "darwin" else 1
        self.memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // in_kib
        if time.monotonic() >= self._next_ps:
            self._next_ps = time.monotonic() + 1
            command = ["ps", "-M", "-p", str(os.getpid())]
            listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self.threads = max(self.threads, len(listing.splitlines()) - 1)


@dataclass
class Answer:
    """What one address had to say."""

    size: int = 0
    links: list[str] = field(default_factory=list)
    is_redirect: bool = False
    error: str | None = None


class Crawler:
    """Crawls one site; `run()` returns when nothing is left to visit."""

    def __init__(self, options: argparse.Namespace, progress: Progress) -> None:
        self.timeout: float = options.timeout
        self.limit: int | None = options.limit
        self.verify: str | bool = options.ca or True
        self.workers: int = options.workers
        self.host = urlsplit(options.url).hostname
        self.report = Report(options.url, options.workers)
        self._usage = Usage()
        self._progress = progress
        self._bar = progress.add_task("crawling", total=0)
        self._todo: queue.Queue[str | None] = queue.Queue()
        # Guards all below, and the report.
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._stopped = False

    def run(self) -> None:
        """Crawl; Ctrl-C is noted in the report and raised again."""
        began, cpu = time.perf_counter(), time.process_time()
        self._add(self.report.start, [""])
        try:
            if self.workers == 0:
                self._run_serially()
            else:
                self._run_workers()
        except KeyboardInterrupt:
            self.report.interrupted = True
            raise
        finally:
            self._finish(began, cpu)

    def _run_serially(self) -> None:
        with requests.Session() as session:
            while not self._todo.empty():
                self._visit(session, self._todo.get() or "")

    def _run_workers(self) -> None:
        # Daemons, so that after Ctrl-C nobody waits for answers that may never come.
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        self._todo.join()
        for _ in threads:
            self._todo.put(None)
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        with requests.Session() as session:
            while (url := self._todo.get()) is not None:
                try:
                    self._visit(session, url)
                finally:
                    self._todo.task_done()

    def _visit(self, session: requests.Session, url: str) -> None:
        try:
            answer = self._fetch(session, url)
        except (requests.RequestException, OSError) as failure:
            answer = Answer(error=type(failure).__name__)
        except Exception as failure:
            # A page that we cannot cope with must not end its worker: the summary shows it.
            answer = Answer(error=f"unexpected {failure!r}")
        self._record(url, answer)
        self._add(url, answer.links)

    def _fetch(self, session: requests.Session, url: str) -> Answer:
        with session.get(
            url, timeout=self.timeout, verify=self.verify, allow_redirects=False, stream=True
        ) as response:
            body = read_body(response)
            answer = Answer(size=len(body))
            if target := session.get_redirect_target(response):
                answer.is_redirect = True
                answer.links.append(target)
            elif not response.ok:
                answer.error = f"status {response.status_code}"
            elif "html" in response.headers.get("Content-Type", ""):
                answer.links = LinkParser(decode(body, response.encoding)).links
            return answer

    def _record(self, url: str, answer: Answer) -> None:
        with self._lock:
            if self._stopped:
                return
            self.report.bytes += answer.size
            if answer.error is not None:
                self.report.errors[url] = answer.error
            elif answer.is_redirect:
                self.report.redirects.append(url)
            else:
                self.report.pages.append(url)
            self._usage.sample()
        self._progress.advance(self._bar)

    def _add(self, page: str, links: Iterable[str]) -> None:
        """Queue the targets of a page's links that belong to this site and were not seen before."""
        for link in links:
            url = self._resolve(page, link)
            if url is None:
                continue
            with self._lock:
                full = self.limit is not None and len(self._seen) >= self.limit
                if self._stopped or full or url in self._seen:
                    continue
                self._seen.add(url)
                self._progress.update(self._bar, total=len(self._seen))
            self._todo.put(url)

    def _resolve(self, page: str, link: str) -> str | None:
        try:
            url = urldefrag(urljoin(page, link)).url
            parts = urlsplit(url)
        except ValueError:  # such as "http://[": somebody's typing error
            return None
        ours = parts.scheme in ("http", "https") and parts.hostname == self.host
        return url if ours else None

    def _finish(self, began: float, cpu: float) -> None:
        with self._lock:
            self._stopped = True  # what comes in from now on is too late for the report
            self._usage.sample()
            self.report.seconds = time.perf_counter() - began
            self.report.cpu_seconds = time.process_time() - cpu
            self.report.peak_threads = self._usage.threads
            self.report.peak_memory_kib = self._usage.memory_kib
            self.report.pages.sort()
            self.report.redirects.sort()


def decode(body: bytes, encoding: str | None) -> str:
    try:
        return body.decode(encoding or "utf-8", "replace")
    except LookupError:  # the server named an encoding that does not exist
        return body.decode("utf-8", "replace")


def read_body(response: requests.Response) -> bytes:
    """The body, or as much of it as one page may have."""
    body = bytearray()
    for chunk in response.iter_content(CHUNK):
        body += chunk
        if len(body) >= MAX_BODY:
            break
    return bytes(body)


def show(report: Report, console: Console) -> None:
    table = Table("", "", title=report.start, show_header=False, title_justify="left")
    how = f"{report.workers} workers" if report.workers else "serial"
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(report.errors.values()).most_common())
    rows = {
        "mode": how + (", interrupted" if report.interrupted else ""),
        "pages": f"{len(report.pages):,}",
        "redirects": f"{len(report.redirects):,}",
        "errors": f"{len(report.errors):,}" + (f" ({kinds})" if kinds else ""),
        "bytes": f"{report.bytes:,}",
        "seconds": f"{report.seconds:.2f} ({report.cpu_seconds:.2f} of the processor)",
        "peak OS threads": f"{report.peak_threads}",
        "peak memory": f"{report.peak_memory_kib / 1024:.1f} MiB",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Crawl a website with worker threads.")
    parser.add_argument("url", help="where to start; only links to the same host are followed")
    parser.add_argument(
        "--workers", type=positive, default=50, metavar="N", help="threads (default: 50)"
    )
    parser.add_argument(
        "--serial",
        dest="workers",
        action="store_const",
        const=0,
        help="one page after the other, no threads",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="visit at most N addresses")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10,
        metavar="SECONDS",
        help="for each wait for the server (default: 10)",
    )
    parser.add_argument(
        "--ca", metavar="FILE", help="certificates to trust instead of the usual ones"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here, too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args()
    if not urlsplit(options.url).hostname:
        parser.error(f"not an address to start from: {options.url!r} (as in https://host/)")
    if options.timeout <= 0:
        parser.error("--timeout must be more than 0 seconds")
    if options.ca and not Path(options.ca).is_file():
        parser.error(f"no such certificate file: {options.ca}")
    return options


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main() -> int:
    options = parse_arguments()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=options.quiet) as progress:
        crawler = Crawler(options, progress)
        with contextlib.suppress(KeyboardInterrupt):  # the summary says so
            crawler.run()
    report = crawler.report
    show(report, Console())
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    if report.interrupted:
        return 130
    return 0 if report.pages else 1


if __name__ == "__main__":
    sys.exit(main())
