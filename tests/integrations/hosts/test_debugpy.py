"""debugpy with a client of its protocol: breakpoints in green threads, and in the main one after them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.integrations.hosts.debugging import Debugger
from tests.integrations.hosts.hosting import TIMEOUT, both_ways, hosting, needs
from tests.support import child_env

#: One thread at a time comes to the breakpoint: with real threads two would stop together.
PROGRAM = """\
import sys, threading, time

def work(name):
    time.sleep(0.01)
    with lock:
        results.append(name)  # line 6

results = []
lock = threading.Lock()
name = "main"
for number in range(3):
    threads = [threading.Thread(target=work, args=(f"thread {n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.append(name)  # line 17
print("results:", len(results), flush=True)
"""
INSIDE, AFTER, LOOP = 6, 17, 11


def check_stops(debugger: Debugger) -> None:
    """Three rounds of two threads each and the main one: each of them stops where it should."""
    for _ in range(3):
        inside = []
        for _ in range(2):
            thread, line, name = debugger.stopped()
            assert line == INSIDE
            inside.append(name)
            debugger.ask("continue", threadId=thread)
        assert sorted(inside) == ["'thread 0'", "'thread 1'"]
        thread, line, name = debugger.stopped()
        assert (line, name) == (AFTER, "'main'")
        # Step over the end of the loop's body, in the main thread.
        debugger.ask("next", threadId=thread)
        thread, line, name = debugger.stopped()
        assert (line, name) == (LOOP, "'main'")
        debugger.ask("continue", threadId=thread)


@both_ways
def test_attach(tmp_path: Path, launcher: Sequence[str]) -> None:
    needs("debugpy")
    wait = (
        "import debugpy, runpy\n"
        "print('port', debugpy.listen(('127.0.0.1', 0))[1], flush=True)\n"
        "debugpy.wait_for_client()\n"
        "runpy.run_path('program.py', run_name='__main__')\n"
    )
    (tmp_path / "start.py").write_text(wait)
    with hosting(tmp_path, launcher, "start.py", program=PROGRAM, ready=r"port (\d+)\n") as host:
        with closing(Debugger(socket.create_connection(("127.0.0.1", host.port)))) as debugger:
            debugger.begin("attach", tmp_path / "program.py", [INSIDE, AFTER])
            check_stops(debugger)
            debugger.event("terminated")
        assert host.process.wait(TIMEOUT) == 0, host.log
        assert "results: 9\n" in host.log


@pytest.mark.parametrize("green", [False, True], ids=["threads", "greenify"])
def test_attach_to_one_that_debugpy_starts(tmp_path: Path, green: bool) -> None:
    needs("debugpy")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    what = ["-m", "greenify", "program.py"] if green else ["program.py"]
    # The adapter writes down which port it has taken.
    endpoints = tmp_path / "endpoints.json"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "debugpy",
                "--listen",
                "127.0.0.1:0",
                "--wait-for-client",
                *what,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env=child_env({"DEBUGPY_ADAPTER_ENDPOINTS": str(endpoints)}),
            start_new_session=True,
        )
    try:
        with closing(Debugger(connected(process, endpoints))) as debugger:
            debugger.begin("attach", path, [INSIDE, AFTER])
            check_stops(debugger)
            debugger.event("terminated")
        assert process.wait(TIMEOUT) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # The test's report has it if the test fails.
        print(process.wait(), log.read_text())
    assert "results: 9\n" in log.read_text()


BUSY = """\
import os, threading, time

def work():
    until = time.monotonic() + 0.2
    while time.monotonic() < until: pass  # the native threads look at it

name = "main"
threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
time.sleep(0)  # line 13
"""


def test_it_shows_no_threads_of_greenifys_own(tmp_path: Path) -> None:
    """The time slices', the watch's, that of --inspect: by sys.monitoring it sees the code of them all."""
    needs("debugpy")
    wait = (
        "import debugpy, runpy\n"
        "print('port', debugpy.listen(('127.0.0.1', 0))[1], flush=True)\n"
        "debugpy.wait_for_client()\n"
        "import os\n"
        "from greenify.inspect.asking import ask\n"
        "from threading import Thread\n"
        "asking = Thread(target=ask, args=(os.getpid(), 'snapshot'))\n"
        "asking.start(); asking.join()\n"
        "runpy.run_path('program.py', run_name='__main__')\n"
    )
    (tmp_path / "start.py").write_text(wait)
    launcher = ["-m", "greenify", "--watch=0.05", "--inspect"]
    with hosting(tmp_path, launcher, "start.py", program=BUSY, ready=r"port (\d+)\n") as host:
        with closing(Debugger(socket.create_connection(("127.0.0.1", host.port)))) as debugger:
            debugger.begin("attach", tmp_path / "program.py", [13])
            thread, _, _ = debugger.stopped()
            shown = [each["name"] for each in debugger.ask("threads")["threads"]]
            assert shown == ["MainThread"], shown
            debugger.ask("continue", threadId=thread)
            debugger.event("terminated")
        assert host.process.wait(TIMEOUT) == 0, host.log


def connected(process: subprocess.Popen[bytes], endpoints: Path) -> socket.socket:
    """A connection to the port that the process's adapter has for clients."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            client = json.loads(endpoints.read_text())["client"]
            return socket.create_connection((client["host"], client["port"]))
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("green", [False, True], ids=["threads", "greenify"])
def test_launch(tmp_path: Path, green: bool) -> None:
    """As an editor does it: the adapter starts the program, and debugpy is there before greenify."""
    needs("debugpy")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    what = {"module": "greenify", "args": [str(path)]} if green else {"program": str(path)}
    ours, theirs = socket.socketpair()
    with theirs:
        adapter = subprocess.Popen(
            [sys.executable, "-m", "debugpy.adapter"],
            stdin=theirs,
            stdout=theirs,
            cwd=tmp_path,
            env=child_env(),
            start_new_session=True,
        )
    try:
        with closing(Debugger(ours)) as debugger:
            debugger.begin(
                "launch",
                path,
                [INSIDE, AFTER],
                console="internalConsole",
                cwd=str(tmp_path),
                **what,
            )
            check_stops(debugger)
            output = ""
            while "results: 9\n" not in output:
                output += debugger.event("output")["output"]
            assert debugger.event("exited")["exitCode"] == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(adapter.pid, signal.SIGKILL)
        adapter.wait()
