"""duckdb: statements compute, and wait for each other, in C, for milliseconds at least.

What several calls on one connection at once may do is duckdb's to say: each call has a native thread, not the
connection.  A statement may read variables of the program by their names, in the frame that calls: on its
native thread a call has one with the same variables below it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from greenify.green._foreign import hand_over_interruptibly, run_back
from greenify.libraries.record import Library
from greenify.libraries.remedies import handed_over, like

__all__ = ["LIBRARY"]

_NAME = "_greenify_call"
_CALL = compile(f"{_NAME}()", "<duckdb on a native thread>", "eval")


def _caller() -> FrameType | None:
    """The frame of the program that has called duckdb."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != "duckdb" and not str(name).startswith("duckdb."):
            return frame
        frame = frame.f_back
    return None


def _below(frame: FrameType | None, call: Callable[[], Any]) -> Callable[[], Any]:
    """`call`, in a frame that has the variables of `frame`."""
    if frame is None:
        return call
    return partial(eval, _CALL, frame.f_globals, {**frame.f_locals, _NAME: call})


def _of_connection(original: Any) -> Any:
    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        call = _below(_caller(), partial(original, self, *args, **kwargs))
        return hand_over_interruptibly(self.interrupt, call)

    return like(original, twin)


def _of_module(original: Any) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        call = _below(_caller(), partial(original, *args, **kwargs))
        return hand_over_interruptibly(sys.modules["_duckdb"].interrupt, call)

    return like(original, twin)


def _of_result(original: Any) -> Any:
    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return hand_over_interruptibly(_nothing, original, self, *args, **kwargs)

    return like(original, twin)


def _nothing() -> None:
    pass


def _create_function(original: Any) -> Any:
    """The function runs in the thread that runs the statement."""

    def twin(self: Any, name: str, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return original(self, name, run_back(function), *args, **kwargs)

    return like(original, twin)


# Of connections, and of the module for its own connection.
_STATEMENTS = (
    "execute", "executemany", "append", "begin", "commit", "rollback", "checkpoint", "complete", "abort",
    "close", "fetchone", "fetchmany", "fetchall", "df", "fetchdf", "fetch_df", "fetch_df_chunk",
    "fetchnumpy", "install_extension", "load_extension",
)  # fmt: skip
_QUERIES = (
    "query", "sql", "from_query", "_submit", "read_csv", "read_json", "read_parquet", "to_arrow_table",
)  # fmt: skip
_RESULTS = ("arrow_table", "close", "df", "drain", "fetchall", "fetchmany", "fetchnumpy", "to_box")


LIBRARY = Library(
    package="duckdb",
    tested="2.0",
    replace={
        "_duckdb": {"connect": handed_over, **{f"{name}?": _of_module for name in _STATEMENTS}},
        "_duckdb:DuckDBPyConnection": {
            **{f"{name}?": _of_connection for name in (*_STATEMENTS, *_QUERIES)},
            "create_function": _create_function,
        },
        "_duckdb:RelationResult": {f"{name}?": _of_result for name in _RESULTS},
        "_duckdb:Appender": {f"{name}?": _of_result for name in ("append_rows", "flush")},
    },
    stays={
        "duckdb before 2.0": "has no RelationResult: greenify.offload",
        "a function in Python that duckdb calls on a thread of its own": "waits there",
    },
)
