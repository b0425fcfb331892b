"""Set up a project and run its tests, in an environment of its own under ``build/ecosystem``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tests.ecosystem.comparison import Outcomes, read_junit
from tests.ecosystem.projects import Project
from tests.support import ROOT

__all__ = ["FOLDER", "Run", "Setting", "prepare", "run_tests"]

FOLDER = ROOT / "build" / "ecosystem"

# Settings that would change what the tests do: proxies and other people's options.
_FOREIGN = ("greenify", "pytest", "python", "requests_ca_bundle", "ssl_cert", "curl_ca_bundle")


@dataclass(frozen=True)
class Setting:
    """Where a project's tests run.

    Attributes:
        python: the interpreter that has the project, what its tests need, and greenify.
        root: the folder that the sdist was unpacked to; the tests are started there.
        logs: the folder for the junit files and for what pytest prints.
        version: of Python.
    """

    python: Path
    root: Path
    logs: Path
    version: str


@dataclass(frozen=True)
class Run:
    """How one run of pytest went.

    Attributes:
        outcomes: by test; empty if pytest did not come to its end.
        code: pytest's exit status, or minus the signal that killed it; None after the time-out.
        seconds: how long it took.
        log: what it printed.
    """

    outcomes: Outcomes
    code: int | None
    seconds: float
    log: Path

    def count(self, *kinds: str) -> int:
        return sum(outcome in kinds for outcome in self.outcomes.values())

    def __str__(self) -> str:
        if not self.outcomes:
            return f"no end (status {self.code}, see {self.log})"
        return f"{self.count('passed')} passed, {self.count('failed', 'error')} failed"


def prepare(project: Project, python: str = sys.executable) -> Setting:
    """Fetch the sdist with pip and make the environment, unless an earlier run did so for the same row."""
    root = FOLDER / project.title
    code = "import platform; print(platform.python_version())"
    version_of_python = subprocess.check_output([python, "-c", code], text=True).strip()
    tag = ".".join(version_of_python.split(".")[:2])
    environment = FOLDER / f"{project.name}-venv-{tag}"
    logs = FOLDER / f"{project.name}-logs-{tag}"
    setting = Setting(environment / "bin" / "python", root, logs, version_of_python)
    logs.mkdir(parents=True, exist_ok=True)
    wanted = repr((project.title, project.extras, project.requirements, version("greenlet")))
    stamp = environment / "ready"
    if stamp.exists() and stamp.read_text() == wanted and root.exists():
        return setting
    subprocess.check_call(
        [sys.executable, "-m", "virtualenv", "-q", "--clear", "-p", python, str(environment)]
    )
    pip = [str(setting.python), "-m", "pip"]
    pinned = f"{project.name}=={project.version}"
    subprocess.check_call(
        [*pip, "download", "-q", "--no-deps", "--no-binary", project.name, pinned, "-d", FOLDER]
    )
    with tarfile.open(next(FOLDER.glob(f"{project.name}-{project.version}.tar.*"))) as sdist:
        # Not in the first releases of 3.10 and 3.11; 3.12 and 3.13 warn without it.
        if hasattr(tarfile, "data_filter"):
            sdist.extraction_filter = tarfile.data_filter
        sdist.extractall(FOLDER)
    itself = f"{project.name}[{project.extras}]=={project.version}"
    more = ["pytest>=8,<10", "pytest-timeout>=2.3", *project.requirements]
    subprocess.check_call([*pip, "install", "-q", itself, *more])
    # Last: what the tests need may have asked for an old one.
    subprocess.check_call([*pip, "install", "-q", "--no-deps", f"greenlet=={version('greenlet')}"])
    _link_greenify(setting.python)
    stamp.write_text(wanted)
    return setting


def _link_greenify(python: Path) -> None:
    """Have the environment import this greenify, without our folders `tests` and `docs` beside it."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([str(python), "-c", code], text=True).strip())
    spec = find_spec("greenify")
    assert spec is not None and spec.origin is not None
    (packages / "greenify").symlink_to(Path(spec.origin).resolve().parent)


def run_tests(
    project: Project,
    setting: Setting,
    *,
    green: bool,
    timeout: float,
    only: Sequence[str] = (),
) -> Run:
    """Run the project's tests in a process of its own, with threads or under ``python -m greenify``.

    Args:
        timeout: seconds for all of them; then the process and its children are killed.
        only: node ids, instead of the row's tests.
    """
    name = ("green" if green else "threads") + ("-again" if only else "")
    junit, log = setting.logs / f"{name}.xml", setting.logs / f"{name}.log"
    junit.unlink(missing_ok=True)
    command = [str(setting.python), *(["-m", "greenify"] if green else []), "-m", "pytest", "-q"]
    command += ["-p", "no:cacheprovider", "--timeout=60", "-W", "ignore", f"--junitxml={junit}"]
    command += [*project.options, *(only or project.tests)]
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.lower().startswith(_FOREIGN) and not key.lower().endswith("_proxy")
    }
    if project.source:
        env["PYTHONPATH"] = str(setting.root / project.source)
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=setting.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Run(read_junit(junit, setting.root), code, time.monotonic() - begun, log)
