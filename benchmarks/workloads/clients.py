"""Clients of servers: each of several threads waits once for an answer that takes its time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.sample import Sample, timed

__all__ = ["CLIENTS", "waits"]

# Makes a connection of its own by a module, asks for an answer that takes so many seconds, and closes.
_Ask = Callable[[Any, str, float], None]


def _query(connection: Any, query: str, seconds: float) -> None:
    with contextlib.closing(connection):
        cursor = connection.cursor()
        cursor.execute(query.format(seconds))
        cursor.fetchall()


def _words(server: str) -> dict[str, Any]:
    """What a server's words say: ``host=127.0.0.1 port=1234``."""
    words: dict[str, Any] = dict(word.split("=", 1) for word in server.split())
    return words | {"port": int(words["port"])}


def _libpq(module: Any, server: str, seconds: float) -> None:
    _query(module.connect(server), "select pg_sleep({})", seconds)


def _pg8000(module: Any, server: str, seconds: float) -> None:
    words = _words(server)
    words["database"] = words.pop("dbname")
    # As text: it does not know the type.
    _query(module.connect(**words), "select pg_sleep({})::text", seconds)


def _mysql(module: Any, server: str, seconds: float) -> None:
    _query(module.connect(**_words(server)), "select sleep({})", seconds)


def _redis(module: Any, server: str, seconds: float) -> None:
    with contextlib.closing(module.Redis.from_url(server)) as client:
        assert client.blpop(["nothing is ever put here"], seconds) is None


def _zmq(module: Any, server: str, seconds: float) -> None:
    with module.Context.instance().socket(module.REQ) as sock:
        sock.connect(server)
        sock.send(str(seconds).encode())
        assert sock.recv() == b"done"


def _grpc(module: Any, server: str, seconds: float) -> None:
    with module.insecure_channel(server) as channel:
        assert channel.unary_unary("/benchmark/wait")(str(seconds).encode()) == b"done"


#: By the name at PyPI: the module, the resource that the client asks, and how.
CLIENTS: dict[str, tuple[str, str, _Ask]] = {
    "psycopg": ("psycopg", "postgres", _libpq),
    "psycopg2": ("psycopg2", "postgres", _libpq),
    "pg8000": ("pg8000.dbapi", "postgres", _pg8000),
    "mysqlclient": ("MySQLdb", "mariadb", _mysql),
    "pymysql": ("pymysql", "mariadb", _mysql),
    "redis": ("redis", "redis", _redis),
    "pyzmq": ("zmq", "zmq", _zmq),
    "grpcio": ("grpc", "grpc", _grpc),
}


def waits(client: str, threads: int, seconds: float, **server: str) -> Sample:
    """Seconds until every thread has connected and has its answer, which takes `seconds`.

    Args:
        server: the one resource that the client asks.
    """
    name, need, ask = CLIENTS[client]
    module, where = import_module(name), server[need]
    ask(module, where, 0.001)  # what is done once in a process is no part of it
    failed: list[BaseException] = []

    def work() -> None:
        try:
            ask(module, where, seconds)
        except BaseException as exc:
            failed.append(exc)

    def run() -> None:
        everybody = [threading.Thread(target=work) for _ in range(threads)]
        for thread in everybody:
            thread.start()
        for thread in everybody:
            thread.join()

    sample = timed(1, run)
    if failed:
        raise failed[0]
    return sample
