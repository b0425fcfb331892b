"""The projects whose own tests are run, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PROJECTS", "Project"]


@dataclass(frozen=True)
class Project:
    """One row: a published version of a project and what to run of its tests.

    Attributes:
        name: as PyPI calls it.
        version: whose sdist holds the tests.
        tests: files and folders in the sdist.
        extras: of the project itself, to install with it.
        requirements: what the tests need besides; pytest and pytest-timeout are always there.
        options: for pytest.
        source: a folder of the sdist that goes in front of what is installed; "" for none.
        expected: tests (or a class or file of them) that pass with threads and not under greenify, with the
            reason. A row whose tests all pass is an error, as is one that matches none.
    """

    name: str
    version: str
    tests: tuple[str, ...]
    extras: str = ""
    requirements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    source: str = ""
    expected: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name}-{self.version}"


PROJECTS = (
    Project(
        "trio",
        "0.35.0",
        tests=(
            "src/trio/_tests/test_threads.py",
            "src/trio/_core/_tests/test_thread_cache.py",
            "src/trio/_tests/test_signals.py",
        ),
        options=("-p", "trio._tests.pytest_plugin"),
        source="src",
        expected={
            "src/trio/_tests/test_threads.py::test_named_thread_os": (
                "asks the operating system for the name of a thread; a green thread has none there"
            ),
        },
    ),
    Project(
        "anyio",
        "4.16.0",
        tests=(
            "tests/test_concurrency_utils.py",
            "tests/test_from_thread.py",
            "tests/test_signals.py",
            "tests/test_subprocesses.py",
            "tests/test_synchronization.py",
            "tests/test_to_process.py",
            "tests/test_to_thread.py",
        ),
        extras="trio",
        requirements=(
            "blockbuster>=1.5.29",
            "hypothesis>=4.18.2",
            "psutil>=5.9",
            "pytest-mock>=3.14",
            "trustme>=1",
            "truststore>=0.9.1",
            "uvloop>=0.22.1",
        ),
    ),
    Project(
        "httpcore",
        "1.0.9",
        tests=("tests",),
        extras="asyncio,http2,socks,trio",
        # pytest-httpbin has greenlet go down to a version that greenify does not take; `prepare` puts it
        # back.
        requirements=("pytest-httpbin==2.1.0", "pytest-trio==0.8.0", "trustme>=1"),
        # httpcore marks the three tests of this name as failing, and whether they do hangs on 10 ms: in three
        # runs each, one after the other, they failed 8 of 18 times with threads and 4 of 18 under greenify.
        options=("-k", "not h2_timeout"),
    ),
    Project(
        "hypercorn",
        "0.18.0",
        tests=("tests/trio", "tests/e2e", "tests/test___main__.py"),
        extras="h3,trio",
        requirements=(
            "httpx[http2]>=0.28",
            "pytest-asyncio",
            "pytest-cov",
            "pytest-trio",
            "trustme>=1",
        ),
        options=("--no-cov",),
        source="src",
    ),
    Project(
        "urllib3",
        "2.8.0",
        tests=("test",),
        extras="brotli,h2,socks,zstd",
        # The groups "test" and "dev" of its pyproject.toml, but for what measures memory and coverage.
        requirements=(
            "anyio[trio]>=4.8.0",
            "cryptography>=44.0.2",
            "httpx>=0.28.1",
            "hypercorn>=0.15.0",
            "idna>=3.10",
            "pyopenssl>=25.0.0",
            "pytest-socket>=0.7.0",
            "quart>=0.20.0",
            "quart-trio>=0.12.0",
            "trio>=0.27.0",
            "trustme>=1.2.1",
        ),
        source="src",
    ),
)
