"""Runs inside the process under test: patches it, loads one test module, runs it, reports each event at once.

Started as a script by `supervisor.py`, with the path of a JSON file that holds the settings. Events
are appended, one JSON object a line, to a file that is opened for each of them: nothing is lost in
a crash, and the process has no descriptor that the tests (which count and close them) could trip
over.

Imported again by children that the tests start with multiprocessing's "spawn": nothing runs at import.
"""

from __future__ import annotations

import sys

# What is imported here is imported before the patch: as little as possible, not even `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import unittest
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType
    from typing import Any

    Settings = dict[str, Any]

DETAIL_LIMIT = 20_000


class Events:
    """Appends events to the file the supervisor reads, from the process that it started only."""

    def __init__(self, path: str, log: str) -> None:
        import io
        import json
        import os

        # Bound here, and the file's C class instead of functions of `os`: a layer replaces those,
        # also in the places that hold them already.
        self._open = io.FileIO
        self._getpid = os.getpid
        self._exit = os._exit
        self._dumps = json.dumps
        self._path = path
        self._log = log
        self._pid = os.getpid()

    def __call__(self, event: str, **fields: Any) -> None:
        if self.is_main_process():
            fields["event"] = event
            self._append(self._path, self._dumps(fields) + "\n")

    def log(self, text: str) -> None:
        """Write between the test's own output, however much of that is still in Python's buffers."""
        if self.is_main_process():
            self._append(self._log, text)

    def is_main_process(self) -> bool:
        return self._getpid() == self._pid

    def leave_forked_process(self) -> None:
        """A test's forked child that escaped from the test must not run the rest of the tests."""
        if not self.is_main_process():
            self.exit(97)

    def exit(self, code: int) -> None:
        self._exit(code)

    def _append(self, path: str, text: str) -> None:
        with self._open(path, "a") as stream:
            stream.write(text.encode("utf-8", "backslashreplace"))


def install_stack_dumps(settings: Settings) -> Callable[[], None]:
    """Two signals: one for native threads' stacks (works inside C code), one for greenlets'.

    Returns what installs the second one again: a layer may have wrapped the handler, so that it waits for a
    greenlet to run in, and this one has to run wherever the process hangs.
    """
    import _signal
    import faulthandler

    faulthandler.enable(file=2, all_threads=True)
    faulthandler.register(settings["threads_signal"], file=2, all_threads=True, chain=False)
    log = settings["log"]

    def dump_greenlets(number: int, frame: FrameType | None) -> None:
        import gc
        import os
        import traceback

        with open(log, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"\n=== greenlets of process {os.getpid()}\n")
            greenlet = sys.modules.get("greenlet")
            kind = getattr(greenlet, "greenlet", ())
            found = gc.get_objects() if greenlet is not None else []
            for candidate in found:
                if isinstance(candidate, kind) and candidate.gr_frame is not None:
                    stream.write(f"--- parked {candidate!r}\n")
                    traceback.print_stack(candidate.gr_frame, file=stream)
            stream.write("--- running\n")
            traceback.print_stack(frame, file=stream)
            stream.write(f"=== end of process {os.getpid()}\n")

    def arm() -> None:
        # The function in C, whatever `signal.signal` is by now.
        _signal.signal(settings["greenlets_signal"], dump_greenlets)

    arm()
    return arm


def set_up_process(settings: Settings) -> None:
    """What regrtest does to its worker processes before it runs a module."""
    import os

    from test import support
    from test.support import os_helper

    support.record_original_stdout(sys.stdout)
    support.verbose = False
    support.use_resources = settings["resources"]
    sys.addaudithook(lambda name, arguments: None)
    if os_helper.TESTFN_UNDECODABLE and os.supports_bytes_environ:
        os.environb.setdefault(b"PYTHONREGRTEST_UNICODE_GUARD", os_helper.TESTFN_UNDECODABLE)
    elif os_helper.FS_NONASCII:
        os.environ.setdefault("PYTHONREGRTEST_UNICODE_GUARD", os_helper.FS_NONASCII)

    folder = os.path.join(settings["temporary"], f"test_{os.getpid()}{os_helper.FS_NONASCII}")
    os.mkdir(folder)
    os.chdir(folder)


def make_result(events: Events, name_of: Callable[[Any], str]) -> unittest.TestResult:
    import time
    import traceback
    import unittest

    clock = time.perf_counter
    ranks = ("pass", "xfail", "skip", "xpass", "fail", "error")

    class Result(unittest.TestResult):
        """Sends each test's start and end; an outcome is the worst of the test's own and its subtests'."""

        current: str | None = None
        outcome: str | None
        details: list[str]

        def startTest(self, test: Any) -> None:
            events.leave_forked_process()
            super().startTest(test)
            self.current = name_of(test)
            self.outcome, self.details = None, []
            events.log(f"\n=== {self.current}\n")
            events("start", id=self.current)
            self.started = clock()

        def stopTest(self, test: Any) -> None:
            super().stopTest(test)
            if self.current is None:
                return
            if self.outcome is None and sys.exc_info()[0] is not None:
                # A KeyboardInterrupt is on its way through unittest, and ends the run.
                return
            events(
                "stop",
                id=self.current,
                outcome=self.outcome or "error",
                seconds=round(clock() - self.started, 4),
                detail="\n".join(self.details)[-DETAIL_LIMIT:],
            )
            self.current = None

        def note(self, test: Any, outcome: str, detail: str = "") -> None:
            if self.current is None:
                # A class's or module's fixture: unittest makes up a test for it, that is never started.
                events("fixture-outcome", where=test.id(), outcome=outcome, detail=detail)
                return
            if self.outcome is None or ranks.index(outcome) > ranks.index(self.outcome):
                self.outcome = outcome
            if detail:
                self.details.append(detail)
            if outcome in ("fail", "error"):
                events.log(f"\n{outcome} in {self.current}:\n{detail}\n")

        def text(self, error: Any) -> str:
            return "".join(traceback.format_exception(*error))[-DETAIL_LIMIT:]

        def addSuccess(self, test: Any) -> None:
            self.note(test, "pass")

        def addError(self, test: Any, err: Any) -> None:
            self.note(test, "error", self.text(err))

        def addFailure(self, test: Any, err: Any) -> None:
            self.note(test, "fail", self.text(err))

        def addSkip(self, test: Any, reason: str) -> None:
            if self.current is None and isinstance(test, unittest.TestCase):
                # unittest of 3.12.1 skips a test without having started it.
                events("stop", id=name_of(test), outcome="skip", seconds=0, detail=str(reason))
                return
            self.note(test, "skip", str(reason))

        def addExpectedFailure(self, test: Any, err: Any) -> None:
            self.note(test, "xfail")

        def addUnexpectedSuccess(self, test: Any) -> None:
            self.note(test, "xpass", "marked as an expected failure, and passed")

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                outcome = "fail" if issubclass(err[0], test.failureException) else "error"
                self.note(test, outcome, f"{subtest}\n{self.text(err)}")

    return Result()


def make_suite(tests: Iterable[Any], events: Events) -> unittest.TestSuite:
    """One flat suite in the loader's order, that says when it enters a class's or module's fixture.

    Hooks unittest's own steps, so that fixtures run exactly when they would in the loader's nested suites.
    """
    import unittest

    class Suite(unittest.TestSuite):
        def _handleModuleFixture(self, test: Any, result: Any) -> None:
            module = test.__class__.__module__
            if module != self._get_previous_module(result):
                events("fixture", where=f"setUpModule ({module})")
            super()._handleModuleFixture(test, result)

        def _handleModuleTearDown(self, result: Any) -> None:
            events("fixture", where=f"tearDownModule ({self._get_previous_module(result)})")
            super()._handleModuleTearDown(result)

        def _handleClassSetUp(self, test: Any, result: Any) -> None:
            if test.__class__ is not getattr(result, "_previousTestClass", None):
                events("fixture", where=f"setUpClass ({unittest.util.strclass(test.__class__)})")
            super()._handleClassSetUp(test, result)

        def _tearDownPreviousClass(self, test: Any, result: Any) -> None:
            previous = getattr(result, "_previousTestClass", None)
            if previous is not None and previous is not test.__class__:
                events("fixture", where=f"tearDownClass ({unittest.util.strclass(previous)})")
            super()._tearDownPreviousClass(test, result)

    return Suite(tests)


def flatten(suite: Any) -> Iterator[Any]:
    """The tests of nested suites, which are emptied: a test that ran is freed, with the sockets it holds."""
    tests, suite._tests = suite._tests, []
    for item in tests:
        if hasattr(item, "_tests"):
            yield from flatten(item)
        else:
            yield item


class Runner:
    """Runs what the loader found, without the tests that have an outcome from an earlier process."""

    def __init__(self, settings: Settings, events: Events) -> None:
        self.events = events
        self.finished = frozenset(settings["finished"])
        self.patterns = settings["match"]
        # By id(), not by the test: nothing here may keep a test alive that ran.
        self.names: dict[int, str] = {}
        self.seen: dict[str, int] = {}
        self.result = make_result(events, lambda test: self.names[id(test)])

    def run(self, suite: unittest.TestSuite) -> None:
        loaded: list[str] = []
        chosen = make_suite(self.choose(suite, loaded), self.events)
        self.events("loaded", ids=loaded)
        chosen.run(self.result)

    def choose(self, suite: unittest.TestSuite, loaded: list[str]) -> Iterator[Any]:
        for test in flatten(suite):
            name = self.name(test)
            if self.matches(name):
                loaded.append(name)
                if name not in self.finished:
                    self.names[id(test)] = name
                    yield test

    def name(self, test: Any) -> str:
        """The test's id without the leading `test.`, and with a number where several tests share it."""
        name: str = test.id()
        name = name[5:] if name.startswith("test.") else name
        self.seen[name] = number = self.seen.get(name, 0) + 1
        return name if number == 1 else f"{name}#{number}"

    def matches(self, name: str) -> bool:
        from fnmatch import fnmatchcase

        return not self.patterns or any(
            fnmatchcase(name, pattern) or pattern in name.split(".") for pattern in self.patterns
        )


def run_module(settings: Settings, events: Events) -> None:
    import importlib
    import traceback
    import unittest

    from test import support

    runner = Runner(settings, events)
    events("fixture", where="<import>")
    try:
        module = importlib.import_module(settings["module"])
        test_main = getattr(module, "test_main", None)
        if test_main is None:
            runner.run(unittest.TestLoader().loadTestsFromModule(module))
        else:
            # Older modules build their own suite and hand it to this function.
            support._run_suite = runner.run
            test_main()
    except unittest.SkipTest as skip:
        events("skipped", reason=str(skip))
    except Exception:
        events("broken", detail=traceback.format_exc()[-DETAIL_LIMIT:])


def main() -> None:
    import _signal
    import json

    # A shell starts what runs in its background with SIGINT ignored, and the tests send it to themselves.
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    # The tests see neither this script's folder nor its arguments.
    script, path = sys.argv
    sys.argv = [script]
    del sys.path[0]
    with open(path, encoding="utf-8") as stream:
        settings = json.load(stream)
    sys.path[:0] = settings["path"]
    sys.path.extend(settings["fallback_path"])

    events = Events(settings["events"], settings["log"])
    arm = install_stack_dumps(settings)
    events("fixture", where="<patching>")
    exec(settings["layer"], {"__name__": "__layer__"})
    arm()
    events("patched", layer=getattr(sys.modules.get("greenify"), "__file__", None))
    set_up_process(settings)
    try:
        run_module(settings, events)

        from test import support

        support.gc_collect()
        support.reap_children()
    except BaseException:
        # A KeyboardInterrupt that went through unittest, say: the supervisor goes on in another process.
        import traceback

        events("escaped", detail=traceback.format_exc()[-DETAIL_LIMIT:])
        sys.stdout.flush()
        events.exit(1)
    events("done")
    sys.exit(0)


if __name__ == "__main__":
    main()
