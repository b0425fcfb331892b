"""uvicorn and FastAPI: synchronous endpoints run in threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integrations.hosts.hosting import MANY, TIMEOUT, both_ways, check_threads, hosting, needs

FASTAPI = f"""
import asyncio, os, threading
from fastapi import FastAPI, WebSocket
from greenify import is_patched
app = FastAPI()
barrier = threading.Barrier({MANY})

@app.get("/")
def meet():
    barrier.wait(60)
    return os.readlink("/proc/thread-self")

@app.get("/async")
async def wait():
    await asyncio.sleep(0.01)
    return await asyncio.to_thread(os.readlink, "/proc/thread-self")

@app.get("/process")
def process():
    return os.getpid(), is_patched("thread")

@app.websocket("/socket")
async def echo(socket: WebSocket):
    await socket.accept()
    while (text := await socket.receive_text()) != "end":
        await socket.send_text(await asyncio.to_thread(text.upper))
    await socket.close()
"""


@both_ways
@pytest.mark.parametrize(
    "options",
    [("--loop", "asyncio", "--http", "h11"), ()],
    ids=["plain", "standard"],
)
def test_uvicorn(tmp_path: Path, launcher: Sequence[str], options: Sequence[str]) -> None:
    needs("fastapi", "uvicorn", "websockets")
    from websockets.sync.client import connect

    if not options:
        needs("uvloop", "httptools")
    command = ("-m", "uvicorn", "--port", "0", *options, "program:app")
    with hosting(tmp_path, launcher, *command, program=FASTAPI) as host:
        check_threads(host.ask_at_once(), launcher)
        assert len(host.ask_at_once("/async")) == MANY
        with connect(f"ws://127.0.0.1:{host.port}/socket") as client:
            client.send("text")
            assert client.recv(timeout=TIMEOUT) == "TEXT"
            client.send("end")
        assert host.stop() in (0, -2), host.log


def test_its_worker_processes(tmp_path: Path) -> None:
    """They are started anew, not forked."""
    needs("fastapi", "uvicorn")
    command = ("-m", "uvicorn", "--port", "0", "--workers", "2", "program:app")
    with hosting(tmp_path, ("-m", "greenify", "--children"), *command, program=FASTAPI) as host:
        host.until("Application startup complete", 2)
        answers: set[str] = set()
        while len(answers) < 2:
            answers.update(host.ask_at_once("/process"))
        assert all(answer.endswith(",true]") for answer in answers), answers
        assert host.stop() in (0, -2), host.log
