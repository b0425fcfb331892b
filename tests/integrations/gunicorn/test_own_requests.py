"""The requests of gunicorn's own tests of its parsers, valid and smuggling ones, sent to a real server.

What its thread worker answers is what ours has to answer, with either parser, in one piece and byte by byte.
"""

from __future__ import annotations

import re
import socket
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn.config import Config

from tests.integrations.gunicorn.servers import (
    GREENIFY,
    Server,
    all_of,
    both_parsers,
    needs_gunicorn,
    serving,
)
from tests.integrations.gunicorn.sources import needs_sources, unpack

pytestmark = [needs_gunicorn, needs_sources]

# What only gunicorn's parser in Python knows: with the other it refuses to start.
PYTHON_ONLY = {"permit_obsolete_folding", "strip_header_spaces"}

PROGRAM = """
def app(environ, start_response):
    seen = {
        name: value
        for name, value in environ.items()
        if name.startswith(("HTTP_", "CONTENT_", "REQUEST_")) or name in ("RAW_URI", "wsgi.url_scheme")
    }
    body = repr((sorted(seen.items()), environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

Settings = tuple[tuple[str, str], ...]


def changed(cfg: Config) -> Settings:
    """The settings that differ from the defaults, as lines of a gunicorn.conf.py would have them."""
    plain = Config()
    found = []
    for name, setting in cfg.settings.items():
        value = setting.get()
        if value != plain.settings[name].get() and not callable(value):
            found.append((name, repr(",".join(value) if isinstance(value, list) else value)))
    return tuple(found)


def requests(here: Path) -> dict[Settings, dict[str, bytes]]:
    """The requests by name, in groups that a server with one configuration can answer."""
    unpack(here, "tests/requests")
    groups: dict[Settings, dict[str, bytes]] = defaultdict(dict)
    for path in sorted(here.glob("tests/requests/*/*.http")):
        # The format is that of gunicorn's tests/treq.py.
        data = path.read_bytes().replace(b"\n", b"").replace(b"\\r\\n", b"\r\n")
        data = data.replace(b"\\0", b"\0").replace(b"\\n", b"\n").replace(b"\\t", b"\t")
        data = re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), data)
        names: dict[str, Any] = {"cfg": Config(), "uri": str}
        exec(path.with_suffix(".py").read_text(), names)
        groups[changed(names["cfg"])][f"{path.parent.name}/{path.stem}"] = data
    return groups


def answers(server: Server, sent: bytes, piece: int) -> list[bytes]:
    """What comes back that does not depend on the time, nor on how much was read at once."""
    with server.connect() as client:
        # It may have closed after a part of what is wrong.
        with suppress(BrokenPipeError, ConnectionResetError):
            for start in range(0, len(sent), piece):
                client.sendall(sent[start : start + piece])
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        data = all_of(client)
    found = []
    for answer in re.split(rb"(?=HTTP/1\.1 \d\d\d )", data):
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.partition(b"\r\n")[0]
        found.append(status + body if b" 200 " in status else status)
    return found


@both_parsers
def test_are_answered_as_by_threads(tmp_path: Path, parser: tuple[str, ...]) -> None:
    groups = requests(tmp_path)
    assert sum(map(len, groups.values())) > 50
    for number, (settings, group) in enumerate(groups.items()):
        if "fast" in parser and PYTHON_ONLY.intersection(dict(settings)):
            continue
        found: list[dict[str, list[bytes]]] = []
        for name, worker, piece in (
            ("threads", ("-k", "gthread", "--threads", "4"), 1 << 20),
            ("ours", ("-k", GREENIFY), 1 << 20),
            ("bytes", ("-k", GREENIFY), 1),
        ):
            here = tmp_path / f"{number}-{name}"
            here.mkdir()
            lines = [f"{setting} = {value}\n" for setting, value in settings]
            (here / "gunicorn.conf.py").write_text("".join(lines))
            options = (*worker, *parser, "--keep-alive", "1")
            with serving(here, *options, program=PROGRAM) as server:
                found.append({name: answers(server, sent, piece) for name, sent in group.items()})
        threads, ours, in_bytes = found
        assert ours == threads, settings
        assert in_bytes == threads, settings
