"""How the tests are shared out among processes, and servers for them.

The servers are Debian's own, one is PyPI's, each started once on a free port of the loopback.  A test that
needs one has the marker `servers` and asks for the fixture, which gives a `Server`.  Without the program the
test is skipped, and says which package has it; ``GREENIFY_REQUIRE_SERVERS=1`` (.ci/run) makes that a failure.
Databases refuse to run as root: then they run as ``nobody``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.libraries import servers
from tests.libraries.servers import Server


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """pytest-xdist's own but for ``--dist loadgroup``."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from tests.scheduling import Scheduling

    return Scheduling(config, log)


def _running(name: str) -> Iterator[Server]:
    missing = servers.missing(name)
    if missing is not None:
        if servers.required():
            pytest.fail(missing)
        pytest.skip(missing)
    # Not in pytest's folders: another pytest that starts makes those the user's alone again, and the server
    # may run as somebody else.
    with (
        TemporaryDirectory(prefix=f"greenify-{name}-", ignore_cleanup_errors=True) as folder,
        servers.running(name, Path(folder)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL: the database ``test`` of the user ``test``, without a password."""
    yield from _running("postgres")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """MariaDB: the database ``test`` of the user ``test`` with the password ``test``."""
    yield from _running("mariadb")


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    """Redis, empty."""
    yield from _running("redis")


@pytest.fixture(scope="session")
def memcached() -> Iterator[Server]:
    """memcached, empty."""
    yield from _running("memcached")


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Server]:
    """RabbitMQ: the user ``guest`` with the password ``guest``."""
    yield from _running("rabbitmq")


@pytest.fixture(scope="session")
def slapd() -> Iterator[Server]:
    """OpenLDAP: below ``dc=example,dc=org``, with the administrator ``cn=admin`` there, password ``test``."""
    yield from _running("slapd")


@pytest.fixture(scope="session")
def mongo() -> Iterator[Server]:
    """A server of MongoDB's protocol, empty."""
    yield from _running("mongo")
