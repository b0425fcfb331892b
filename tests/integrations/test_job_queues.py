"""Job queues and schedulers of others, which run their jobs in threads, under the launcher."""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integrations.running import Running, started
from tests.libraries.servers import Server
from tests.support import run_python

# All of them have to run at once.
MEET = """
import os, threading, time, greenify
barrier = threading.Barrier(20)

def meet():
    barrier.wait(60)
    print("met", greenify.is_patched("thread"), flush=True)
"""

LAUNCHER = (sys.executable, "-m", "greenify")


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        find_spec(module) is None, reason=f"needs {module}: pip install 'greenify[libraries]'"
    )


def send(here: Path, program: str) -> None:
    run_python(program, greenify=False, check=True, cwd=here, env={"PYTHONWARNINGS": ""})


def test_huey(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        MEET
        + """
from huey import FileHuey
app = FileHuey("program", path=os.path.dirname(os.path.abspath(__file__)) + "/queue")
task = app.task()(meet)
"""
    )
    command = (*LAUNCHER, "-m", "huey.bin.huey_consumer", "program.app", "-k", "thread", "-w", "20")
    with started(command, tmp_path, {}) as process:
        running = Running(tmp_path, process)
        running.until("Huey consumer started")
        send(tmp_path, "import program\nfor _ in range(20): program.task()")
        running.until("met True", 20)
        assert running.stop(signal.SIGINT) == 0, running.log


@needs("apscheduler")
def test_apscheduler() -> None:
    result = run_python(
        MEET
        + """
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
scheduler = BlockingScheduler(executors={"default": ThreadPoolExecutor(20)})
ended = threading.Semaphore(0)

def job():
    meet()
    ended.release()

for _ in range(20):
    scheduler.add_job(job)

def stop():
    for _ in range(20):
        ended.acquire()
    scheduler.shutdown(wait=False)

threading.Thread(target=stop).start()
scheduler.start()
""",
        check=True,
        env={"PYTHONWARNINGS": ""},
    )
    assert result.stdout == "met True\n" * 20


@pytest.mark.servers
@needs("dramatiq")
def test_dramatiq(tmp_path: Path, redis: Server) -> None:
    (tmp_path / "program.py").write_text(
        MEET
        + f"""
import dramatiq
from dramatiq.brokers.redis import RedisBroker
dramatiq.set_broker(RedisBroker(url="redis://127.0.0.1:{redis.port}/2"))
task = dramatiq.actor(meet)

@dramatiq.actor(time_limit=100, max_retries=0)
def slow():
    try:
        threading.Event().wait()
    finally:
        print("the time is up", flush=True)
"""
    )
    command = (*LAUNCHER, "-m", "dramatiq", "program", "--processes", "1", "--threads", "25")
    with started(command, tmp_path, {}) as process:
        running = Running(tmp_path, process)
        running.until("is ready for action")
        send(
            tmp_path,
            "import program\nprogram.slow.send()\nfor _ in range(20): program.task.send()",
        )
        running.until("met True", 20)
        running.until("the time is up")
        assert running.stop() == 0, running.log


RQ = (
    MEET
    + """
from redis import Redis
from rq import Queue
url = "redis://127.0.0.1:{port}/3"
queue = Queue(connection=Redis.from_url(url))

def slow():
    try:
        threading.Event().wait()
    finally:
        print("the time is up", flush=True)
"""
)

# Many workers in one process; the one of the command forks for each job.
WORKERS = """
import threading
from redis import Redis
from rq import SimpleWorker
from rq.timeouts import TimerDeathPenalty
import program

class Worker(SimpleWorker):
    death_penalty_class = TimerDeathPenalty  # for threads; the default is a signal

    def _install_signal_handlers(self):
        pass

def work():
    Worker([program.queue], connection=Redis.from_url(program.url)).work(burst=True)

threads = [threading.Thread(target=work) for _ in range(21)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.servers
@needs("rq")
def test_rq(tmp_path: Path, redis: Server) -> None:
    (tmp_path / "program.py").write_text(RQ.replace("{port}", str(redis.port)))
    (tmp_path / "workers.py").write_text(WORKERS)
    send(
        tmp_path,
        "from program import *\n"
        "import program\n"
        "queue.enqueue(program.slow, job_timeout=1)\n"
        "for _ in range(20): queue.enqueue(program.meet)",
    )
    with started((*LAUNCHER, "workers.py"), tmp_path, {}) as process:
        running = Running(tmp_path, process)
        running.until("met True", 20)
        running.until("the time is up")
        assert process.wait(60) == 0, running.log
    # RQ's own worker: a child for each job, the time limit by a signal.
    send(
        tmp_path,
        "from program import *\nimport program\nqueue.enqueue(program.slow, job_timeout=1)",
    )
    command = (
        *LAUNCHER,
        "-m",
        "rq.cli",
        "worker",
        "--burst",
        "--url",
        f"redis://127.0.0.1:{redis.port}/3",
    )
    with started(command, tmp_path, {}, "forks") as process:
        running = Running(tmp_path, process, "forks")
        running.until("the time is up")
        assert process.wait(60) == 0, running.log
