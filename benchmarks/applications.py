"""WSGI applications for the rows of gunicorn: each does one thing that web applications do.

What they ask is in the environment: ``BENCHMARK_URL`` of an HTTP service, ``BENCHMARK_DSN`` of a PostgreSQL.
They are imported by gunicorn's worker, after it has patched the process.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["instant", "over_psycopg", "over_psycopg2", "over_psycopg2_unchanged", "over_requests"]

_Start = Callable[[str, list[tuple[str, str]]], object]

#: Connections to the database, shared by all threads.
_CONNECTIONS = 20

_here = threading.local()
_pool: queue.LifoQueue[Any] = queue.LifoQueue()
_connecting = threading.Lock()


def _answer(start_response: _Start, body: bytes) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def instant(environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
    """Answer at once."""
    return _answer(start_response, b"x" * 200)


def over_requests(environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
    """Pass on what another HTTP service says; each thread has a session."""
    import requests

    try:
        session = _here.session
    except AttributeError:
        session = _here.session = requests.Session()
        session.trust_env = False
    return _answer(start_response, session.get(os.environ["BENCHMARK_URL"]).content)


def _query(connect: Callable[[str], Any]) -> bytes:
    with _connecting:
        if not _pool.qsize() and not hasattr(_query, "made"):
            _query.made = True  # type: ignore[attr-defined]
            for _ in range(_CONNECTIONS):
                connection = connect(os.environ["BENCHMARK_DSN"])
                connection.autocommit = True
                _pool.put(connection)
    connection = _pool.get()
    try:
        with connection.cursor() as cursor:
            cursor.execute("select repeat('x', 200) from generate_series(1, 1)")
            text: str = cursor.fetchone()[0]
    finally:
        _pool.put(connection)
    return text.encode()


def over_psycopg(environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
    """Ask PostgreSQL by psycopg 3."""
    import psycopg

    return _answer(start_response, _query(psycopg.connect))


def over_psycopg2(environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
    """Ask PostgreSQL by psycopg2; gevent gets the callback that it is usually given, and waits in Python."""
    psycopg2: Any = importlib.import_module("psycopg2")
    if "gevent" in sys.modules and not psycopg2.extensions.get_wait_callback():
        psycopg2.extensions.set_wait_callback(_wait_in_gevent)
    return over_psycopg2_unchanged(environ, start_response)


def over_psycopg2_unchanged(environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
    """The same program for all layers, which does not know of gevent: there, psycopg2 waits in C."""
    return _answer(start_response, _query(importlib.import_module("psycopg2").connect))


def _wait_in_gevent(connection: Any) -> None:
    from gevent.socket import wait_read, wait_write

    extensions: Any = importlib.import_module("psycopg2.extensions")
    waits = {extensions.POLL_READ: wait_read, extensions.POLL_WRITE: wait_write}
    while (state := connection.poll()) != extensions.POLL_OK:
        waits[state](connection.fileno())
