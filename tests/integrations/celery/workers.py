"""Real workers of celery, and who sends them tasks."""

from __future__ import annotations

import itertools
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.integrations.running import Running, started
from tests.libraries.servers import Server

POOL = "greenify.integrations.celery:TaskPool"
HERE = Path(__file__).resolve().parent

_names = (f"queue{number}" for number in itertools.count())


@dataclass(frozen=True)
class Broker:
    """Where messages go, and results."""

    url: str
    backend: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "BROKER": self.url,
            "BACKEND": self.backend,
            "CELERY_CUSTOM_WORKER_POOL": POOL,
            "PYTHONPATH": str(HERE),
            "PYTHONWARNINGS": "",
        }

    def by_way_of(self, port: int) -> Broker:
        """The same broker, at another port."""
        return replace(self, url=re.sub(r"(127\.0\.0\.1):\d+", rf"\1:{port}", self.url))

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client of celery's, in the process of the test."""
        from celery import Celery

        app = Celery("client", broker=self.url, backend=self.backend, set_as_current=False)
        app.conf.broker_connection_retry_on_startup = True
        with app:
            yield app
            app.backend.result_consumer.stop()
            app.backend.client.close()


def broker_of(kind: str, redis: Server, rabbitmq: Server | None) -> Broker:
    backend = f"redis://127.0.0.1:{redis.port}/1"
    if rabbitmq is None or kind == "redis":
        return Broker(f"redis://127.0.0.1:{redis.port}/0", backend)
    return Broker(f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}//", backend)


class Between:
    """Stands between a worker and its broker, and can cut the connections.

    Args:
        port: of the broker.
    """

    def __init__(self, port: int) -> None:
        self._broker = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._broker))
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=ends))
                    self._threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        _shut(sink)

    def cut(self) -> None:
        """End all connections; new ones are taken."""
        for sock in tuple(self._open):
            _shut(sock)

    def close(self) -> None:
        _shut(self._listener)
        self._threads[0].join()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()
        for sock in (self._listener, *self._open):
            sock.close()


def _shut(sock: socket.socket) -> None:
    # It may have ended already.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class Worker(Running):
    """A running worker, which alone gets what is sent to its queue."""

    def __init__(self, here: Path, process: Any, log: str, queue: str, app: Any) -> None:
        super().__init__(here, process, log)
        self.queue = queue
        self.app = app
        self.name = f"{queue}@test"

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        """Send a task; its result."""
        return self.app.send_task(name, args, queue=self.queue, **options)

    def sign(self, name: str, *args: Any) -> Any:
        """A signature of a task for this worker."""
        return self.app.signature(name, args=args).set(queue=self.queue)

    def ask(self, name: str, *args: Any, **options: Any) -> Any:
        """What a task returns."""
        return self.send(name, *args, **options).get(timeout=60)

    def control(self, command: str, **arguments: Any) -> Any:
        """What the worker answers to a command of remote control."""
        [answer] = self.app.control.broadcast(
            command, arguments=arguments, destination=[self.name], reply=True, timeout=30, limit=1
        )
        return answer[self.name]

    def waiting(self) -> int:
        """How many messages of its queue no worker has got."""
        with self.app.connection_for_read() as connection:
            try:
                return int(connection.default_channel.queue_declare(self.queue, passive=True)[1])
            except connection.channel_errors:
                return 0  # Redis has no empty queues


@contextmanager
def working(
    here: Path,
    broker: Broker,
    *options: str,
    queue: str = "",
    launcher: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    app: Any = None,
) -> Iterator[Worker]:
    """Run a worker until the end of the block; it takes tasks when the block begins."""
    queue = queue or next(_names)
    log = f"{queue}-{next(_names)}.log"
    command = [
        *(sys.executable, *launcher, "-m", "celery", "-A", "program", "worker"),
        *("-n", f"{queue}@test", "-Q", queue, "-l", "INFO", *options),
    ]
    with started(command, here, broker.env | (env or {}), log) as process:
        worker = Worker(here, process, log, queue, app)
        worker.until("test ready")
        # On Redis it subscribes to remote control a moment later.
        while app is not None and not app.control.ping([worker.name], timeout=2, limit=1):
            assert process.poll() is None, worker.log
        yield worker
