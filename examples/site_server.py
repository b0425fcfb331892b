"""A website to crawl: a few hundred slow pages on loopback, a quarter of them over TLS.

Every page answers after a delay, as pages do that ask a database; some are slow, some redirect,
some fail with status 500, and some hang up without an answer. Everything follows from the page's
number, so each crawl finds the same.

    $ python examples/site_server.py
    {"http": "http://localhost:40001/", "https": "https://localhost:40002/", "ca": "/tmp/...", ...}

The addresses come as one line of JSON once the server is ready; SIGTERM or Ctrl-C stops it. It is
built on asyncio (aiohttp), where requests that are waiting cost next to nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import html
import json
import signal
import socket
import ssl
import struct
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import trustme
from aiohttp import web
from aiohttp.typedefs import Handler

LINKS_PER_PAGE = 8
FILLER = (
    "<p>It was a slow page, and the reader waited for it as long as the reader had patience.</p>\n"
    * 20
)


@dataclass
class Statistics:
    """What the server saw; `GET /statistics` returns it."""

    requests: int = 0
    connections: int = 0  # told apart by the client's address and port
    open_requests: int = 0
    peak_open_requests: int = 0


@dataclass(frozen=True)
class Site:
    """The map of the site: which page is where, how long it takes, and what it does."""

    pages: int
    delay: float
    http: str
    https: str

    def base(self, number: int) -> str:
        """A quarter of the pages is served over TLS only."""
        return self.https if number % 4 == 3 else self.http

    def seconds(self, number: int) -> float:
        """From 0.5 to 1.5 times the usual delay; one page in 37 is five times slower than usual."""
        return self.delay * (5 if number % 37 == 36 else 0.5 + number * 61 % 101 / 100)

    def link(self, number: int) -> str:
        """The address under which others know a page: for one in 11, one that redirects to it."""
        path = f"go/{number}" if number % 11 == 10 else f"page/{number}"
        return f"{self.base(number)}{path}"

    def fails(self, number: int) -> bool:
        return number % 43 == 42

    def hangs_up(self, number: int) -> bool:
        return number % 61 == 60

    def links(self, number: int) -> list[str]:
        """A tree of pages (so that all are found soon), plus links to pages found already."""
        first = number * LINKS_PER_PAGE + 1
        children = [self.link(n) for n in range(first, min(first + LINKS_PER_PAGE, self.pages))]
        known = [self.link(number * n % self.pages) for n in (3, 7)]
        return [*children, *known]

    def text(self, number: int) -> str:
        links = "\n".join(
            f'<a href="{html.escape(link)}">{link}</a>' for link in self.links(number)
        )
        # And what a crawler meets everywhere: links to the page itself, to a missing page, to a
        # file, to another site, to no page at all.
        return f"""<!doctype html>
<html><head><title>Page {number}</title></head><body>
<h1 id="top">Page {number} of {self.pages}</h1>
{FILLER}
{links}
<a href="#top">up</a> <a href="/missing">missing</a> <a href="../file/{number % 5}">file</a>
<a href="http://elsewhere.invalid/">elsewhere</a> <a href="mailto:nobody@elsewhere.invalid">mail</a>
</body></html>
"""


class Handlers:
    """The request handlers of one site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.statistics = Statistics()
        self._clients: set[tuple[str, int]] = set()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.count])
        app.add_routes(
            [
                web.get("/", self.home),
                web.get(r"/page/{number:\d+}", self.page),
                web.get(r"/go/{number:\d+}", self.go),
                web.get(r"/file/{number:\d+}", self.file),
                web.get("/statistics", self.show_statistics),
            ]
        )
        return app

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        seen = self.statistics
        seen.requests += 1
        if request.transport is not None:
            self._clients.add(request.transport.get_extra_info("peername"))
            seen.connections = len(self._clients)
        seen.open_requests += 1
        seen.peak_open_requests = max(seen.peak_open_requests, seen.open_requests)
        try:
            return await handler(request)
        finally:
            seen.open_requests -= 1

    async def home(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(self.site.link(0))

    async def page(self, request: web.Request) -> web.Response:
        site, number = self.site, int(request.match_info["number"])
        if number >= site.pages:
            raise web.HTTPNotFound
        await asyncio.sleep(site.seconds(number))
        if site.fails(number):
            raise web.HTTPInternalServerError(text="The database has gone away.")
        if site.hangs_up(number):
            hang_up(request)
        return web.Response(text=site.text(number), content_type="text/html")

    async def go(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        await asyncio.sleep(self.site.delay / 4)
        raise web.HTTPFound(f"{self.site.base(number)}page/{number}")

    async def file(self, request: web.Request) -> web.Response:
        """Something that is no HTML and larger than a socket's buffer."""
        await asyncio.sleep(self.site.delay)
        return web.Response(body=bytes(400_000), content_type="application/octet-stream")

    async def show_statistics(self, request: web.Request) -> web.Response:
        return web.json_response(asdict(self.statistics))


def hang_up(request: web.Request) -> None:
    """Reset the connection, as a crash does: lingering for 0 s turns the close into a RST."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


def listen() -> tuple[socket.socket, str]:
    """A listening socket on a free port of loopback, and its `host:port`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    return listener, f"localhost:{listener.getsockname()[1]}"


async def serve(pages: int, delay: float, directory: Path) -> None:
    """Serve until SIGTERM or SIGINT; `directory` receives the certificate to trust."""
    authority = trustme.CA()
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    plain, plain_address = listen()
    tls, tls_address = listen()
    site = Site(pages, delay, f"http://{plain_address}/", f"https://{tls_address}/")
    runner = web.AppRunner(Handlers(site).application(), access_log=None)
    await runner.setup()
    await web.SockSite(runner, plain, backlog=1024).start()
    await web.SockSite(runner, tls, ssl_context=context, backlog=1024).start()

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ready = {"http": site.http, "https": site.https, "ca": str(ca_file), "pages": pages}
    print(json.dumps(ready), flush=True)
    await stop.wait()
    await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve a slow website on loopback.")
    parser.add_argument("--pages", type=int, default=300, help="how many (default: %(default)s)")
    parser.add_argument(
        "--delay",
        type=float,
        default=0.06,
        metavar="SECONDS",
        help="usual delay (default: %(default)s)",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="site-") as directory:
        asyncio.run(serve(options.pages, options.delay, Path(directory)))
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
