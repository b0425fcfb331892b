"""Servers and files that workloads need: made once per run, in processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.libraries import servers

__all__ = ["RESOURCES", "Missing"]


class Missing(Exception):
    """Something has to be installed first; the text says what."""


_NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type text/plain; return 200 "{body}"; }}
    }}
}}
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _await_server(port: int, process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} does not serve port {port}") from None
            time.sleep(0.02)


@contextlib.contextmanager
def _serving(command: list[str], port: int) -> Iterator[str]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _await_server(port, process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def _nginx() -> Iterator[str]:
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise Missing(
            "nginx is not installed, which the requests rows need: apt-get install nginx-light"
        )
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # for the worker, which is another user
        configuration = Path(folder, "nginx.conf")
        configuration.write_text(_NGINX.format(folder=folder, port=port, body="x" * 200))
        with _serving([found, "-c", str(configuration), "-p", folder], port) as url:
            yield url


@contextlib.contextmanager
def _slow() -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.slow_server", str(port)]
    with _serving(command, port) as url:
        yield url


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    found = shutil.which("redis-server")
    if found is None:
        raise Missing(
            "redis-server is not installed, which the rows of celery and redis need: "
            "apt-get install redis-server"
        )
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ("--bind", "127.0.0.1", "--save", "", "--maxclients", "4000", "--dir", folder)
        with _serving([found, "--port", str(port), *options], port):
            yield f"redis://127.0.0.1:{port}/"


@contextlib.contextmanager
def _certificate() -> Iterator[str]:
    try:
        import trustme
    except ImportError:
        raise Missing("trustme is not installed, which the TLS rows need") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "all.pem")
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
        authority.cert_pem.write_to_path(Path(folder, "ca.pem"))
        yield str(path)


@contextlib.contextmanager
def _wrk() -> Iterator[str]:
    found = shutil.which("wrk")
    if found is None:
        raise Missing("wrk is not installed, which the gunicorn rows need: apt-get install wrk")
    yield found


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    lacking = servers.missing("postgres")
    if lacking is not None:
        raise Missing(f"PostgreSQL, which the rows of psycopg, psycopg2 and pg8000 need: {lacking}")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        servers.running("postgres", Path(folder)) as server,
    ):
        yield f"host={server.host} port={server.port} user={server.user} dbname={server.database}"


@contextlib.contextmanager
def _mariadb() -> Iterator[str]:
    lacking = servers.missing("mariadb")
    if lacking is not None:
        raise Missing(f"MariaDB, which the rows of mysqlclient and pymysql need: {lacking}")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        servers.running("mariadb", Path(folder)) as server,
    ):
        yield (
            f"host={server.host} port={server.port} user={server.user} "
            f"password={server.password} database={server.database}"
        )


@contextlib.contextmanager
def _peer(kind: str, module: str, package: str, address: str) -> Iterator[str]:
    """Of `slow_peers`, where the client's own package is the server, too."""
    if importlib.util.find_spec(module) is None:
        raise Missing(f"{package} is not installed, which the row client-{package} needs")
    port = _free_port()
    with _serving([sys.executable, "-m", "benchmarks.slow_peers", kind, str(port)], port):
        yield address.format(port)


#: By name: context managers that yield what a workload is called with under that name.
RESOURCES: dict[str, Callable[[], contextlib.AbstractContextManager[str]]] = {
    "nginx": _nginx,
    "slow": _slow,
    "redis": _redis,
    "certificate": _certificate,
    "wrk": _wrk,
    "postgres": _postgres,
    "mariadb": _mariadb,
    "zmq": lambda: _peer("zmq", "zmq", "pyzmq", "tcp://127.0.0.1:{}"),
    "grpc": lambda: _peer("grpc", "grpc", "grpcio", "127.0.0.1:{}"),
}
