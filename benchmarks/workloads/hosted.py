"""gunicorn with the layer's worker, under the load of wrk: what a request costs, its time, the memory."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.sample import Sample

__all__ = ["gunicorn", "gunicorn_on_postgres", "gunicorn_on_requests"]

_WORKERS = {
    "greenify": ("greenify.integrations.gunicorn.GreenifyWorker",),
    "gevent": ("gevent",),
    "threads": ("gthread", "--threads", "200"),
    "sync": ("sync",),
}
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@contextmanager
def _serving(layer: str, application: str, env: dict[str, str]) -> Iterator[tuple[int, int]]:
    # Yields the port and the process identifier of the one worker.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--backlog", "4096"]
    command += ["--keep-alive", "75", "--worker-connections", "2000", "--no-control-socket"]
    command += ["-k", *_WORKERS[layer], f"benchmarks.applications:{application}"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log, env=os.environ | env)
        try:
            _await(port, process)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            (worker,) = children.split()
            yield port, int(worker)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-2000:])
            raise
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as client:
                client.sendall(_REQUEST)
                if client.recv(12) != b"HTTP/1.1 200":
                    raise RuntimeError("the application fails")
                return
        except ConnectionError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("gunicorn does not serve") from None
            time.sleep(0.05)


_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _load(wrk: str, port: int, connections: int, seconds: float) -> tuple[float, float, float]:
    # Seconds for a request (of wall clock, all connections together), p50, p99.
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True
    )
    wrong = re.search(r"Non-2xx.*|Socket errors: connect [1-9].*", done.stdout)
    if wrong:
        raise RuntimeError(wrong.group())
    number, taken, unit = re.findall(r"(\d+) requests in ([\d.]+)(\w+)", done.stdout)[0]
    if not int(number):
        raise RuntimeError("no answer")
    percentiles = {
        percent: float(value) * _UNITS[scale]
        for percent, value, scale in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)\s*\n", done.stdout)
    }
    cost = float(taken) * _UNITS[unit] / int(number)
    return cost, percentiles["50"], percentiles["99"]


def _memory(pid: int) -> float:
    found = re.search(r"Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found is not None
    return float(found[1]) * 1024


def _with_idle(port: int, worker: int, connections: int) -> float:
    # The worker's memory while so many clients, each answered once, keep their connections.
    with ExitStack() as stack:
        for _ in range(connections):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            client.sendall(_REQUEST)
            client.recv(65536)
        time.sleep(1.0)  # from then on they are idle
        return _memory(worker)


def _measure(
    layer: str, wrk: str, application: str, row: str, seconds: float, connections: int, idle: int,
    env: dict[str, str],
) -> Sample:  # fmt: skip
    with _serving(layer, application, env) as (port, worker):
        _load(wrk, port, connections, min(1.0, seconds))
        cost, p50, p99 = _load(wrk, port, connections, seconds)
        also = {}
        if idle and layer != "sync":  # which keeps no connection
            also[f"{row}-memory-{idle}"] = _with_idle(port, worker, idle)
    return Sample(cost, also, {f"{row}-p50": p50, f"{row}-p99": p99})


def gunicorn(
    layer: str, wrk: str, row: str, seconds: float, connections: int = 100, idle: int = 0
) -> Sample:
    """An application that answers at once."""
    return _measure(layer, wrk, "instant", row, seconds, connections, idle, {})


def gunicorn_on_requests(
    layer: str, wrk: str, nginx: str, row: str, seconds: float, connections: int = 100
) -> Sample:
    """One that asks another HTTP service."""
    env = {"BENCHMARK_URL": nginx}
    return _measure(layer, wrk, "over_requests", row, seconds, connections, 0, env)


def gunicorn_on_postgres(
    layer: str,
    wrk: str,
    postgres: str,
    row: str,
    driver: str,
    seconds: float,
    connections: int = 100,
) -> Sample:
    """One that asks PostgreSQL."""
    env = {"BENCHMARK_DSN": postgres}
    return _measure(layer, wrk, f"over_{driver}", row, seconds, connections, 0, env)
