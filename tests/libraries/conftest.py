"""Servers for the tests of clients: Debian's own, each started once on a free port of the loopback.

A test that needs one has the marker `servers` and asks for the fixture, which gives a `Server`.  Without
the program the test is skipped, and says which package has it; ``GREENIFY_REQUIRE_SERVERS=1`` (.ci/run) makes
that a failure.  Databases refuse to run as root: then they run as ``nobody``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.libraries import servers
from tests.libraries.servers import Server


def _running(name: str, folder: Path) -> Iterator[Server]:
    missing = servers.missing(name)
    if missing is not None:
        if servers.required():
            pytest.fail(missing)
        pytest.skip(missing)
    with servers.running(name, folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """PostgreSQL: the database ``test`` of the user ``test``, without a password."""
    yield from _running("postgres", tmp_path_factory.mktemp("postgres"))


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MariaDB: the database ``test`` of the user ``test`` with the password ``test``."""
    yield from _running("mariadb", tmp_path_factory.mktemp("mariadb"))


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Redis, empty."""
    yield from _running("redis", tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """memcached, empty."""
    yield from _running("memcached", tmp_path_factory.mktemp("memcached"))


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """RabbitMQ: the user ``guest`` with the password ``guest``."""
    yield from _running("rabbitmq", tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture(scope="session")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """OpenLDAP: below ``dc=example,dc=org``, with the administrator ``cn=admin`` there, password ``test``."""
    yield from _running("slapd", tmp_path_factory.mktemp("slapd"))
