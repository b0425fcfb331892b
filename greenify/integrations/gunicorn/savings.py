"""What gunicorn computes anew for each request and need not, with the same bytes on the wire.

What is exchanged here is exchanged in the worker's process only: the master has forked it.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import message, parser, wsgi
from gunicorn.http.body import Body, LengthReader

__all__ = ["JoinedResponse", "save", "set_apart", "settle"]

# After how many new objects the youngest are collected: by default up to CPython 3.12, and from 3.13 on.
_OFTEN, _SELDOM = 700, 2000

# After so many heads in a row that were unlike the one before, the fields of a connection's are not compared.
_UNLIKE = 4

#: Of how many peers it is remembered whether they are trusted proxies.
_PEERS = 4096


def save(cfg: Config) -> None:
    """Let requests cost less in this process from now on.

    Args:
        cfg: the worker's.
    """
    settle(cfg)
    wsgi.Response = JoinedResponse
    wsgi.base_environ = _alike(wsgi.base_environ, cfg)
    wsgi.os = _Os()
    util.http_date = _Date(util.http_date)
    # Private, and not in every version of gunicorn.
    if hasattr(parser.Parser, "finish_body"):
        parser.Parser.finish_body = _finishing(parser.Parser.finish_body)
    message.Message.parse_headers = _comparing(message.Message.parse_headers)
    if hasattr(message, "_ip_in_allow_list"):
        message._ip_in_allow_list = _remembered(message._ip_in_allow_list)


class _Date:
    """gunicorn's date of a header, made once a second."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._second = -1
        self._date = ""

    def __call__(self, timestamp: float | None = None) -> str:
        if timestamp is not None:
            return str(self._make(timestamp))
        second = int(time.time())
        if second != self._second:
            # In this order, for those who are in here meanwhile.
            self._date, self._second = self._make(second), second
        return self._date


def _remembered(is_allowed: Any) -> Any:
    answers: dict[tuple[str, ...], bool] = {}

    def in_allow_list(ip: str, allowed: Iterable[str], networks: Iterable[Any]) -> bool:
        # The networks are what the configuration has made of the list.
        key = (ip, *allowed)
        answer = answers.get(key)
        if answer is None:
            if len(answers) >= _PEERS:
                answers.clear()
            answer = answers[key] = bool(is_allowed(ip, allowed, networks))
        return answer

    return in_allow_list


def _finishing(finish_body: Any) -> Any:
    def finish(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.mesg is not None:
            body = self.mesg.body
            if body.__class__ is Body:
                reader = body.reader
                if reader.__class__ is LengthReader and reader.length == 0:
                    # What there was has been read, or there was nothing.  gunicorn 26 notes no failures.
                    if not getattr(body, "failed", False):
                        return True
        return finish_body(self, *args, **kwargs)

    return finish


class _Fields:
    """The header fields of a connection's last request, and what gunicorn has made of them."""

    __slots__ = ("headers", "key", "unlike")

    def __init__(self) -> None:
        self.key: Any = None
        self.headers: list[tuple[str, str]] = []
        self.unlike = 0  # how many heads in a row were unlike the one before


def _comparing(parse_headers: Any) -> Any:
    """A client sends the same fields with each request of a connection, as a rule; to parse one takes 1.5 us.

    Only what had no other effect on the request than its result is used again: neither a body that is to be
    asked for (``Expect``) nor a scheme that a proxy has set.
    """

    def parse(self: Any, data: bytes, from_trailer: bool = False) -> Any:
        if from_trailer:
            return parse_headers(self, data, from_trailer)
        own = vars(self.unreader)
        fields: _Fields | None = own.get("_greenify_fields")
        if fields is None:
            fields = own["_greenify_fields"] = _Fields()
        elif fields.unlike >= _UNLIKE:
            return parse_headers(self, data, from_trailer)
        key = (data, getattr(self, "method", None), self.version)
        if fields.key == key:
            fields.unlike = 0
            return fields.headers.copy()
        fields.key = None
        fields.unlike += 1
        before = vars(self).copy()
        headers = parse_headers(self, data, from_trailer)
        if vars(self) == before:
            fields.headers = headers.copy()
            fields.key = key
        return headers

    return parse


def _alike(base_environ: Any, cfg: Config) -> Any:
    """What is the same in the environments of all requests, with one ``wsgi.errors``."""
    base = {**base_environ(cfg), "wsgi.errors": LateErrors(cfg)}
    # gunicorn, or the application, puts into it what is the request's own.
    return lambda cfg: base.copy()


class LateErrors(wsgi.WSGIErrorsWrapper):  # type: ignore[misc]
    """``wsgi.errors`` for all requests, which looks up where to write when something is written.

    One for each request would be closed at its end, too: 2 us for what most never use.
    """

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg

    @property
    def streams(self) -> list[Any]:
        """Where to write now: gunicorn may have opened its log anew."""
        errors: Any = wsgi.WSGIErrorsWrapper(self._cfg)
        return errors.streams  # type: ignore[no-any-return]

    def close(self) -> None:
        """Nothing: other requests write here, too."""


class _Os:
    """Stands for the module in the one that makes the environment of each request."""

    def __init__(self) -> None:
        self.environ = _Environ()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class _Environ(Mapping[str, str]):
    """``os.environ``, where what gunicorn asks for with each request is found without an exception."""

    def get(self, name: str, default: Any = None) -> Any:
        environ = os.environ
        # Private, and a program may have put something else there.
        data = getattr(environ, "_data", None)
        if data is not None and name == "SCRIPT_NAME" and b"SCRIPT_NAME" not in data:
            return default
        return environ.get(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(os.environ, name)

    def __getitem__(self, name: str) -> str:
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


def set_apart() -> None:
    """Let the collector leave alone what is there now, which is the program: it lives as long as the worker.

    Else each full collection goes through it again, 50,000 objects and more: a tenth of a short request's
    time.  `gc.unfreeze` undoes it.  Young objects are looked at as seldom as CPython 3.13 does by itself,
    unless the application has said how often.
    """
    gc.collect()
    gc.freeze()
    young, *older = gc.get_threshold()
    if young == _OFTEN:
        gc.set_threshold(_SELDOM, *older)


class _Held(list[bytes]):
    """Stands for the socket while the head and the first piece of an answer are made."""

    sendall = list.append


class JoinedResponse(wsgi.Response):  # type: ignore[misc]
    """gunicorn's answer, whose head leaves with the first piece of the body instead of before it.

    A system call less, a fifth of an answer that is made at once, and the peer is woken once.
    """

    sock: Any

    def write(self, arg: bytes) -> None:
        """Send a piece of the body, as WSGI asks: it is on its way when this returns.

        Args:
            arg: the piece; empty, only the head is sent.

        Raises:
            TypeError: `arg` is not bytes; the head has been sent then.
            OSError: from the socket.
        """
        if self.headers_sent:
            super().write(arg)
            return
        sock = self.sock
        held = self.sock = _Held()
        try:
            super().write(arg)
        finally:
            self.sock = sock
            if held:
                sock.sendall(b"".join(held))


def settle(cfg: Config) -> None:
    """Have the settings found as attributes: gunicorn looks up some twenty per request by way of a method.

    Args:
        cfg: of a worker.  What its `set` changes later is seen.
    """
    values = {name: setting.get() for name, setting in cfg.settings.items()}
    # What the class has as a property is computed from settings.
    values = {name: value for name, value in values.items() if not hasattr(type(cfg), name)}
    plain = cfg.set

    def set_setting(name: str, value: Any) -> None:
        plain(name, value)
        if name in values:
            cfg.__dict__[name] = cfg.settings[name].get()

    cfg.__dict__.update(values, set=set_setting)
