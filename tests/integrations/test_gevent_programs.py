"""Programs that bring gevent along, under the launcher: their greenlets wait at the same time."""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
import sys
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


LOCUST_OPTIONS = "-f program.py --headless -u 5 -r 5 -t 3s -H http://127.0.0.1:1 --only-summary"
LOCUST = """
import threading
from locust import User, constant, task
barrier = threading.Barrier(5)
class Person(User):
    wait_time = constant(1000)
    @task
    def meet(self):
        barrier.wait(30)
        print("met", flush=True)
"""


@pytest.mark.skipif(find_spec("locust") is None, reason="needs locust: pip install locust")
def test_locust(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LOCUST)
    done = subprocess.run(
        [sys.executable, "-m", "greenify", "-m", "locust", *shlex.split(LOCUST_OPTIONS)],
        cwd=tmp_path,
        env=child_env(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("met\n") == 5, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
