"""requests over TLS: what is right works, and what is wrong still fails."""

from __future__ import annotations

from tests.clients.conftest import TLS, Client
from tests.clients.server import HTTPServer


class TestVerified:
    def test_get(self, client: Client, tls: TLS) -> None:
        found = client("failures", "tls_get", url=f"{tls.good}/hello", ca=tls.ca)
        assert found == ["https"]

    def test_keep_alive(self, client: Client, server: HTTPServer, tls: TLS) -> None:
        found = client("failures", "tls_get", url=f"{tls.good}/hello", ca=tls.ca, number=10)
        assert found == ["https"] * 10
        assert len(server.seen.connections) == 1

    def test_large_bodies(self, client: Client, tls: TLS) -> None:
        size = 10_000_000
        found = client("failures", "tls_upload_and_download", url=tls.good, ca=tls.ca, size=size)
        assert found == [size, size]

    def test_redirect_from_plain(self, client: Client, http: str, tls: TLS) -> None:
        target = f"{tls.good}/hello"
        found = client("basics", "redirect_to_tls", url=http, to=target, ca=tls.ca)
        assert found == [target, "https"]

    def test_read_timeout(self, client: Client, tls: TLS) -> None:
        found = client("failures", "tls_timed_out", url=tls.good, ca=tls.ca)
        assert found == "ReadTimeout"

    def test_100_at_once(self, client: Client, server: HTTPServer, tls: TLS) -> None:
        url = f"{tls.good}/together/100"
        assert client("crowds", "pool", url=url, number=100, verify=tls.ca) == {"together": 100}
        assert server.seen.peak == 100


class TestRefused:
    """The client must raise, and the server must not have seen a request."""

    def test_wrong_host_name(self, client: Client, server: HTTPServer, tls: TLS) -> None:
        found = client("failures", "failure", url=f"{tls.wrong_host}/hello", verify=tls.ca)
        assert found[0] == "SSLError"
        assert "SSLCertVerificationError" in found
        assert "Hostname mismatch" in " ".join(found)
        assert not server.seen.requests

    def test_untrusted_authority(self, client: Client, server: HTTPServer, tls: TLS) -> None:
        found = client("failures", "failure", url=f"{tls.untrusted}/hello", verify=tls.ca)
        assert found[0] == "SSLError"
        assert "unable to get local issuer certificate" in " ".join(found)
        assert not server.seen.requests

    def test_authority_that_only_we_know(
        self, client: Client, server: HTTPServer, tls: TLS
    ) -> None:
        """Without the CA's file, the usual certificates are trusted, and not this one."""
        found = client("failures", "failure", url=f"{tls.good}/hello")
        assert found[0] == "SSLError"
        assert not server.seen.requests

    def test_expired(self, client: Client, server: HTTPServer, tls: TLS) -> None:
        found = client("failures", "failure", url=f"{tls.expired}/hello", verify=tls.ca)
        assert found[0] == "SSLError"
        assert "certificate has expired" in " ".join(found)
        assert not server.seen.requests

    def test_server_without_tls(self, client: Client, http: str, tls: TLS) -> None:
        url = http.replace("http:", "https:") + "/hello"
        assert client("failures", "failure", url=url, verify=tls.ca)[0] == "SSLError"
