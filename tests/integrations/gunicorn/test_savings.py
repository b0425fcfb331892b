"""What requests are spared of under the worker, held against gunicorn's own classes."""

from __future__ import annotations

import gc
import io
import logging
import os
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import body, message, parser, wsgi

from greenify.integrations.gunicorn import savings


class _Request:
    def __init__(self, method: str = "GET", version: tuple[int, int] = (1, 1)) -> None:
        self.method = method
        self.version = version

    def should_close(self) -> bool:
        return False


class _Wire:
    """Keeps what is sent, call by call."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)


class _Broken(_Wire):
    def sendall(self, data: bytes) -> None:
        raise BrokenPipeError


_Answer = Callable[[Any], object]


def _started(response: Any, *headers: tuple[str, str], status: str = "200 OK") -> Any:
    return response.start_response(status, list(headers))


def _one_piece(response: Any) -> None:
    _started(response, ("Content-Length", "4"))
    response.write(b"four")


def _pieces(response: Any) -> None:
    _started(response, ("Content-Length", "4"))
    response.write(b"fo")
    response.write(b"ur")


def _too_long(response: Any) -> None:
    _started(response, ("Content-Length", "4"))
    response.write(b"fourteen")
    response.write(b"more")


def _chunked(response: Any) -> None:
    _started(response)
    response.write(b"one")
    response.write(b"two")


def _empty_first(response: Any) -> None:
    _started(response)
    response.write(b"")
    response.write(b"two")


def _by_the_callable(response: Any) -> None:
    write = _started(response, ("Content-Type", "text/plain"))
    write(b"one")


def _nothing(response: Any) -> None:
    _started(response, ("Content-Length", "0"))


def _without_body(response: Any) -> None:
    _started(response, status="204 No Content")
    response.write(b"dropped")


def _text(response: Any) -> None:
    _started(response, ("Content-Length", "4"))
    with pytest.raises(TypeError, match="is not a byte"):
        response.write("four")


def _closing(response: Any) -> None:
    response.force_close()
    _started(response)
    response.write(b"last")


@pytest.mark.parametrize(
    "answer",
    [
        _one_piece,
        _pieces,
        _too_long,
        _chunked,
        _empty_first,
        _by_the_callable,
        _nothing,
        _without_body,
        _text,
        _closing,
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
def test_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, answer: _Answer, method: str, version: tuple[int, int]
) -> None:
    monkeypatch.setattr(util, "http_date", lambda: "today")
    wires = []
    for cls in wsgi.Response, savings.JoinedResponse:
        wire = _Wire()
        response = cls(_Request(method, version), wire, Config())
        answer(response)
        assert response.sock is wire
        response.close()
        wires.append(wire.sent)
    plain, joined = wires
    assert b"".join(joined) == b"".join(plain)
    assert len(joined) <= len(plain)


def test_the_head_leaves_with_the_first_piece() -> None:
    wire = _Wire()
    response = savings.JoinedResponse(_Request(), wire, Config())
    _started(response, ("Content-Length", "4"))
    assert not wire.sent
    response.write(b"fo")
    assert len(wire.sent) == 1
    assert wire.sent[0].endswith(b"\r\n\r\nfo")
    response.write(b"ur")
    assert wire.sent[1:] == [b"ur"]


def test_a_peer_that_has_gone() -> None:
    wire = _Broken()
    response = savings.JoinedResponse(_Request(), wire, Config())
    _started(response, ("Content-Length", "4"))
    with pytest.raises(BrokenPipeError):
        response.write(b"four")
    assert response.sock is wire


def test_settings_are_what_they_were() -> None:
    cfg, plain = Config(), Config()
    for one in cfg, plain:
        one.set("bind", "127.0.0.1:1")
        one.set("proc_name", "x")
    savings.settle(cfg)
    for name in plain.settings:
        found, expected = getattr(cfg, name), getattr(plain, name)
        # A function of a class is another one for each configuration.
        assert found == expected or getattr(found, "__func__", found) == getattr(
            expected, "__func__", 0
        )
    assert cfg.address == plain.address
    assert "keepalive" in vars(cfg)
    cfg.set("keepalive", 7)
    cfg.set("bind", "127.0.0.1:2")
    assert cfg.keepalive == 7
    assert cfg.address == [("127.0.0.1", 2)]
    with pytest.raises(AttributeError, match="Invalid access"):
        cfg.keepalive = 8
    with pytest.raises(AttributeError, match="No configuration setting"):
        cfg.keepalife  # noqa: B018


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(util, "http_date", util.http_date)
    monkeypatch.setattr(wsgi, "Response", wsgi.Response)
    monkeypatch.setattr(wsgi, "base_environ", wsgi.base_environ)
    monkeypatch.setattr(wsgi, "os", os)
    monkeypatch.setattr(message.Message, "parse_headers", message.Message.parse_headers)
    if hasattr(parser.Parser, "finish_body"):
        monkeypatch.setattr(parser.Parser, "finish_body", parser.Parser.finish_body)
    if hasattr(message, "_ip_in_allow_list"):
        monkeypatch.setattr(message, "_ip_in_allow_list", message._ip_in_allow_list)
    savings.save(Config())
    yield


def test_the_date_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    plain = util.http_date

    def make(timestamp: float) -> str:
        made.append(timestamp)
        return str(plain(timestamp))

    date = savings._Date(make)
    now = [1e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert date() == plain(1e9)
    now[0] += 0.9
    assert date() == plain(1e9)
    assert len(made) == 1
    now[0] += 0.2
    assert date() == plain(1e9 + 1)
    now[0] -= 100  # the clock is set back
    assert date() == plain(now[0])
    assert date(0.0) == plain(0.0)


@pytest.mark.usefixtures("saving")
@pytest.mark.skipif(
    not hasattr(message, "_ip_in_allow_list"), reason="this gunicorn has no _ip_in_allow_list"
)
def test_trusted_peers() -> None:
    cfg = Config()
    cfg.set("forwarded_allow_ips", "10.0.0.0/8,::1")
    networks = cfg.forwarded_allow_networks()
    other = Config().forwarded_allow_networks()
    for _ in range(2):
        for ip, answer in ("10.1.2.3", True), ("11.1.2.3", False), ("::1", True), ("", False):
            allowed = cfg.forwarded_allow_ips
            assert message._ip_in_allow_list(ip, allowed, networks) is answer
        assert not message._ip_in_allow_list("10.1.2.3", ["127.0.0.1", "::1"], other)
        assert message._ip_in_allow_list("10.1.2.3", ["*"], [])
    for number in range(savings._PEERS + 10):  # more than are remembered
        ip = f"10.0.{number >> 8}.{number & 255}"
        assert message._ip_in_allow_list(ip, cfg.forwarded_allow_ips, networks)


class _Messages:
    """Stands for gunicorn's parser: it has read the head of one message."""

    def __init__(self, body: Any) -> None:
        self.mesg: Any = types.SimpleNamespace(body=body)


class _Unread:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked = 0

    def read(self, size: int | None = None, **_options: object) -> bytes:
        self.asked += 1
        size = len(self.data) if size is None else size
        data, self.data = self.data[:size], self.data[size:]
        return data

    def unread(self, data: bytes) -> None:
        self.data = data + self.data


@pytest.mark.skipif(
    not hasattr(parser.Parser, "finish_body"), reason="this gunicorn's parser has no finish_body"
)
@pytest.mark.parametrize("length", [0, 1, 1024, 5000])
@pytest.mark.parametrize("read", [0, 1, 1024, 5000])
def test_what_is_left_of_a_body_is_discarded(length: int, read: int) -> None:
    plain = parser.Parser.finish_body
    for finish in plain, savings._finishing(plain):
        unread = _Unread(b"x" * length + b"GET")
        reading = body.Body(body.LengthReader(unread, length))
        messages = _Messages(reading)
        messages.unreader = unread  # type: ignore[attr-defined]
        assert reading.read(read) == b"x" * min(read, length)
        # Before 26, gunicorn's says nothing.
        assert finish(messages) in (True, None)
        assert unread.data == b"GET"
        asked = unread.asked
        assert finish(messages) in (True, None)
        assert unread.asked == asked
        if hasattr(reading, "failed"):
            reading.failed = True  # nobody knows where the next request begins
            assert finish(messages) is False
            if finish is not plain:
                del reading.failed  # as before gunicorn 27
                assert finish(messages) is True
        messages.mesg = None
        assert finish(messages) in (True, None)


def test_errors_are_written_where_the_log_goes_at_that_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = logging.getLogger("gunicorn.error")
    streams = [io.StringIO() for _ in range(3)]
    handlers = [logging.StreamHandler(stream) for stream in streams]
    monkeypatch.setattr(log, "handlers", handlers[:1])
    cfg = Config()
    cfg.set("errorlog", "somewhere")
    errors = savings.LateErrors(cfg)
    monkeypatch.setattr(log, "handlers", handlers[1:])
    errors.write("written")
    assert [stream.getvalue() for stream in streams] == ["", "written", "written"]
    assert isinstance(errors, wsgi.WSGIErrorsWrapper)
    errors.close()  # by one request; others write here, too
    errors.write("again")
    errors.flush()
    assert not errors.closed
    assert streams[2].getvalue() == "writtenagain"


def _environment() -> dict[str, Any]:
    request: Any = _Request()
    vars(request).update(
        body=None, query="", uri="/base/x", path="/base/x", scheme="http", headers=[],
        proxy_protocol_info=None, _expected_100_continue=False,
    )  # fmt: skip
    environ: dict[str, Any] = wsgi.create(request, _Wire(), ("1", 2), ("3", 4), Config())[1]
    errors = environ.pop("wsgi.errors")
    assert isinstance(errors, wsgi.WSGIErrorsWrapper)
    del environ["gunicorn.socket"]
    environ.pop("wsgi.early_hints", None)  # older ones have none
    return environ


@pytest.mark.parametrize("name", [None, "", "/base", "/elsewhere"])
def test_the_environment_is_the_same(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str | None
) -> None:
    monkeypatch.delenv("SCRIPT_NAME", raising=False)
    if name is not None:
        monkeypatch.setenv("SCRIPT_NAME", name)
    found = []
    for saving in False, True:
        if saving:
            request.getfixturevalue("saving")
        try:
            found.append(repr(_environment()))
        except Exception as exc:
            found.append(repr(exc))
    assert found[0] == found[1]
    assert ("ConfigurationProblem" in found[0]) == (name == "/elsewhere")
    assert ("'PATH_INFO': '/x'" in found[0]) == (name == "/base")


@pytest.mark.usefixtures("saving")
def test_each_request_has_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRIPT_NAME", raising=False)
    one = _environment()
    one.update({"wsgi.version": None, "mine": 1})
    assert _environment()["wsgi.version"] == (1, 0)
    assert "mine" not in _environment()


@pytest.mark.usefixtures("saving")
def test_the_module_of_the_system_is_all_there() -> None:
    assert wsgi.os.lseek is os.lseek
    assert wsgi.os.environ["PATH"] == os.environ["PATH"]
    assert wsgi.os.environ.get("PATH") == os.environ["PATH"]
    assert wsgi.os.environ.get("SCRIPT_NAME_", 1) == 1
    assert wsgi.os.environ.copy() == os.environ.copy()
    assert dict(wsgi.os.environ) == dict(os.environ)
    assert "PATH" in wsgi.os.environ
    assert "SCRIPT_NAME_" not in wsgi.os.environ
    assert len(wsgi.os.environ) == len(os.environ)


@pytest.mark.usefixtures("saving")
def test_the_environment_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRIPT_NAME", raising=False)
    assert _environment()["SCRIPT_NAME"] == ""
    monkeypatch.setenv("SCRIPT_NAME", "/base")
    assert _environment()["SCRIPT_NAME"] == "/base"
    monkeypatch.delenv("SCRIPT_NAME")
    assert _environment()["SCRIPT_NAME"] == ""
    # Another mapping, as some tests put there.
    monkeypatch.setattr(os, "environ", {"SCRIPT_NAME": "/base"})
    assert _environment()["SCRIPT_NAME"] == "/base"
    monkeypatch.setattr(os, "environ", {})
    assert _environment()["SCRIPT_NAME"] == ""


_FIELDS = {
    "plain": b"Host: a\r\nUser-Agent: b\r\nAccept: */*\r\n",
    "another": b"Host: a\r\nCookie: c=d\r\n",
    "none": b"",
    "expecting": b"Host: a\r\nExpect: 100-continue\r\n",
    "by a proxy": b"Host: a\r\nX-Forwarded-Proto: https\r\n",
    "two schemes": b"Host: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n",
    "dropped": b"Host: a\r\nX_Under: score\r\n",
    "a body": b"Host: a\r\nContent-Length: 4\r\n",
    "in chunks": b"Host: a\r\nTransfer-Encoding: chunked\r\n",
    "closing": b"Host: a\r\nConnection: close\r\n",
    "two hosts": b"Host: a\r\nHost: b\r\n",
    "no name": b": a\r\n",
    "a space": b"Host : a\r\n",
    "folded": b"Host: a\r\n b\r\n",
}
_BODIES = {"a body": b"body", "in chunks": b"4\r\nbody\r\n0\r\nTrailer-Of: mine\r\n\r\n"}
_SEQUENCES = [
    *([name] * 3 for name in _FIELDS),
    *(["plain", name, "plain", "plain", name, name] for name in _FIELDS),
]


def _requests(cfg: Config, sent: list[bytes]) -> list[Any]:
    """What gunicorn makes of requests on one connection."""
    found: list[Any] = []
    messages = parser.RequestParser(cfg, iter(sent), ("127.0.0.1", 1))
    try:
        for request in messages:
            found.append(
                (
                    *(request.method, request.uri, request.version, list(request.headers)),
                    *(request.scheme, getattr(request, "_expected_100_continue", None)),
                    *(request.body.read(), list(request.trailers), request.should_close()),
                )
            )
            request.headers.append(("CHANGED", "by the application"))
    except Exception as exc:
        found.append(repr(exc))
    return found


@pytest.mark.parametrize("names", _SEQUENCES, ids="-".join)
@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"GET / HTTP/1.0"])
def test_fields_as_those_before(
    request: pytest.FixtureRequest, names: list[str], start: bytes
) -> None:
    cfg = Config()
    if "http_parser" in cfg.settings:
        cfg.set("http_parser", "python")
    sent = [start + b"\r\n" + _FIELDS[name] + b"\r\n" + _BODIES.get(name, b"") for name in names]
    plain = _requests(cfg, sent)
    request.getfixturevalue("saving")
    assert _requests(cfg, sent) == plain


def test_the_same_fields_of_another_request(request: pytest.FixtureRequest) -> None:
    cfg = Config()
    if "http_parser" in cfg.settings:
        cfg.set("http_parser", "python")
    fields = b"\r\n" + _FIELDS["expecting"] + b"\r\n"
    starts = (b"GET / HTTP/1.0", b"GET / HTTP/1.1", b"PUT / HTTP/1.1", b"GET /x HTTP/1.0")
    sent = [start + fields for start in starts]
    plain = _requests(cfg, sent)
    request.getfixturevalue("saving")
    assert _requests(cfg, sent) == plain


def test_fields_are_parsed_once_while_they_are_the_same() -> None:
    parsed = []

    def parse_headers(self: Any, data: bytes, from_trailer: bool = False) -> list[Any]:
        parsed.append(data)
        return [data]

    parse = savings._comparing(parse_headers)
    unreader = types.SimpleNamespace()

    def ask(data: bytes, method: str = "GET", **more: Any) -> Any:
        one = types.SimpleNamespace(unreader=unreader, method=method, version=(1, 1))
        return parse(one, data, **more)

    for _ in range(5):
        assert ask(b"a") == [b"a"]
    assert parsed == [b"a"]
    ask(b"a", "PUT")
    ask(b"a", from_trailer=True)
    assert len(parsed) == 3
    # Who always sends other ones is not compared any more.
    for number in range(10):
        ask(b"%d" % number)
    parsed.clear()
    for _ in range(3):
        assert ask(b"a") == [b"a"]
    assert parsed == [b"a"] * 3


@pytest.mark.parametrize("before", [(700, 10, 10), (2000, 10, 10), (50_000, 20, 30), (0, 1, 1)])
def test_how_often_young_objects_are_looked_at(before: tuple[int, int, int]) -> None:
    usual = gc.get_threshold()
    try:
        gc.set_threshold(*before)
        savings.set_apart()
        assert gc.get_threshold() == ((2000, 10, 10) if before[0] == 700 else before)
        assert gc.get_freeze_count() > 5000
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
