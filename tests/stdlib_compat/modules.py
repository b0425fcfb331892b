"""Which of CPython's test modules are run, and where an interpreter keeps them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: The resources that tests may use, as in `python -m test -u`: what needs no foreign host, no
#: gigabytes of disk and no screen.
RESOURCES = ("cpu", "curses", "decimal", "subprocess", "tzdata", "walltime")

STANDINS = Path(__file__).resolve().with_name("standins")


@dataclass(frozen=True)
class Module:
    """One row. `name` is below the package `test`.

    `core` modules are run on every version by `.ci/run`, `quick` ones also by `make test`. `until`
    names the last version of Python that has the module where that is not the newest. `network` modules
    ask for that resource of regrtest for all of their tests, and nearly all of them use the loopback
    interface only. `standin` runs the same tests where an installation lacks the module.
    """

    name: str
    core: bool = False
    quick: bool = False
    until: tuple[int, int] = (3, 15)
    standin: bool = False
    network: bool = False


MODULES = (
    Module("test_time", core=True, quick=True),
    Module("test_select", core=True, quick=True),
    Module("test_poll", core=True),
    Module("test_epoll", core=True, quick=True),
    Module("test_selectors", core=True, quick=True),
    Module("test_socket", core=True),
    Module("test_ssl", core=True),
    Module("test_thread", core=True, quick=True),
    Module("test_threading", core=True, quick=True),
    Module("test_threading_local", quick=True),
    Module("test_threadedtempfile", quick=True),
    Module("test_threadsignals"),
    Module("test_queue", core=True, quick=True),
    Module("test_sched", quick=True),
    Module("test_subprocess", core=True),
    Module("test_signal", core=True),
    Module("test_socketserver", quick=True, network=True),
    Module("test_timeout", network=True),
    Module("test_os", quick=True),
    Module("test_popen", quick=True),
    Module("test_pty", quick=True),
    Module("test_fork1"),
    Module("test_wait3"),
    Module("test_wait4"),
    Module("test_context", quick=True),
    Module("test_logging"),
    Module("test_httplib", quick=True),
    Module("test_httpservers", quick=True),
    Module("test_urllib", quick=True),
    Module("test_urllib2", quick=True),
    Module("test_urllib2_localnet", quick=True),
    Module("test_ftplib"),
    Module("test_smtplib", quick=True),
    Module("test_poplib"),
    Module("test_imaplib"),
    Module("test_xmlrpc"),
    Module("test_wsgiref", quick=True),
    Module("test_concurrent_futures"),
    Module("test_asyncio"),
    Module("test_multiprocessing_fork", standin=True),
    Module("test_multiprocessing_spawn", standin=True),
    Module("test_multiprocessing_forkserver", standin=True),
    Module("test_io"),
    Module("test_eintr"),
    # What test_eintr runs in a process of its own, which would stay unpatched.
    Module("_test_eintr"),
    Module("test_importlib.test_threaded_import"),
    Module("test_faulthandler"),
    Module("test_sqlite3", quick=True),
    Module("test_telnetlib", until=(3, 12), quick=True),
    Module("test_nntplib", until=(3, 12)),
    Module("test_asyncore", until=(3, 11), quick=True),
    Module("test_asynchat", until=(3, 11), quick=True),
    Module("test_smtpd", until=(3, 11), quick=True),
)

# Packages whose modules are run in a process each, as regrtest does.
_SPLIT = (
    "test_asyncio",
    "test_concurrent_futures",
    "test_multiprocessing_fork",
    "test_multiprocessing_spawn",
    "test_multiprocessing_forkserver",
)


@dataclass(frozen=True)
class Interpreter:
    """A Python to test with, as it describes itself; `tests` is the folder of its package `test`."""

    python: str
    version: tuple[int, int]
    full_version: str
    identity: str
    tests: Path | None

    @property
    def short(self) -> str:
        return "{}.{}".format(*self.version)


_ASK = """
import importlib.util, json, os, sys
spec = importlib.util.find_spec("test")
print(json.dumps({
    "version": sys.version_info[:2],
    "full_version": "%d.%d.%d" % sys.version_info[:3],
    "identity": sys.version + os.path.realpath(sys.executable),
    "tests": spec and spec.submodule_search_locations[0],
}))
"""


@cache
def interpreter(python: str) -> Interpreter:
    # In a folder without anything importable, and without this environment's paths.
    answer = subprocess.run(
        [python, "-E", "-c", _ASK], check=True, capture_output=True, text=True, cwd="/"
    )
    told = json.loads(answer.stdout)
    tests = Path(told["tests"]) if told["tests"] else None
    version = (told["version"][0], told["version"][1])
    return Interpreter(python, version, told["full_version"], told["identity"], tests)


@dataclass(frozen=True)
class Part:
    """What one process runs: a module by its full name, with what must precede it on `sys.path`."""

    name: str
    target: str
    path: tuple[str, ...] = ()
    resources: tuple[str, ...] = RESOURCES


def parts(module: Module, where: Interpreter) -> list[Part]:
    """The module as it is run on that interpreter; nothing where it has none (see `absence`)."""
    if where.tests is None:
        return []
    resources = (*RESOURCES, "network") if module.network else RESOURCES
    location = where.tests.joinpath(*module.name.split("."))
    if location.is_dir():
        if module.name not in _SPLIT:
            return [Part(module.name, f"test.{module.name}", (), resources)]
        return [
            Part(f"{module.name}.{found}", f"test.{module.name}.{found}", (), resources)
            for found in _modules_in(location)
        ]
    if location.with_suffix(".py").is_file():
        return [Part(module.name, f"test.{module.name}", (), resources)]
    if module.standin and (where.tests / "_test_multiprocessing.py").is_file():
        return [Part(module.name, module.name, (str(STANDINS),), resources)]
    return []


def _modules_in(folder: Path) -> Iterator[str]:
    yield from sorted(
        entry.stem
        for entry in folder.glob("test_*")
        if entry.suffix == ".py" or (entry / "__init__.py").is_file()
    )


def absence(module: Module, where: Interpreter) -> str:
    """Why `parts` is empty."""
    if where.version > module.until:
        return f"removed from Python after {module.until[0]}.{module.until[1]}"
    return f"not in this installation of Python {where.full_version}"


def find(name: str) -> Module | None:
    """The row of that name; `queue` means `test_queue`."""
    rows = {row.name: row for row in MODULES}
    return rows.get(name) or rows.get(f"test_{name}")
