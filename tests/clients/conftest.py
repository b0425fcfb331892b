"""Fixtures: servers with good and bad certificates, and the ways to run a client."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.clients.server import HTTPServer, full_listener, serving
from tests.support import run_python

SCRIPTS = Path(__file__).resolve().parent / "scripts"

# Loads the modules that clients use, and takes references to their parts, before the patch.
LATE = """
    import runpy, sys
    import concurrent.futures, http.client, queue, select, socket, ssl, threading, time
    import requests, requests.adapters, urllib3, urllib3.util.ssl_

    import greenify
    greenify.patch_all()

    del sys.argv[0]
    sys.path[0] = sys.argv[1]
    del sys.argv[1]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""

Client = Callable[..., Any]


@pytest.fixture(params=["threads", "launcher", "late patch"])
def client(request: pytest.FixtureRequest) -> Client:
    """Run one scenario in a child and return its result: `client("basics", "get", url=...)`.

    A scenario is a function in `scripts/`, called with the keyword arguments. It has no idea how it
    is run: with real threads (which shows that the scenario itself is right), under the launcher,
    or patched after everything was imported.
    """

    def run(script: str, scenario: str, timeout: float = 60, **arguments: Any) -> Any:
        path = SCRIPTS / f"{script}.py"
        words = [scenario, json.dumps(arguments)]
        if request.param == "late patch":
            done = run_python(
                LATE, path, SCRIPTS, *words, greenify=False, timeout=timeout, check=True
            )
        else:
            green = request.param == "launcher"
            done = run_python(path, *words, greenify=green, timeout=timeout, check=True)
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A server without listeners yet, new for each test: what it saw is of this test alone."""
    with serving() as server:
        yield server


@pytest.fixture
def http(server: HTTPServer) -> str:
    return f"http://localhost:{server.listen()}"


@dataclass(frozen=True)
class TLS:
    """Addresses of one server with different certificates, and the authority to trust."""

    ca: str
    good: str
    wrong_host: str
    expired: str
    untrusted: str


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, ssl.SSLContext]]:
    authority = trustme.CA()
    ca_file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    leaves = {
        "good": authority.issue_cert("localhost"),
        "wrong_host": authority.issue_cert("elsewhere.example"),
        "expired": authority.issue_cert("localhost", not_before=now - 2 * day, not_after=now - day),
        "untrusted": trustme.CA().issue_cert("localhost"),
    }
    contexts = {}
    for name, leaf in leaves.items():
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(contexts[name])
    return str(ca_file), contexts


@pytest.fixture
def tls(server: HTTPServer, certificates: tuple[str, dict[str, ssl.SSLContext]]) -> TLS:
    ca_file, contexts = certificates
    listeners = {
        name: f"https://localhost:{server.listen(context)}" for name, context in contexts.items()
    }
    return TLS(ca=ca_file, **listeners)


@pytest.fixture
def full_port() -> Iterator[int]:
    with full_listener() as port:
        yield port


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that refuses connections: it is bound, so nobody else gets it, but does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
