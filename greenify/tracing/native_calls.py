"""Calls that are handed to native threads, shown where they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from greenify.core.workers import Workers
from greenify.green._foreign.calls import Call
from greenify.identity import current_thread_greenlet
from greenify.inspect.names import function_name, name_of
from greenify.tracing.record import Record

__all__ = ["leave", "watch"]

_run = Call.run
_submit = Workers._submit


def watch(record: Record) -> None:
    """Have such calls written down from now on."""

    def run(call: Call) -> None:
        function = call._function
        if function is None or call._left:
            _run(call)
            return
        record.call(function_name(function), name_of(call._caller), partial(_run, call))

    def submit(workers: Workers, job: Any) -> None:
        function = job.function
        if getattr(function, "__func__", None) is not run:
            # What `Workers.run` has been given; a `Call` shows itself.
            name = function_name(function)
            caller = name_of(current_thread_greenlet())
            job.function = _shown(record, name, caller, function)
        _submit(workers, job)

    # The classes' own, so that nothing is asked while there is no trace.
    _put(run, submit)


def _shown(
    record: Record, name: str, caller: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    def shown(*args: Any, **kwargs: Any) -> Any:
        return record.call(name, caller, partial(function, *args, **kwargs))

    return shown


def leave() -> None:
    """Undo `watch`."""
    _put(_run, _submit)


def _put(run: Any, submit: Any) -> None:
    Call.run = run  # type: ignore[method-assign]
    Workers._submit = submit  # type: ignore[method-assign]
