"""confluent-kafka: librdkafka's threads do the work, and every call waits in C for what they have done.

A client has two native threads of its own: one for what calls back (poll, consume, flush, close), in
portions, so that whoever is killed or interrupted can leave; one for the rest.  What has been received for
somebody who has left is kept for the next one.  The program's callbacks run in the green thread that polls.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from greenify.green._foreign import OwnThread, run_back
from greenify.libraries.record import Library
from greenify.libraries.remedies import handed_over, like

__all__ = ["LIBRARY"]

_monotonic = time.monotonic

# How long a call stays in C at a time, in seconds: whoever is killed meanwhile leaves afterwards.
_PORTION = 0.2


def _called_back(values: dict[Any, Any]) -> dict[Any, Any]:
    """Arguments, or a configuration, with the program's functions to be run in its own threads."""
    return {
        key: run_back(value) if callable(value) and not isinstance(value, type) else value
        for key, value in values.items()
    }


def _positional(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_called_back(dict(enumerate(args))).values())


class _Client:
    """What the twins of all classes of clients have."""

    def _greenify_init(self) -> None:
        self._polling = OwnThread()
        self._calling = OwnThread()
        self._kept: deque[Any] = deque()

    def _in_portions(
        self, step: Callable[[float], Any], nothing: Callable[[Any], bool], timeout: Any
    ) -> Any:
        """Call ``step(seconds)`` until it gives something or the time is over.

        Args:
            nothing: whether what it gave is to be waited on.
            timeout: in seconds; None and negative ones mean without limit.
        """
        kept = self._kept

        def run(seconds: float) -> None:
            kept.append(step(seconds))

        deadline = None if timeout is None or timeout < 0 else _monotonic() + timeout
        while True:
            if kept:
                result = kept.popleft()
            else:
                left = _PORTION if deadline is None else deadline - _monotonic()
                self._polling.call(run, max(0.0, min(left, _PORTION)))
                if not kept:
                    continue  # another thread has taken it
                result = kept.popleft()
            if not nothing(result) or (deadline is not None and _monotonic() >= deadline):
                return result


def _plain(base: Any, name: str) -> Any:
    original = getattr(base, name)

    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._calling.call(original, self, *_positional(args), **_called_back(kwargs))

    return like(original, twin)


def _polls(base: Any, name: str) -> Any:
    """``poll(timeout)``: one message or None of a consumer, the number of events of a producer."""
    original = getattr(base, name)

    def twin(self: Any, timeout: Any = None) -> Any:
        if timeout is not None:
            timeout = float(timeout)
        return self._in_portions(lambda seconds: original(self, seconds), _falsy, timeout)

    return like(original, twin)


def _falsy(result: Any) -> bool:
    return not isinstance(result, BaseException) and (
        result is None or (type(result) in (int, list) and not result)
    )


def _consumes(base: Any, name: str) -> Any:
    original = getattr(base, name)

    def twin(self: Any, num_messages: int = 1, timeout: float = -1) -> Any:
        found: list[Any] = []
        deadline = None if timeout < 0 else _monotonic() + timeout

        def step(seconds: float) -> Any:
            return original(self, num_messages - len(found), seconds)

        while True:
            left = -1.0 if deadline is None else max(0.0, deadline - _monotonic())
            portion = self._in_portions(step, _falsy, left)
            found += portion if isinstance(portion, list) else [portion]
            if len(found) >= num_messages or (deadline is not None and _monotonic() >= deadline):
                return found

    return like(original, twin)


def _flushes(base: Any, name: str) -> Any:
    original = getattr(base, name)

    def twin(self: Any, timeout: Any = -1) -> Any:
        deadline = None if timeout is None or timeout < 0 else _monotonic() + timeout
        while True:
            left = _PORTION if deadline is None else max(0.0, deadline - _monotonic())
            remaining = self._polling.call(original, self, min(left, _PORTION))
            if not remaining or (deadline is not None and _monotonic() >= deadline):
                return remaining

    return like(original, twin)


def _ends(base: Any, name: str) -> Any:
    original = getattr(base, name)

    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._polling.call(original, self, *args, **kwargs)

    return like(original, twin)


def _told(base: Any, name: str) -> Any:
    """A method that does not wait, and takes functions to be called."""
    original = getattr(base, name)

    def twin(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return original(self, *_positional(args), **_called_back(kwargs))

    return like(original, twin)


_METHODS = {
    "Consumer": {
        "poll": _polls,
        "consume": _consumes,
        "subscribe": _told,
        "close": _ends,
        "commit": _plain,
        "committed": _plain,
        "seek": _plain,
        "get_watermark_offsets": _plain,
        "offsets_for_times": _plain,
        "list_topics": _plain,
        "cluster_id": _plain,
    },
    "Producer": {
        "poll": _polls,
        "flush": _flushes,
        "produce": _told,
        "produce_batch": _told,
        "close": _ends,
        "list_topics": _plain,
        "cluster_id": _plain,
        "init_transactions": _plain,
        "send_offsets_to_transaction": _plain,
        "commit_transaction": _plain,
        "abort_transaction": _plain,
    },
}


def _class_of(name: str) -> Callable[[Any], Any]:
    """The remedy that derives from a class in C."""

    def remedy(base: Any) -> Any:
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            self._greenify_init()
            args = tuple(_called_back(arg) if isinstance(arg, dict) else arg for arg in args)
            base.__init__(self, *args, **_called_back(kwargs))

        def __exit__(self: Any, *exc_info: Any) -> Any:
            # That of C does not ask for `close` and `flush`.
            if name == "Producer":
                self.flush()
            return self._polling.call(base.__exit__, self, *exc_info)

        body: dict[str, Any] = {
            "__init__": __init__,
            "__module__": base.__module__,
            "__qualname__": base.__qualname__,
            "__doc__": base.__doc__,
        }
        if hasattr(base, "__exit__"):
            body["__exit__"] = __exit__
        for method, make in _METHODS[name].items():
            if hasattr(base, method):
                body[method] = make(base, method)
        return type(base.__name__, (_Client, base), body)

    remedy.__qualname__ = _class_of.__qualname__
    return remedy


LIBRARY = Library(
    package="confluent-kafka",
    tested="2.16",
    replace={
        "confluent_kafka.cimpl": {
            "Consumer": _class_of("Consumer"),
            "Producer": _class_of("Producer"),
        },
        "confluent_kafka.admin:AdminClient": {
            "list_topics": handed_over,
            "list_groups": handed_over,
            "poll?": handed_over,
            "cluster_id?": handed_over,
        },
    },
    stays={
        "ShareConsumer": "a preview: hand its calls over with greenify.offload",
        "DeserializingConsumer and SerializingProducer, imported before the patch": (
            "they derive from the classes in C: patch first"
        ),
    },
)
