"""A real gunicorn in a folder of its own, and clients that speak to it byte by byte."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integrations.running import TIMEOUT, Running, started

GREENIFY = "greenify.integrations.gunicorn.GreenifyWorker"

try:
    from gunicorn.config import KNOWN_SETTINGS
except ImportError:
    KNOWN: frozenset[str] = frozenset()
else:
    KNOWN = frozenset(setting.name for setting in KNOWN_SETTINGS)

needs_gunicorn = pytest.mark.skipif(
    find_spec("gunicorn") is None, reason="needs gunicorn: pip install 'greenify[gunicorn]'"
)
#: gunicorn's parsers: the one in Python, and its own extra in C, which it takes where that is installed.
PARSERS = [
    pytest.param(("--http-parser", "python"), id="python"),
    pytest.param(
        ("--http-parser", "fast"),
        id="C",
        marks=pytest.mark.skipif(
            find_spec("gunicorn_h1c") is None, reason="needs gunicorn_h1c: pip install gunicorn_h1c"
        ),
    ),
]
if "http_parser" not in KNOWN:
    PARSERS = [pytest.param((), id="python")]  # older ones have no other
both_parsers = pytest.mark.parametrize("parser", PARSERS)
# What HTTP has to be in both: real threads are the control.
both_workers = pytest.mark.parametrize(
    "options", [("-k", GREENIFY), ("-k", "gthread", "--threads", "20")], ids=["greenify", "threads"]
)

#: The application of most tests: it says who it is, or does what the path names.
PROGRAM = """
import os, threading, time
import greenify
patched_at_import = greenify.is_patched("thread")
barrier = threading.Barrier(20)
gate = threading.Event()
lock, now, peak = threading.Lock(), 0, 0

def answer(environ):
    path = environ["PATH_INFO"]
    if path == "/pid":
        return str(os.getpid())
    if path == "/threads":
        return str(sum("_serve" in thread.name for thread in threading.enumerate()))
    if path == "/patched":
        return str(patched_at_import)
    if path == "/meet":
        barrier.wait(60)
        return "met"
    if path == "/wait":
        environ["wsgi.errors"].write("somebody waits\\n")
        environ["wsgi.errors"].flush()
        gate.wait(60)
        return "went on"
    if path == "/open":
        gate.set()
        return "opened"
    if path == "/compute":
        environ["wsgi.errors"].write("somebody computes\\n")
        environ["wsgi.errors"].flush()
        while not gate.is_set():
            pass
        return "computed"
    if path == "/count":
        global now, peak
        with lock:
            now += 1
            peak = max(now, peak)
        time.sleep(0.05)
        with lock:
            now -= 1
        return str(peak)
    if path == "/block":
        block_all()
    if path == "/block-politely":
        block_politely()
    if path == "/read":
        return repr(environ["wsgi.input"].read())
    if path == "/pieces":
        return repr(list(iter(lambda: environ["wsgi.input"].read(3), b"")))
    if path == "/large":
        return "x" * 30_000_000
    if path == "/say":
        with environ["wsgi.errors"] as errors:
            print("said", file=errors)
        return "said"
    if path == "/fail":
        raise ValueError("on purpose")
    return path

def block_all():
    import ctypes
    reader, writer = os.pipe()
    # With the GIL.  Unlike pause(), it goes on after the signal of a time slice.
    ctypes.PyDLL(None).read(reader, ctypes.create_string_buffer(1), 1)

def block_politely():
    import ctypes
    reader, writer = os.pipe()
    ctypes.CDLL(None).read(reader, ctypes.create_string_buffer(1), 1)  # without the GIL

def app(environ, start_response):
    if environ["PATH_INFO"] == "/file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open("file", "rb"))
    body = answer(environ).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Server(Running):
    """A running gunicorn."""

    def connect(self, path: str = "socket") -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(TIMEOUT)
        client.connect(str(self.here / path))
        return client

    def ask(self, path: str) -> str:
        """The body of the answer to one request on a connection of its own."""
        with self.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            # The pages for errors have "\r\n\n" there since textwrap.dedent, in CPython 3.14, takes the
            # first for white space.
            return re.split(rb"\r\n\r?\n", all_of(client), maxsplit=1)[-1].decode()


@contextmanager
def serving(
    here: Path,
    *options: str,
    program: str = PROGRAM,
    bind: str = "unix:socket",
    env: dict[str, str] | None = None,
    launcher: tuple[str, ...] = (),
) -> Iterator[Server]:
    """Run gunicorn with `program` until the end of the block; its worker is up when the block begins."""
    (here / "program.py").write_text(program)
    # gunicorn's control socket is in the home directory.
    command = [
        sys.executable,
        *launcher,
        "-m",
        "gunicorn",
        "--bind",
        bind,
        "--pid",
        "pid",
        *options,
        "program:app",
    ]
    home = {"HOME": str(here), "XDG_RUNTIME_DIR": str(here), **(env or {})}
    with started(command, here, home) as process:
        server = Server(here, process)
        server.until("Booting worker")
        yield server


def all_of(client: socket.socket) -> bytes:
    """All that a server sends until it closes; a reset counts as the end."""
    data = bytearray()
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    return bytes(data)


def one_answer(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one answer with a Content-Length, on a connection that stays."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(1)
        assert piece, data
        data += piece
    length = int(re.findall(rb"(?i)content-length: (\d+)", data)[0])
    body = bytearray()
    while len(body) < length:
        piece = client.recv(min(length - len(body), 65536))
        assert piece, (data, len(body))
        body += piece
    return data, bytes(body)
