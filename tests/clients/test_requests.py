"""requests against real servers, with real threads (the control) and under greenify."""

from __future__ import annotations

from pathlib import Path

from tests.clients.conftest import Client
from tests.clients.server import HTTPServer


class TestGet:
    def test_plain(self, client: Client, http: str) -> None:
        answer = client("basics", "get", url=http)
        assert answer["scheme"] == "http"
        assert answer["headers"]["X-Colour"] == "green"

    def test_refused(self, client: Client, unused_port: int) -> None:
        found = client("failures", "failure", url=f"http://127.0.0.1:{unused_port}/")
        assert found[0] == "ConnectionError"
        assert "ConnectionRefusedError" in found

    def test_unknown_host(self, client: Client) -> None:
        found = client("failures", "failure", url="http://no-such-host.invalid/")
        assert found[0] == "ConnectionError"
        assert "NameResolutionError" in found and "gaierror" in found

    def test_reset(self, client: Client, http: str) -> None:
        found = client("failures", "failure", url=f"{http}/reset")
        assert found[0] == "ConnectionError"
        assert "ConnectionResetError" in found


class TestKeepAlive:
    def test_session_uses_one_connection(
        self, client: Client, server: HTTPServer, http: str
    ) -> None:
        client("basics", "keep_alive", url=http, number=20)
        assert server.seen.requests["/hello"] == 20
        assert len(server.seen.connections) == 1

    def test_connections_closed_by_the_server(
        self, client: Client, server: HTTPServer, http: str
    ) -> None:
        client("basics", "closed_by_server", url=http, number=5)
        assert server.seen.requests["/goodbye"] == 5
        assert len(server.seen.connections) == 5


class TestRedirects:
    def test_followed(self, client: Client, http: str) -> None:
        found = client("basics", "redirects", url=http)
        assert found == [302, 302, 302, 302, 200, f"{http}/hello"]

    def test_too_many(self, client: Client, http: str) -> None:
        assert client("basics", "too_many_redirects", url=http) == "TooManyRedirects"


class TestDownload:
    def test_chunked_in_pieces(self, client: Client, http: str) -> None:
        assert client("basics", "download_chunked", url=http, number=2_000) == 20_000_000

    def test_chunked_at_once(self, client: Client, http: str) -> None:
        assert client("basics", "download_at_once", url=http, number=2_000) == 20_000_000

    def test_lines_as_they_come(self, client: Client, http: str) -> None:
        lines = client("basics", "download_lines", url=http)
        assert lines == [f"line {index}" for index in range(5)]

    def test_abandoned(self, client: Client, http: str) -> None:
        assert client("basics", "abandon_download", url=http) == 200


class TestUpload:
    def test_large(self, client: Client, http: str) -> None:
        size = 256 * 80_000
        assert client("basics", "upload", url=http, size=size) == [size, ""]

    def test_chunked(self, client: Client, http: str) -> None:
        found = client("basics", "upload_chunked", url=http, number=500)
        assert found == [5_000_000, "chunked"]

    def test_multipart_file(self, client: Client, http: str, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(bytes(3_000_000))
        size = client("basics", "upload_file", url=http, path=str(path))
        assert 3_000_000 < size < 3_001_000


class TestTimeouts:
    def test_connect(self, client: Client, full_port: int) -> None:
        url = f"http://127.0.0.1:{full_port}/"
        name, seconds = client("failures", "timed_out", url=url, connect=0.3, read=20)
        assert name == "ConnectTimeout"
        assert 0.3 <= seconds < 10

    def test_read(self, client: Client, http: str) -> None:
        url = f"{http}/never"
        name, seconds = client("failures", "timed_out", url=url, connect=20, read=0.3)
        assert name == "ReadTimeout"
        assert 0.3 <= seconds < 10

    def test_session_is_usable_afterwards(self, client: Client, http: str) -> None:
        assert client("failures", "usable_after_timeout", url=http) == 200


class TestRetries:
    def test_until_it_works(self, client: Client, server: HTTPServer, http: str) -> None:
        assert client("failures", "retries", url=http, failures=3, total=5) == "4"
        assert server.seen.requests["/flaky/retries/3"] == 4

    def test_given_up(self, client: Client, server: HTTPServer, http: str) -> None:
        assert client("failures", "retries", url=http, failures=9, total=2) == "RetryError"
        assert server.seen.requests["/flaky/retries/9"] == 3

    def test_of_resets(self, client: Client, server: HTTPServer, http: str) -> None:
        found = client("failures", "retries_of_resets", url=http, total=2)
        assert found == "ConnectionError"
        assert server.seen.requests["/reset"] == 3


class TestCrowds:
    def test_200_at_once(self, client: Client, server: HTTPServer, http: str) -> None:
        """The server answers none of them before the last one has come."""
        answers = client("crowds", "pool", url=f"{http}/together/200", number=200)
        assert answers == {"together": 200}
        assert server.seen.peak == 200

    def test_200_slow_answers(self, client: Client, server: HTTPServer, http: str) -> None:
        """An answer takes 0.2 s; one after the other they would never meet at the server."""
        answers = client("crowds", "pool", url=f"{http}/slow", number=200)
        assert answers == {"slow": 200}
        assert server.seen.peak > 20

    def test_shared_session(self, client: Client, server: HTTPServer, http: str) -> None:
        answers = client("crowds", "shared_session", url=http, threads=20, each=10)
        assert answers == {"200": 200}
        assert 1 <= len(server.seen.connections) <= 5

    def test_session_of_each_thread(self, client: Client, server: HTTPServer, http: str) -> None:
        answers = client("crowds", "sessions_of_threads", url=http, threads=20, each=5)
        assert answers == {"200": 100}
        assert len(server.seen.connections) == 20

    def test_one_waits_others_go_on(self, client: Client, http: str) -> None:
        found = client("crowds", "one_waits_others_go_on", url=http)
        assert found == [{"200": 20}, "together"]
