"""A real HTTP server for tests, which knows what its clients did.

It runs in a thread of the test process (which is never patched), while the clients run in children,
so that tests can look at what the server saw: how many connections, how many requests at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler


@dataclass
class Seen:
    """What the clients did: written by the server's thread, read after the client's end."""

    requests: Counter[str] = field(default_factory=Counter)  # by path
    connections: set[tuple[str, int]] = field(default_factory=set)  # the clients' addresses
    at_once: int = 0
    peak: int = 0
    bodies: list[str] = field(default_factory=list)  # SHA-256 of each upload


class HTTPServer:
    """Serves until `stop()`; made by `serving()`."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.host = "localhost"
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="HTTP server")
        self._runner: web.AppRunner
        self._meeting = asyncio.Condition()
        self._present = 0

    def start(self) -> None:
        self._loop.run_until_complete(self._prepare())
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def listen(self, context: ssl.SSLContext | None = None) -> int:
        """Listen on a free port of loopback, with TLS if there is a context; returns the port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        site = web.SockSite(self._runner, listener, ssl_context=context, backlog=1024)
        asyncio.run_coroutine_threadsafe(site.start(), self._loop).result(10)
        port: int = listener.getsockname()[1]
        return port

    async def _prepare(self) -> None:
        app = web.Application(middlewares=[self._watch], client_max_size=2**30)
        app.add_routes(
            [
                web.get("/hello", self.hello),
                web.get("/slow", self.slow),
                web.get(r"/together/{number:\d+}", self.together),
                web.get(r"/chunks/{number:\d+}", self.chunks),
                web.get("/dripping", self.dripping),
                web.post("/upload", self.upload),
                web.get(r"/redirect/{number:\d+}", self.redirect),
                web.get("/elsewhere", self.elsewhere),
                web.get(r"/flaky/{name}/{number:\d+}", self.flaky),
                web.get("/reset", self.reset),
                web.get("/never", self.never),
                web.get("/goodbye", self.goodbye),
                web.get("/links", self.links),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()

    def _run(self) -> None:
        async def serve() -> None:
            await self._stopping.wait()
            await self._runner.cleanup()

        self._loop.run_until_complete(serve())
        self._loop.close()

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        seen = self.seen
        seen.requests[request.path] += 1
        if request.transport is not None:
            seen.connections.add(request.transport.get_extra_info("peername"))
        seen.at_once += 1
        seen.peak = max(seen.peak, seen.at_once)
        try:
            return await handler(request)
        finally:
            seen.at_once -= 1

    async def hello(self, request: web.Request) -> web.Response:
        return web.json_response({"scheme": request.scheme, "headers": dict(request.headers)})

    async def slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response(text="slow")

    async def together(self, request: web.Request) -> web.Response:
        """Answers when so many requests are waiting: clients that take turns wait for ever."""
        number = int(request.match_info["number"])
        async with self._meeting:
            self._present += 1
            self._meeting.notify_all()
            await self._meeting.wait_for(lambda: self._present >= number)
        return web.Response(text="together")

    async def chunks(self, request: web.Request) -> web.StreamResponse:
        """A body of unknown length: so many chunks of 10,000 bytes."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for index in range(int(request.match_info["number"])):
            await response.write(bytes([index % 256]) * 10_000)
        await response.write_eof()
        return response

    async def dripping(self, request: web.Request) -> web.StreamResponse:
        """Sends a line, and the next one only when a request for /hello has shown that it came."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for index in range(5):
            await response.write(f"line {index}\n".encode())
            while self.seen.requests["/hello"] <= index:
                await asyncio.sleep(0.001)
        await response.write_eof()
        return response

    async def upload(self, request: web.Request) -> web.Response:
        digest, size = hashlib.sha256(), 0
        async for data in request.content.iter_any():
            digest.update(data)
            size += len(data)
        self.seen.bodies.append(digest.hexdigest())
        encoding = request.headers.get("Transfer-Encoding", "")
        return web.json_response({"sha256": digest.hexdigest(), "size": size, "encoding": encoding})

    async def redirect(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        raise web.HTTPFound(f"/redirect/{number - 1}" if number > 1 else "/hello")

    async def elsewhere(self, request: web.Request) -> web.Response:
        """Redirects to `?to=`, an address of another scheme or port."""
        raise web.HTTPFound(request.query["to"])

    async def flaky(self, request: web.Request) -> web.Response:
        """Fails so many times with 503, by name, before it works."""
        if self.seen.requests[request.path] <= int(request.match_info["number"]):
            raise web.HTTPServiceUnavailable
        return web.Response(text=str(self.seen.requests[request.path]))

    async def reset(self, request: web.Request) -> web.Response:
        """Hangs up without an answer: lingering for 0 s turns the close into a RST."""
        if request.transport is not None:
            connection = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        return web.Response()

    async def never(self, request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def goodbye(self, request: web.Request) -> web.Response:
        """Answers, and closes the connection."""
        response = web.Response(text="goodbye")
        response.force_close()
        return response

    async def links(self, request: web.Request) -> web.Response:
        """A page with a link to each `?to=`."""
        links = "".join(f'<a href="{to}">{to}</a>' for to in request.query.getall("to"))
        return web.Response(text=links, content_type="text/html")


@contextlib.contextmanager
def serving() -> Iterator[HTTPServer]:
    server = HTTPServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener that takes no more connections: to connect to it lasts for ever.

    The kernel drops the SYN of whoever comes when the queue of unaccepted connections is full.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(100):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.3)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            raise AssertionError("the queue of a listener does not get full on this system")
        yield listener.getsockname()[1]
