"""Runs one test module in child processes until each of its tests has an outcome.

A test that hangs is asked for its stacks and killed, a test that takes its process down is noted, and in both
cases the rest of the tests goes on in a fresh process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import processes
from .outcomes import ModuleRun, Outcome, Record

CHILD = Path(__file__).resolve().with_name("child.py")
ROOT = CHILD.parent.parent.parent

#: What runs in the child before anything is imported for the tests. "none" is the control.
LAYERS: dict[str, str] = {
    "none": "",
    "greenify": "import greenify; greenify.patch_all()",
    # For comparison, where it is installed.
    "gevent": "from gevent import monkey; monkey.patch_all()",
}

_POLL_INTERVAL = 0.05
#: Limits of what is no test, in seconds (a longer limit for a test is theirs, too): an import, a
#: `setUpClass`; and from the last test to the end of the process.
FIXTURE_TIMEOUT = 60.0
EXIT_TIMEOUT = 60.0
_DUMP_LIMIT = 60_000


@dataclass(frozen=True)
class Job:
    """What to run: `target` is the module's full name, `match` patterns of test ids (empty: all tests).

    `timeout` is the limit for one test, in seconds; a test that took long in the control gets more,
    by `known` (its seconds there). The tests in `skip` are not run. Setting `stop` (from any
    thread) ends the run soon, with `Stopped`.
    """

    module: str
    target: str
    python: str
    layer: str
    code: str
    log: Path
    timeout: float
    match: Sequence[str] = ()
    path: Sequence[str] = ()
    resources: Sequence[str] = ()
    known: Mapping[str, float] = field(default_factory=dict)
    skip: Sequence[str] = ()
    stop: threading.Event = field(default_factory=threading.Event)

    def limit(self, test: str) -> float:
        return max(self.timeout, 8 * self.known.get(test, 0.0))


class Stopped(Exception):
    """The run was asked to stop; its processes are gone."""


def run(job: Job) -> ModuleRun:
    """Run every test of the module; never raises for what a test does."""
    result = ModuleRun(job.module, job.layer, log=str(job.log))
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.log.write_text("")
    start = time.monotonic()
    loaded: list[str] = []
    stuck = False
    while True:
        before = len(result.tests)
        child = _Child(job, result, loaded)
        child.run()
        result.processes += 1
        if child.done:
            break
        # One process may be lost between two tests; a second one that brings no further outcome ends the run.
        if len(result.tests) == before:
            if stuck or not child.resumable:
                break
            stuck = True
    for test in loaded:
        result.tests.setdefault(test, Record(Outcome.MISSING, 0.0, "did not run"))
    result.seconds = time.monotonic() - start
    return result


class _Child:
    """One process: starts it, follows its events, and turns its end into outcomes."""

    def __init__(self, job: Job, result: ModuleRun, loaded: list[str]) -> None:
        self.job = job
        self.result = result
        self.loaded = loaded
        self.done = False
        #: False where another process would only do the same: nothing has been loaded.
        self.resumable = False
        self.test: str | None = None
        #: Where the child is while no test runs.
        self.where = "<start>"
        self.escaped = ""
        self.mark = uuid.uuid4().hex
        self.folder = Path(tempfile.mkdtemp(prefix="gsc-"))
        self.events = self.folder / "events"
        self.position = 0
        self.partial = b""

    def run(self) -> None:
        try:
            process = self.start()
            try:
                self.follow(process)
            finally:
                processes.kill_all(self.mark)
                process.wait()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> subprocess.Popen[bytes]:
        temporary = self.folder / "tmp"
        temporary.mkdir()
        self.events.touch()
        settings = self.folder / "settings.json"
        settings.write_text(json.dumps(self.settings(temporary)))
        with self.job.log.open("ab") as log:
            return subprocess.Popen(
                [self.job.python, "-u", str(CHILD), str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=temporary,
                env=self.environment(temporary),
                start_new_session=True,
            )

    def settings(self, temporary: Path) -> dict[str, Any]:
        return {
            "module": self.job.target,
            "layer": self.job.code,
            "finished": [*self.result.tests, *self.job.skip],
            "match": list(self.job.match),
            "resources": list(self.job.resources),
            "path": list(self.job.path),
            "fallback_path": [str(ROOT)],
            "events": str(self.events),
            "log": str(self.job.log),
            "temporary": str(temporary),
            "threads_signal": processes.THREADS_SIGNAL,
            "greenlets_signal": processes.GREENLETS_SIGNAL,
        }

    def environment(self, temporary: Path) -> dict[str, str]:
        """This process's, without what would change Python or its HTTP clients, as for regrtest's workers."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PYTEST", "GREENIFY"))
            and not name.lower().endswith("_proxy")
        }
        kept.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)))
        kept[processes.MARK] = self.mark
        return kept

    # Following

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.limit()
        while True:
            ended = process.poll() is not None
            if self.read_events():
                deadline = time.monotonic() + self.limit()
            if ended:
                self.ended(process.returncode)
                return
            if self.job.stop.is_set():
                raise Stopped
            if time.monotonic() > deadline:
                self.hung(process)
                return
            try:
                process.wait(_POLL_INTERVAL)
            except subprocess.TimeoutExpired:
                continue

    def limit(self) -> float:
        if self.done:
            return max(EXIT_TIMEOUT, self.job.timeout)
        return self.job.limit(self.test) if self.test else max(FIXTURE_TIMEOUT, self.job.timeout)

    def read_events(self) -> bool:
        with self.events.open("rb") as stream:
            stream.seek(self.position)
            data = stream.read()
        self.position += len(data)
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            getattr(self, "on_" + event.pop("event").replace("-", "_"))(**event)
        return bool(lines)

    def on_fixture(self, where: str) -> None:
        self.where = where

    def on_patched(self, layer: str | None) -> None:
        pass

    def on_loaded(self, ids: list[str]) -> None:
        self.loaded.extend(name for name in ids if name not in set(self.loaded))
        self.resumable = True

    def on_skipped(self, reason: str) -> None:
        self.result.skipped = reason

    def on_broken(self, detail: str) -> None:
        self.result.incidents["<import>"] = Record(Outcome.ERROR, 0.0, detail)

    def on_start(self, id: str) -> None:
        self.test = id

    def on_stop(self, id: str, outcome: str, seconds: float, detail: str) -> None:
        self.result.tests[id] = Record(Outcome(outcome), seconds, detail)
        self.test, self.where = None, f"after {id}"

    def on_fixture_outcome(self, where: str, outcome: str, detail: str) -> None:
        self.outside_a_test(where, Record(Outcome(outcome), 0.0, detail))

    def on_escaped(self, detail: str) -> None:
        self.escaped = detail

    def on_done(self) -> None:
        self.done = True

    # Ends

    def ended(self, code: int) -> None:
        if not self.done:
            self.lost(Record(Outcome.CRASH, 0.0, f"{_describe_exit(code)}\n{self.tail()}"))
        elif code != 0:
            detail = f"after the last test: {_describe_exit(code)}\n{self.tail()}"
            self.result.incidents["<exit>"] = Record(Outcome.CRASH, 0.0, detail)

    def hung(self, process: subprocess.Popen[bytes]) -> None:
        limit = self.limit()
        stacks = processes.dump_stacks(self.mark, self.job.log)
        # It may have got to its end meanwhile, but it took too long all the same.
        test, done = self.test, self.done
        self.read_events()
        self.test, self.done = test, done
        record = Record(Outcome.HANG, limit, f"no end after {limit:.0f} s\n{stacks[-_DUMP_LIMIT:]}")
        if self.done:
            self.result.incidents["<exit>"] = record
        else:
            self.lost(record)
        process.kill()

    def lost(self, record: Record) -> None:
        """The process is gone: blame the test that ran, else the fixture or whatever came last."""
        if self.test is not None:
            self.result.tests[self.test] = record
        else:
            self.outside_a_test(self.where, record)

    def outside_a_test(self, where: str, record: Record) -> None:
        """Give the outcome of a `setUpClass` or `setUpModule` to its tests; note any other as an incident."""
        name = where.partition("(")[2].rstrip(")").removeprefix("test.") + "."
        tests = [
            test
            for test in self.loaded
            if test not in self.result.tests and where.startswith("setUp") and test.startswith(name)
        ]
        for test in tests:
            detail = f"{where}: {record.detail}"
            self.result.tests[test] = Record(record.outcome, record.seconds, detail)
        if not tests and record.outcome is not Outcome.SKIP:
            self.result.incidents[where] = record

    def tail(self) -> str:
        if self.escaped:
            return self.escaped
        with self.job.log.open("rb") as stream:
            stream.seek(max(0, self.job.log.stat().st_size - 6_000))
            return stream.read().decode("utf-8", "backslashreplace")


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit code {code}"
    try:
        return f"the process was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"the process was ended by signal {-code}"
