"""requests through a real proxy (proxy.py, a process of its own)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import TLS, Client
from tests.clients.server import HTTPServer
from tests.support import child_env


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The `host:port` of a proxy that wants the user `user` with the password `secret`."""
    directory = tmp_path_factory.mktemp("proxy")
    port_file = directory / "port"
    command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"]
    command += ["--port-file", str(port_file), "--data-dir", str(directory / "data")]
    command += ["--num-workers", "1", "--num-acceptors", "1", "--basic-auth", "user:secret"]
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(command, env=child_env(), stdout=log, stderr=log) as process,
    ):
        try:
            yield f"127.0.0.1:{wait_for_port(port_file, process)}"
        finally:
            process.terminate()


def wait_for_port(port_file: Path, process: subprocess.Popen[bytes]) -> int:
    """proxy.py writes its port into a file; connecting shows that it is ready."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        text = port_file.read_text() if port_file.exists() else ""
        if text.endswith("\n"):
            port = int(text)
            with socket.create_connection(("127.0.0.1", port), 30):
                return port
        time.sleep(0.02)
    raise AssertionError(f"the proxy did not start: {process.args!r}")


class TestProxy:
    def test_plain(self, client: Client, http: str, proxy: str) -> None:
        found = client("proxied", "get", url=http, proxy=f"http://user:secret@{proxy}")
        assert found == [200, "http"]

    def test_plain_without_password(
        self, client: Client, server: HTTPServer, http: str, proxy: str
    ) -> None:
        """Shows that the request does go to the proxy."""
        assert client("proxied", "get", url=http, proxy=f"http://{proxy}") == [407, None]
        assert not server.seen.requests

    def test_tunnel(self, client: Client, tls: TLS, proxy: str) -> None:
        through = f"http://user:secret@{proxy}"
        found = client("proxied", "get", url=tls.good, proxy=through, verify=tls.ca)
        assert found == [200, "https"]

    def test_tunnel_without_password(
        self, client: Client, server: HTTPServer, tls: TLS, proxy: str
    ) -> None:
        arguments = {"url": tls.good, "proxy": f"http://{proxy}", "verify": tls.ca}
        assert client("proxied", "failure", **arguments) == "ProxyError"
        assert not server.seen.requests

    def test_tunnel_to_wrong_host_name(
        self, client: Client, server: HTTPServer, tls: TLS, proxy: str
    ) -> None:
        through = f"http://user:secret@{proxy}"
        arguments = {"url": tls.wrong_host, "proxy": through, "verify": tls.ca}
        assert client("proxied", "failure", **arguments) == "SSLError"
        assert not server.seen.requests

    def test_30_tunnels_at_once(
        self, client: Client, server: HTTPServer, tls: TLS, proxy: str
    ) -> None:
        arguments = {"proxy": f"http://user:secret@{proxy}", "verify": tls.ca, "number": 30}
        assert client("proxied", "many", url=f"{tls.good}/together/30", **arguments) == [200] * 30
        assert server.seen.peak == 30

    def test_no_proxy_there(self, client: Client, tls: TLS, unused_port: int) -> None:
        arguments = {"proxy": f"http://127.0.0.1:{unused_port}", "verify": tls.ca}
        assert client("proxied", "failure", url=tls.good, **arguments) == "ProxyError"
