"""Crawl a website with tasks: urllib on cooperative twins, a pool of tasks, and nothing patched.

    $ python examples/crawler_tasks.py https://host.example/ --workers 50

`import_patched` gives a copy of `urllib.request` that lets the other tasks run while it waits; the rest of
the program, and every library in it, keeps the ordinary modules.  It follows links and redirects within the
site of the start address (the same host name) and asks for every address once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urldefrag, urljoin, urlsplit

from greenify import TaskPoolExecutor, Timeout, import_patched
from greenify.futures import FIRST_COMPLETED, Future, wait
from greenify.green import ssl

request: Any = import_patched("urllib.request")

MAX_BODY = 10_000_000


@dataclass
class Report:
    """The result of a crawl; what `--json` writes."""

    start: str
    pages: list[str] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    complete: bool = True


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


class NoRedirects(request.HTTPRedirectHandler):  # type: ignore[misc]
    """Leaves redirects to the crawler, which asks for every address once."""

    def redirect_request(self, *args: Any) -> None:
        return None


class Crawler:
    """Crawls one site.  Tasks take turns only where they wait, so its data need no lock."""

    def __init__(self, start: str, timeout: float, ca: str | None) -> None:
        self.report = Report(start)
        self._timeout = timeout
        self._host = urlsplit(start).hostname
        context = ssl.create_default_context(cafile=ca)
        self._opener = request.build_opener(NoRedirects, request.HTTPSHandler(context=context))
        self._seen: set[str] = set()
        self._todo: list[str] = []

    def run(self, workers: int, limit: float | None) -> None:
        """Crawl with so many tasks, for at most `limit` seconds."""
        began = time.perf_counter()
        self._add(self.report.start, [""])
        pool = TaskPoolExecutor(workers)
        pending: set[Future[None]] = set()
        try:
            with Timeout(limit):
                while self._todo or pending:
                    pending |= {pool.submit(self._visit, url) for url in self._todo}  # type: ignore[arg-type]
                    self._todo.clear()
                    done, rest = wait(pending, return_when=FIRST_COMPLETED)
                    pending = rest  # type: ignore[assignment]
                    for future in done:
                        future.result()
        except Timeout:
            self.report.complete = False
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        self.report.seconds = time.perf_counter() - began

    def _add(self, base: str, links: Iterable[str]) -> None:
        for link in links:
            url = urldefrag(urljoin(base, link)).url
            parts = urlsplit(url)
            if (
                parts.scheme in ("http", "https")
                and parts.hostname == self._host
                and url not in self._seen
            ):
                self._seen.add(url)
                self._todo.append(url)

    def _visit(self, url: str) -> None:
        try:
            with self._opener.open(url, timeout=self._timeout) as answer:
                body = answer.read(MAX_BODY)
                kind = answer.headers.get_content_type()
                encoding = answer.headers.get_content_charset("utf-8")
        except HTTPError as error:
            with error:
                if 300 <= error.code < 400 and "Location" in error.headers:
                    self.report.redirects.append(url)
                    self._add(url, [error.headers["Location"]])
                else:
                    self.report.errors[url] = f"status {error.code}"
        except OSError as error:  # URLError, time-outs and hang-ups are among them
            self.report.errors[url] = str(error)
        else:
            self.report.pages.append(url)
            self.report.bytes += len(body)
            if kind == "text/html":
                self._add(url, LinkParser(body.decode(encoding, "replace")).links)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="where to start; only links to the same host are followed")
    parser.add_argument("--workers", type=int, default=50, help="tasks (default: 50)")
    parser.add_argument("--timeout", type=float, default=10, help="seconds for each wait")
    parser.add_argument("--limit", type=float, help="seconds for the whole crawl")
    parser.add_argument("--ca", metavar="FILE", help="certificates to trust instead of the usual")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here, too")
    options = parser.parse_args()
    crawler = Crawler(options.url, options.timeout, options.ca)
    crawler.run(options.workers, options.limit)
    report = crawler.report
    for url, error in sorted(report.errors.items()):
        print(f"{url}: {error}")
    print(
        f"{len(report.pages)} pages, {len(report.redirects)} redirects, {len(report.errors)} errors, "
        f"{report.bytes:,} bytes in {report.seconds:.2f} seconds"
    )
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    if not report.complete:
        print(f"not complete after {options.limit:g} seconds", file=sys.stderr)
    return 0 if report.pages and report.complete else 1


if __name__ == "__main__":
    sys.exit(main())
