"""Programs that bring gevent along, under the launcher: their greenlets wait at the same time."""

from __future__ import annotations

import contextlib
import http.server
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import child_env, run_python

# Both tasks have to run at the same time: each waits for the file that the other one makes.
MEET = """
import os, time, greenify

def meet(folder, mine, other):
    open(os.path.join(folder, mine), "w").close()
    deadline = time.monotonic() + 60
    while not os.path.exists(os.path.join(folder, other)):
        assert time.monotonic() < deadline, "the other one does not run"
        time.sleep(0.01)
    return greenify.is_patched("thread")
"""

CELERY = (
    MEET
    + """
from celery import Celery
here = os.path.dirname(os.path.abspath(__file__))
transport = {"data_folder_in": here + "/queue", "data_folder_out": here + "/queue"}
app = Celery("program", broker="filesystem://", backend="file://" + here + "/results")
app.conf.broker_transport_options = transport
app.conf.broker_connection_retry_on_startup = True
task = app.task(meet)
"""
)

HUEY = (
    MEET
    + """
from huey import FileHuey
here = os.path.dirname(os.path.abspath(__file__))
app = FileHuey("program", path=here + "/queue")
task = app.task()(meet)
"""
)

ASK = """
import program, sys
results = [program.task{call}(sys.argv[1], *names) for names in (("a", "b"), ("b", "a"))]
print([result.get({get}) for result in results])
"""


@contextlib.contextmanager
def serving(here: Path, number: signal.Signals, *args: str) -> Iterator[None]:
    """A program that runs until it is told to end by a signal; then it ends as it should."""
    with (here / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "greenify", *args],
            cwd=here,
            env=child_env(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
            process.send_signal(number)
            assert process.wait(60) == 0, (here / "log").read_text()
        except BaseException:
            print((here / "log").read_text())
            raise
        finally:
            process.kill()
            process.wait()


def test_celery(tmp_path: Path) -> None:
    for name in ("queue", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "program.py").write_text(CELERY)
    args = ("-m", "celery", "-A", "program", "worker", "-P", "gevent", "-c", "4")
    with serving(tmp_path, signal.SIGTERM, *args):
        ask = ASK.format(call=".delay", get="timeout=60")
        result = run_python(
            ask, tmp_path, greenify=False, check=True, cwd=tmp_path, env={"PYTHONWARNINGS": ""}
        )
        assert result.stdout == "[True, True]\n"


def test_huey(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(HUEY)
    args = ("-m", "huey.bin.huey_consumer", "program.app", "-k", "greenlet", "-w", "4")
    with serving(tmp_path, signal.SIGINT, *args):
        ask = ASK.format(call="", get="blocking=True, timeout=60")
        result = run_python(ask, tmp_path, greenify=False, check=True, cwd=tmp_path)
        assert result.stdout == "[True, True]\n"


# Its users run in two processes, five in each; all of a process have to wait at once.
LOCUST_OPTIONS = "-f program.py --headless -u 10 -r 10 -t 5s --processes 2 --only-summary --csv out"
LOCUST = """
import threading
from locust import FastHttpUser, HttpUser, constant, task
barrier = threading.Barrier(5)
class Person(HttpUser):
    fixed_count = 4
    wait_time = constant(1000)
    @task
    def meet(self):
        self.client.get("/requests")
        barrier.wait(30)
        print("met", flush=True)
class Quick(FastHttpUser):
    fixed_count = 6
    wait_time = constant(1000)
    @task
    def meet(self):
        self.client.get("/quick")
        barrier.wait(30)
        print("met", flush=True)
"""


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.skipif(find_spec("locust") is None, reason="needs locust: pip install locust")
def test_locust(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LOCUST)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "greenify", "-m", "locust"),
                    *shlex.split(LOCUST_OPTIONS),
                    *("-H", f"http://127.0.0.1:{server.server_port}"),
                    *("--master-port", str(port), "--master-bind-port", str(port)),
                ],
                cwd=tmp_path,
                env=child_env(),
                capture_output=True,
                text=True,
                timeout=120,
            )
        finally:
            server.shutdown()
    assert done.returncode == 0, done.stderr
    # Of two processes: each line is two writes.
    assert done.stdout.count("met") == 10, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    rows = (tmp_path / "out_stats.csv").read_text().splitlines()
    # Name, requests, failures.
    counts = {row.split(",")[1]: row.split(",")[2:4] for row in rows[1:]}
    assert counts["/requests"] == ["4", "0"] and counts["/quick"] == ["6", "0"], rows
