"""uvicorn and FastAPI: synchronous endpoints run in threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integrations.hosts.hosting import MANY, both_ways, check_threads, hosting, needs

FASTAPI = f"""
import asyncio, os, threading
from fastapi import FastAPI, WebSocket
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
"""


@both_ways
@pytest.mark.parametrize(
    "options",
    [("--loop", "asyncio", "--http", "h11"), ()],
    ids=["plain", "standard"],
)
def test_uvicorn(tmp_path: Path, launcher: Sequence[str], options: Sequence[str]) -> None:
    needs("fastapi", "uvicorn")
    if not options:
        needs("uvloop", "httptools")
    command = ("-m", "uvicorn", "--port", "0", *options, "program:app")
    with hosting(tmp_path, launcher, *command, program=FASTAPI) as host:
        check_threads(host.ask_at_once(), launcher)
        assert len(host.ask_at_once("/async")) == MANY
        assert host.stop() in (0, -2), host.log
