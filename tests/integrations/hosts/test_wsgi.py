"""WSGI servers with threads: 20 requests meet in the application."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.integrations.hosts.hosting import MANY, WSGI, both_ways, check_threads, hosting, needs

FLASK = f"""
import os, threading
from flask import Flask, request, session, stream_with_context
app = Flask(__name__)
app.secret_key = "x"
barrier = threading.Barrier({MANY})

@app.get("/")
def meet():
    session["seen"] = True
    barrier.wait(60)
    return os.readlink("/proc/thread-self")

@app.get("/mine/<name>")
def mine(name):
    # The context of a request is its thread's own.
    def pieces():
        for _ in range(3):
            barrier.wait(60)
            yield request.view_args["name"] + " "
    return stream_with_context(pieces())
"""

CHEROOT = (
    WSGI
    + f"""
from cheroot.wsgi import Server
server = Server(("127.0.0.1", 0), app, numthreads={MANY})
server.prepare()
print(f"http://127.0.0.1:{{server.bind_addr[1]}}", flush=True)
try:
    server.serve()
except KeyboardInterrupt:
    server.stop()
"""
)


@both_ways
def test_flask(tmp_path: Path, launcher: Sequence[str]) -> None:
    needs("flask")
    command = ("-m", "flask", "--app", "program", "run", "--port", "0")
    with hosting(tmp_path, launcher, *command, program=FLASK) as host:
        check_threads(host.ask_at_once(), launcher)
        assert host.ask_at_once("/mine/a") == ["a a a "] * MANY
        assert host.stop() in (0, 1, -2), host.log


@both_ways
def test_waitress(tmp_path: Path, launcher: Sequence[str]) -> None:
    needs("waitress")
    command = ("-m", "waitress", "--listen", "127.0.0.1:0", "--threads", str(MANY), "program:app")
    with hosting(tmp_path, launcher, *command) as host:
        check_threads(host.ask_at_once(), launcher)
        assert host.stop() == 0, host.log


@both_ways
def test_cheroot(tmp_path: Path, launcher: Sequence[str]) -> None:
    needs("cheroot")
    with hosting(tmp_path, launcher, "program.py", program=CHEROOT) as host:
        check_threads(host.ask_at_once(), launcher)
        assert host.stop() == 0, host.log
