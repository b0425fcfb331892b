"""The unpatched runs: kept on disk by interpreter and module, so that each is run once."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import supervisor
from .modules import RESOURCES, Interpreter, Part
from .outcomes import ModuleRun
from .supervisor import Job

CACHE = Path(__file__).resolve().with_name(".cache")

#: To be raised when the way in which tests are run changes what the control's outcomes mean.
_VERSION = 2

#: Seconds for one test. The slowest that passes takes 31; one hangs where there is no device for VSOCK.
_TIMEOUT = 90.0


class Control:
    """The control of one interpreter. `fresh=True` runs everything again and replaces what is kept."""

    def __init__(
        self,
        where: Interpreter,
        fresh: bool = False,
        folder: Path = CACHE,
        stop: threading.Event | None = None,
    ) -> None:
        key = hashlib.sha256(repr((_VERSION, RESOURCES, where.identity)).encode()).hexdigest()[:12]
        self.where = where
        self.fresh = fresh
        self.stop = stop or threading.Event()
        self.folder = folder / "control" / f"{where.full_version}-{key}"
        self._renewed: set[str] = set()

    def run(self, part: Part, match: Sequence[str] = ()) -> ModuleRun:
        """The control of one part; with `match`, of at least the tests that match."""
        kept = self._load(part)
        if kept is not None and not (self.fresh and part.name not in self._renewed):
            return ModuleRun.from_json(kept["run"])
        result = supervisor.run(self._job(part, match))
        if not match:
            self._store(part, {"run": result.to_json(), "flaky": {}})
            self._renewed.add(part.name)
        return result

    def seconds(self, part: Part) -> float:
        """How long the part took when it was run; a guess where it never was."""
        kept = self._load(part)
        return kept["run"]["seconds"] if kept else 30.0

    def flaky(self, part: Part) -> Mapping[str, str]:
        kept = self._load(part)
        return kept["flaky"] if kept else {}

    def confirm(self, part: Part, tests: Sequence[str], times: int) -> Mapping[str, str]:
        """Run some tests `times` more and note those that don't pass each time.

        Returns all tests of the part that are flaky, with the figures.
        """
        job = self._job(part, tests)
        failed = dict.fromkeys(tests, 0)
        for number in range(times):
            log = job.log.with_suffix(f".again{number}.log")
            outcomes = supervisor.run(replace(job, log=log)).tests
            for test in tests:
                failed[test] += test not in outcomes or not outcomes[test].outcome.passed
        found = {test: f"{n} of {times + 1} runs fail" for test, n in failed.items() if n}
        kept = self._load(part)
        if kept is None:
            return found
        flaky: dict[str, str] = kept["flaky"]
        flaky.update(found)
        self._store(part, kept)
        return flaky

    def _job(self, part: Part, match: Sequence[str]) -> Job:
        log = self.folder / f"{part.name}.log"
        return Job(
            module=part.name,
            target=part.target,
            python=self.where.python,
            layer="none",
            code="",
            log=log,
            timeout=_TIMEOUT,
            match=match,
            path=part.path,
            resources=part.resources,
            stop=self.stop,
        )

    def _load(self, part: Part) -> dict[str, Any] | None:
        try:
            kept: dict[str, Any] = json.loads((self.folder / f"{part.name}.json").read_text())
        except FileNotFoundError:
            return None
        return kept

    def _store(self, part: Part, kept: Mapping[str, Any]) -> None:
        path = self.folder / f"{part.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several runs may share the cache: a file is there whole or not at all.
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(kept, indent=1))
        temporary.replace(path)
