"""Calls into C that give up the interpreter lock: what looking after them costs where nothing waits."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from benchmarks.sample import Sample, lowest

__all__ = ["computing", "handed_over", "statements"]

_KIB = b"".join(b"%d lines of text\n" % number for number in range(100))[:1024]


def _handing_over(function: Callable[[], object]) -> Callable[[], object]:
    """The layer's own way to have `function` run on a native thread while the caller waits."""
    if "eventlet" in sys.modules:
        tpool = import_module("eventlet.tpool")
        return lambda: tpool.execute(function)
    if "gevent" in sys.modules:
        import gevent

        pool = gevent.get_hub().threadpool
        return lambda: pool.apply(function)
    if "greenify" in sys.modules:
        import greenify

        return greenify.offload(function)
    executor = ThreadPoolExecutor(20)
    return lambda: executor.submit(function).result()


def handed_over(operations: int, threads: int) -> Sample:
    """Calls that do next to nothing, each on a native thread."""
    call = _handing_over(os.getppid)

    def several(number: int) -> None:
        for _ in range(number):
            call()

    def at_once(number: int) -> None:
        everybody = [
            threading.Thread(target=several, args=(number // threads,)) for _ in range(threads)
        ]
        for thread in everybody:
            thread.start()
        for thread in everybody:
            thread.join()

    return lowest(operations, several if threads == 1 else at_once)


def statements(what: str, operations: int) -> Sample:
    """Statements of SQLite that find nothing locked: of a database in memory, or transactions on a file."""
    with tempfile.TemporaryDirectory() as folder:
        place = ":memory:" if what == "select" else str(Path(folder, "data"))
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("pragma synchronous = off")
        connection.execute("create table t (a integer primary key, b)")
        connection.execute("insert into t values (1, 'one')")

        def select(number: int) -> None:
            for _ in range(number):
                connection.execute("select b from t where a = ?", (1,)).fetchone()

        def update(number: int) -> None:
            for value in range(number):
                connection.execute("update t set b = ? where a = 1", (value,))

        try:
            return lowest(operations, {"select": select, "update": update}[what])
        finally:
            connection.close()


def computing(what: str, operations: int) -> Sample:
    """A KiB of text hashed, compressed or decompressed: too small to be handed over."""
    hashed, packed = hashlib.sha256(), zlib.compress(_KIB)

    # A loop for each, so that nothing else is called.
    def hash_once(number: int) -> None:
        for _ in range(number):
            hashlib.sha256(_KIB)

    def hash_update(number: int) -> None:
        for _ in range(number):
            hashed.update(_KIB)

    def compress(number: int) -> None:
        for _ in range(number):
            zlib.compress(_KIB)

    def decompress(number: int) -> None:
        for _ in range(number):
            zlib.decompress(packed)

    programs = {
        "hash": hash_once,
        "hash-update": hash_update,
        "compress": compress,
        "decompress": decompress,
    }
    return lowest(operations, programs[what])
