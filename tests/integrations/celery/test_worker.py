"""Real workers with our pool, on Redis and RabbitMQ."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.celery.workers import POOL, Between, Broker, Worker, broker_of, working
from tests.libraries.servers import Server
from tests.support import child_env

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        find_spec("celery") is None or find_spec("redis") is None,
        reason="needs celery and redis: pip install 'greenify[celery]' redis",
    ),
    # The client's connections are closed when the tests have ended.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MANY = 1000
OURS = ("-P", "custom")


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, redis: Server) -> Broker:
    if request.param == "redis":
        return broker_of("redis", redis, None)
    return broker_of("rabbitmq", redis, request.getfixturevalue("rabbitmq"))


@pytest.fixture(scope="module")
def app(broker: Broker) -> Iterator[Any]:
    with broker.client() as client:
        yield client


@pytest.fixture(scope="module")
def on_redis(redis: Server) -> Broker:
    return broker_of("redis", redis, None)


@pytest.fixture(scope="module")
def redis_app(on_redis: Broker) -> Iterator[Any]:
    with on_redis.client() as client:
        yield client


@pytest.fixture(scope="module")
def worker(broker: Broker, app: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One for many tests; at its end it has to end in order."""
    here = tmp_path_factory.mktemp("worker")
    with working(here, broker, *OURS, "-c", str(MANY + 50), "-E", app=app) as running:
        yield running
        assert running.stop() == 0, running.log


def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestTasks:
    def test_the_application_is_imported_patched(self, worker: Worker) -> None:
        patched, name = worker.ask("patched")
        assert patched
        assert name.startswith("celery-")
        assert "references and objects from before were adapted" in worker.log
        assert "stay native" not in worker.log

    def test_chains_chords_and_retries(self, worker: Worker) -> None:
        from celery import chain, chord

        assert worker.ask("retry") == 2
        assert (
            chain(worker.sign("add", 1, 2), worker.sign("add", 3)).apply_async().get(timeout=60)
            == 6
        )
        header = [worker.sign("add", number, number) for number in range(30)]
        result = chord(header, app=worker.app)(worker.sign("total"))
        assert result.get(timeout=60) == 870

    def test_tasks_wait_for_tasks(self, broker: Broker, worker: Worker) -> None:
        # Their tasks go to the default queue.
        worker.control("add_consumer", queue="celery")
        results = [worker.send("nested", list(range(n))) for n in range(10)]
        assert [result.get(timeout=60) for result in results] == [n * (n - 1) for n in range(10)]

    def test_a_thousand_wait_and_the_worker_answers(self, worker: Worker) -> None:
        first = worker.send("wait", "many")
        for _ in range(MANY - 1):
            worker.send("wait", "many", ignore_result=True)
        until(lambda: worker.ask("count", "many") == MANY)
        assert worker.control("ping") == {"ok": "pong"}
        assert worker.control("stats")["pool"]["running"] == MANY
        assert len(worker.control("active")) == MANY
        if worker.app.conf.broker_url.startswith("amqp"):
            # The server hangs up on who has been silent for two of its heartbeats, of two seconds.
            time.sleep(5)
        worker.send("open_gate", "many")
        assert first.get(timeout=60) == "went on"
        until(lambda: worker.ask("count", "many") == 0)
        assert "Connection to broker lost" not in worker.log

    def test_events(self, worker: Worker) -> None:
        seen: list[tuple[str, str]] = []
        beats = threading.Event()
        succeeded = threading.Event()

        def note(event: dict[str, Any]) -> None:
            if event.get("hostname") != worker.name:
                return
            seen.append((event["type"], event.get("uuid", "")))
            if event["type"] == "worker-heartbeat":
                beats.set()
            elif seen[-1] == ("task-succeeded", "the-one"):
                succeeded.set()
                receiver.should_stop = True

        with worker.app.connection_for_read() as connection:
            receiver = worker.app.events.Receiver(connection, handlers={"*": note})
            capture = threading.Thread(
                target=lambda: receiver.capture(limit=None, timeout=None, wakeup=True), daemon=True
            )
            capture.start()
            assert beats.wait(60)
            assert worker.ask("add", 1, 1, task_id="the-one") == 2
            assert succeeded.wait(60), seen
            capture.join(60)
        names = [name for name, task in seen if task == "the-one"]
        assert names == ["task-received", "task-started", "task-succeeded"]


class TestLimits:
    def test_soft_and_hard(self, worker: Worker) -> None:
        from celery.exceptions import TimeLimitExceeded

        assert worker.ask("wait", "never", soft_time_limit=0.1) == "soft"
        for name, *args in (("wait", "never"), ("compute",)):
            with pytest.raises(TimeLimitExceeded):
                worker.ask(name, *args, time_limit=0.1)
        assert worker.ask("count", "never") == 0
        assert "Soft time limit (0.1s) exceeded" in worker.log

    def test_one_in_c_is_named(self, worker: Worker) -> None:
        from celery.exceptions import TimeLimitExceeded

        with pytest.raises(TimeLimitExceeded):
            worker.ask("sit", 3, time_limit=0.1)
        worker.until(r"sit\[.*is past its hard time limit of 0.1 s and cannot be ended")
        worker.until("in sit\n")

    def test_revoke_with_terminate(self, worker: Worker) -> None:
        from celery.exceptions import TaskRevokedError

        result = worker.send("wait", "revoked")
        until(lambda: worker.ask("count", "revoked") == 1)
        result.revoke(terminate=True, signal="SIGKILL")
        with pytest.raises(TaskRevokedError):
            result.get(timeout=60)
        until(lambda: worker.ask("count", "revoked") == 0)

    @pytest.mark.parametrize("then", ["return", "raise", "retry", "reject", "apply"])
    def test_what_comes_after_the_hard_one_is_dropped(self, worker: Worker, then: str) -> None:
        from celery import chain
        from celery.exceptions import TimeLimitExceeded

        first = worker.sign("stubborn", "limited", then).set(time_limit=0.1)
        result = chain(first, worker.sign("follows")).apply_async()
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=60)
        text = rf"stubborn\[{result.parent.id}\] went on .* \(hard time limit\).* is dropped.*"
        (line,) = worker.until(text)
        assert ("ValueError('late')" in line) == (then == "raise")
        assert worker.ask("count", "limited") == 0
        assert "TimeLimitExceeded" in repr(worker.app.AsyncResult(result.parent.id).result)
        assert f"follows[{result.id}]" not in worker.log

    @pytest.mark.parametrize("then", ["return", "raise"])
    def test_what_comes_after_a_revocation_is_dropped(self, worker: Worker, then: str) -> None:
        from celery import chain

        first = worker.sign("stubborn", "ended", then)
        following = chain(first, worker.sign("follows")).apply_async()
        result = following.parent
        until(lambda: worker.ask("count", "ended") == 1)
        result.revoke(terminate=True)
        worker.until(rf"stubborn\[{result.id}\] went on .* \(terminated\).* is dropped")
        until(lambda: result.state == "REVOKED")
        assert worker.ask("count", "ended") == 0
        assert worker.app.AsyncResult(result.id).state == "REVOKED"
        assert f"follows[{following.id}]" not in worker.log

    def test_the_hard_one_is_told_though_the_task_goes_on(self, worker: Worker) -> None:
        from celery.exceptions import TimeLimitExceeded

        result = worker.send("deaf", "deaf", time_limit=0.1)
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=60)
        assert not re.search(rf"{result.id}\] went on", worker.log)
        worker.send("open_gate", "deaf")
        worker.until(rf"deaf\[{result.id}\] went on")
        assert "TimeLimitExceeded" in repr(worker.app.AsyncResult(result.id).result)
        assert len(re.findall(rf"Hard time limit .* for deaf\[{result.id}", worker.log)) == 1

    def test_two_runs_of_a_task_are_never_side_by_side(self, worker: Worker) -> None:
        """One that is given back after its hard limit is, when it has ended."""
        result = worker.send("given_back", "again", time_limit=0.1)
        worker.until(rf"{result.id}\] goes on, 5 s after it was told to end")
        assert worker.log.count("run of again") == 1
        worker.send("open_gate", "again")
        worker.until("run of again", 2)
        until(lambda: worker.app.AsyncResult(result.id).result == "run 2")


class TestPlaces:
    def test_grow_shrink_and_prefetch(
        self, redis_app: Any, on_redis: Broker, tmp_path: Path
    ) -> None:
        options = (*OURS, "-c", "2", "--prefetch-multiplier", "2")
        with working(tmp_path, on_redis, *options, app=redis_app) as worker:
            gate = tmp_path / "gate"
            results = [worker.send("hold", str(gate), number) for number in range(8)]
            worker.until(r"holds \d", 2)
            # Two run, two wait in the worker, the others in the queue.
            until(lambda: worker.waiting() == 4)
            assert worker.control("stats")["pool"]["waiting"] == 2
            assert len(worker.control("reserved")) == 2
            # What is revoked before it has a place does not run.
            results[3].revoke()
            worker.control("pool_grow", n=2)
            worker.until(r"holds \d", 4)
            worker.control("pool_shrink", n=3)
            assert worker.control("stats")["pool"]["max-concurrency"] == 1
            gate.touch()
            done = [result.get(timeout=60, propagate=False) for result in results]
            assert [done[number] for number in (0, 1, 2, 4, 5, 6, 7)] == [0, 1, 2, 4, 5, 6, 7]
            assert results[3].state == "REVOKED"
            assert "holds 3" not in worker.log
            assert worker.stop() == 0

    def test_autoscale_and_embedded_beat(
        self, redis_app: Any, on_redis: Broker, tmp_path: Path
    ) -> None:
        options = (*OURS, "--autoscale", "8,1", "-B", "-s", str(tmp_path / "beat"))
        # Shorter than the time between two ticks, each of which counts as activity.
        env = {"AUTOSCALE_KEEPALIVE": "0.01"}
        with working(tmp_path, on_redis, *options, env=env, app=redis_app) as worker:
            worker.control("add_consumer", queue="celery")
            gate = tmp_path / "gate"
            results = [worker.send("hold", str(gate), number) for number in range(5)]
            worker.until(r"holds \d", 5)
            worker.until("a tick", 3)
            gate.touch()
            assert [result.get(timeout=60) for result in results] == [0, 1, 2, 3, 4]
            worker.until("Scaling down")
            assert worker.stop() == 0


class TestEnds:
    def test_warm(self, app: Any, broker: Broker, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        options = (*OURS, "-c", "3", "--prefetch-multiplier", "2")
        with working(tmp_path, broker, *options, app=app) as worker:
            results = [worker.send("hold", str(gate), number) for number in range(8)]
            worker.until(r"holds \d", 3)
            worker.process.send_signal(signal.SIGTERM)
            worker.until("Warm shutdown")
            with pytest.raises(subprocess.TimeoutExpired):
                worker.process.wait(0.5)
            gate.touch()
            assert worker.process.wait(60) == 0
            # Those that ran are done and acknowledged, the others are for the next worker.
            assert [result.get(timeout=60) for result in results[:3]] == [0, 1, 2]
            # RabbitMQ takes those back that it had sent already.
            until(lambda: worker.waiting() == 5)

    def test_cold_and_the_next_worker(self, app: Any, broker: Broker, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        with working(tmp_path, broker, *OURS, "-c", "20", app=app) as worker:
            worker.send("wait", "for ever")
            results = [worker.send("hold", str(gate), number) for number in range(9)]
            results.append(worker.send("swallow", str(gate), 9))
            worker.until(r"holds \d", 10)
            assert worker.stop(signal.SIGQUIT) in (0, 1)
        gate.touch()
        with working(
            tmp_path, broker, "-P", "custom", "-c", "20", queue=worker.queue, app=app
        ) as other:
            assert [result.get(timeout=60) for result in results] == list(range(10))
            assert other.stop() == 0
            until(lambda: other.waiting() == 0)


class TestOthers:
    def test_a_killed_worker_loses_no_task(self, app: Any, broker: Broker, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        # RabbitMQ notices that the worker is gone, Redis only that it is silent.
        env = {"VISIBILITY": "3"} if broker.url.startswith("redis") else {}
        options = (*OURS, "-c", "50")
        with working(tmp_path, broker, *options, app=app) as worker:
            results = [worker.send("hold", str(gate), number) for number in range(100)]
            worker.until(r"holds \d+", 50)
            # kombu takes a message from Redis before it notes that there: none may be on its way at the end.
            until(lambda: worker.waiting() == 0)
            assert worker.control("ping") == {"ok": "pong"}
            worker.process.kill()
            worker.process.wait()
        gate.touch()
        with working(tmp_path, broker, *options, queue=worker.queue, env=env, app=app) as other:
            assert [result.get(timeout=60) for result in results] == list(range(100))
            assert other.stop() == 0

    def test_a_lost_connection(self, redis: Server, rabbitmq: Server, tmp_path: Path) -> None:
        """What is not acknowledged comes again, and all acknowledge at once over the new connection."""
        broker = broker_of("rabbitmq", redis, rabbitmq)
        gate = tmp_path / "gate"
        options = (*OURS, "-c", "50")
        between = Between(rabbitmq.port)
        with (
            closing(between),
            broker.client() as app,
            working(tmp_path, broker.by_way_of(between.port), *options, app=app) as worker,
        ):
            # These have been acknowledged and go on.  Until they end, celery reduces the prefetch count.
            others = [worker.send("wait", "others") for _ in range(30)]
            until(lambda: worker.ask("count", "others") == 30)
            results = [worker.send("hold", str(gate), number) for number in range(100)]
            worker.until(r"holds \d+", 20)
            between.cut()
            worker.until("Connection to broker lost")
            worker.until("Connected to amqp", 2)
            # They were told to end, and run anew.
            worker.until(r"holds \d+", 40)
            gate.touch()
            assert [result.get(timeout=60) for result in results] == list(range(100))
            worker.send("open_gate", "others")
            assert {result.get(timeout=60) for result in others} == {"went on"}
            assert worker.control("ping") == {"ok": "pong"}
            until(lambda: worker.waiting() == 0)
            assert worker.control("stats")["pool"]["running"] == 0
            assert worker.stop() == 0

    def test_the_pool_of_threads_under_the_launcher(
        self, redis_app: Any, on_redis: Broker, tmp_path: Path
    ) -> None:
        launcher = ("-m", "greenify")
        options = ("-P", "threads", "-c", "200")
        with working(tmp_path, on_redis, *options, launcher=launcher, app=redis_app) as worker:
            assert worker.ask("patched")[0]
            results = [worker.send("wait", "threads") for _ in range(199)]
            until(lambda: worker.ask("count", "threads") == 199)
            assert worker.control("ping") == {"ok": "pong"}
            worker.send("open_gate", "threads")
            assert {result.get(timeout=60) for result in results} == {"went on"}
            assert worker.stop() == 0

    def test_a_pool_that_comes_late_says_what_is_native(
        self, redis_app: Any, on_redis: Broker, tmp_path: Path
    ) -> None:
        with working(tmp_path, on_redis, "-c", "20", env={"POOL": POOL}, app=redis_app) as worker:
            assert not worker.ask("patched")[0]
            worker.until("references and objects from before were adapted")
            (line,) = worker.until("greenify: .*python -m greenify -m celery.*")
            assert "time.sleep, inside <builtins.map" in line
            results = [worker.send("wait", "late") for _ in range(19)]
            until(lambda: worker.ask("count", "late") == 19)
            worker.send("open_gate", "late")
            assert {result.get(timeout=60) for result in results} == {"went on"}
            assert worker.stop() == 0

    def test_beat_under_the_launcher(
        self, redis_app: Any, on_redis: Broker, tmp_path: Path
    ) -> None:
        command = [sys.executable, "-m", "greenify", "-m", "celery", "-A", "program", "beat"]
        # Another test's beat may have sent ticks to a worker that was about to end.
        redis_app.control.purge()
        with working(tmp_path, on_redis, *OURS, "-c", "5", app=redis_app) as worker:
            worker.control("add_consumer", queue="celery")
            beat = subprocess.Popen(
                [*command, "-s", str(tmp_path / "beat")], cwd=tmp_path, env=child_env(on_redis.env),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                worker.until("a tick", 3)
                beat.terminate()
                assert beat.wait(60) == 0
            finally:
                beat.kill()
                beat.wait()
