"""The runner itself: test modules that fail, hang and crash in every way, and what is recorded of them."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from . import processes, supervisor
from .outcomes import ModuleRun, Outcome
from .supervisor import Job

Run = Callable[..., ModuleRun]

#: One test's limit where a test hangs on purpose, in seconds.
SHORT = 1.0


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Writes a module and runs it; its name is `fake`."""

    def run_(
        source: str, timeout: float = 30, code: str = "", match: Sequence[str] = ()
    ) -> ModuleRun:
        (tmp_path / "fake.py").write_text(
            "import os, sys, threading, unittest\n" + textwrap.dedent(source)
        )
        job = Job(
            module="fake",
            target="fake",
            python=sys.executable,
            layer="fake",
            code=code,
            log=tmp_path / "fake.log",
            timeout=timeout,
            match=match,
            path=(str(tmp_path),),
        )
        return supervisor.run(job)

    return run_


def outcomes(result: ModuleRun) -> dict[str, Outcome]:
    return {test.rpartition(".")[2]: record.outcome for test, record in result.tests.items()}


class TestOutcomes:
    def test_each_kind(self, run: Run) -> None:
        result = run(
            """
            class Kinds(unittest.TestCase):
                def test_pass(self): pass
                def test_fail(self): self.assertEqual(1, 2)
                def test_error(self): raise LookupError("lost")
                def test_exit(self): sys.exit(3)
                def test_skip(self): self.skipTest("no moon")
                @unittest.skip("no sun")
                def test_skipped_from_outside(self): pass
                @unittest.expectedFailure
                def test_xfail(self): self.fail()
                @unittest.expectedFailure
                def test_xpass(self): pass
            """
        )
        assert outcomes(result) == {
            "test_pass": Outcome.PASS,
            "test_fail": Outcome.FAIL,
            "test_error": Outcome.ERROR,
            "test_exit": Outcome.ERROR,
            "test_skip": Outcome.SKIP,
            "test_skipped_from_outside": Outcome.SKIP,
            "test_xfail": Outcome.XFAIL,
            "test_xpass": Outcome.XPASS,
        }
        assert "LookupError: lost" in result.tests["fake.Kinds.test_error"].detail
        assert result.tests["fake.Kinds.test_skip"].detail == "no moon"
        assert result.tests["fake.Kinds.test_skipped_from_outside"].detail == "no sun"
        assert result.processes == 1
        assert not result.incidents

    def test_the_worst_subtest_counts(self, run: Run) -> None:
        result = run(
            """
            class Subtests(unittest.TestCase):
                def each(self, *bodies):
                    for number, body in enumerate(bodies):
                        with self.subTest(number=number):
                            body()
                def test_all_pass(self): self.each(int, int)
                def test_one_fails(self): self.each(int, self.fail, int)
                def test_error_after_failure(self): self.each(self.fail, lambda: 1 / 0, self.fail)
            """
        )
        assert outcomes(result) == {
            "test_all_pass": Outcome.PASS,
            "test_one_fails": Outcome.FAIL,
            "test_error_after_failure": Outcome.ERROR,
        }
        assert "number=1" in result.tests["fake.Subtests.test_one_fails"].detail

    def test_same_id_twice(self, run: Run) -> None:
        result = run(
            """
            class Twice(unittest.TestCase):
                def test_x(self): pass

            def load_tests(loader, tests, pattern):
                return unittest.TestSuite([tests, unittest.TestSuite([Twice("test_x")])])
            """
        )
        assert list(result.tests) == ["fake.Twice.test_x", "fake.Twice.test_x#2"]

    def test_module_with_test_main(self, run: Run) -> None:
        result = run(
            """
            from test import support

            class Old(unittest.TestCase):
                def test_x(self): pass

            class NotRun(unittest.TestCase):
                def test_y(self): pass

            def test_main():
                suite = unittest.TestSuite()
                suite.addTest(unittest.TestLoader().loadTestsFromTestCase(Old))
                support._run_suite(suite)
            """
        )
        assert outcomes(result) == {"test_x": Outcome.PASS}

    def test_match(self, run: Run) -> None:
        source = """
            class A(unittest.TestCase):
                def test_x(self): pass
                def test_y(self): pass

            class B(unittest.TestCase):
                def test_x(self): pass
            """
        assert list(run(source, match=["fake.A.*"]).tests) == ["fake.A.test_x", "fake.A.test_y"]
        assert list(run(source, match=["test_x"]).tests) == ["fake.A.test_x", "fake.B.test_x"]

    def test_a_test_that_ran_is_freed(self, run: Run) -> None:
        result = run(
            """
            import gc, weakref
            refs = []

            class Freed(unittest.TestCase):
                def test_1(self): refs.append(weakref.ref(self))
                def test_2(self):
                    gc.collect()
                    self.assertIsNone(refs[0]())
            """
        )
        assert outcomes(result) == {"test_1": Outcome.PASS, "test_2": Outcome.PASS}

    def test_every_descriptor_closed_by_a_test(self, run: Run) -> None:
        result = run(
            """
            class Closing(unittest.TestCase):
                def test_1(self): os.closerange(3, 256)
                def test_2(self): self.fail("seen")
            """
        )
        assert outcomes(result) == {"test_1": Outcome.PASS, "test_2": Outcome.FAIL}

    def test_surroundings(self, run: Run) -> None:
        result = run(
            """
            class Surroundings(unittest.TestCase):
                def test_layer_came_first(self): self.assertIn(("layer", "fake" in sys.modules), sys.layer)
                def test_folder(self):
                    self.assertTrue(os.getcwd().startswith(os.environ["TMPDIR"]))
                def test_own_folder_is_not_importable(self):
                    with self.assertRaises(ImportError): import supervisor
                def test_resources(self):
                    from test import support
                    self.assertFalse(support.is_resource_enabled("network"))
                def test_arguments(self): self.assertEqual(len(sys.argv), 1)
            """,
            code="import sys; sys.layer = [('layer', 'fake' in sys.modules)]",
        )
        failing = {test: r.detail for test, r in result.tests.items() if not r.outcome.passed}
        assert list(failing) == ["fake.Surroundings.test_layer_came_first"]
        assert "('layer', True) not found in [('layer', False)]" in failing.popitem()[1]


class TestHangs:
    def test_rest_goes_on_and_stacks_are_kept(self, run: Run) -> None:
        result = run(
            """
            class Hanging(unittest.TestCase):
                def test_1(self): pass
                def test_2_waits_for_ever(self):
                    def other_thread(): threading.Event().wait()
                    threading.Thread(target=other_thread, daemon=True).start()
                    threading.Event().wait()
                def test_3(self): pass
            """,
            timeout=SHORT,
        )
        assert list(outcomes(result).values()) == [Outcome.PASS, Outcome.HANG, Outcome.PASS]
        detail = result.tests["fake.Hanging.test_2_waits_for_ever"].detail
        assert detail.startswith("no end after 1 s")
        assert "in test_2_waits_for_ever" in detail
        assert "in other_thread" in detail
        assert result.processes == 2

    def test_parked_greenlets_are_shown(self, run: Run) -> None:
        result = run(
            """
            import greenlet

            class Hanging(unittest.TestCase):
                def test_x(self):
                    def parked(): greenlet.getcurrent().parent.switch()
                    waiting = greenlet.greenlet(parked)
                    waiting.switch()
                    threading.Event().wait()
            """,
            timeout=SHORT,
        )
        assert "in parked" in result.tests["fake.Hanging.test_x"].detail

    def test_children_are_shown_and_killed(self, run: Run, tmp_path: Path) -> None:
        result = run(
            f"""
            import subprocess

            class Hanging(unittest.TestCase):
                def test_forked(self):
                    pid = os.fork()
                    if not pid:
                        def in_the_forked_child(): threading.Event().wait()
                        os.setsid()
                        in_the_forked_child()
                    started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
                    with open({str(tmp_path / "pids")!r}, "w") as stream:
                        stream.write(f"{{pid}} {{started.pid}}")
                    os.waitpid(pid, 0)
            """,
            timeout=SHORT,
        )
        detail = result.tests["fake.Hanging.test_forked"].detail
        assert "in in_the_forked_child" in detail
        assert "sleep 1000" in detail
        for pid in (tmp_path / "pids").read_text().split():
            assert (
                not Path("/proc", pid).exists()
                or "State:\tZ" in Path("/proc", pid, "status").read_text()
            )

    def test_python_code_that_does_not_get_to_run(self, run: Run) -> None:
        """Without the greenlets' stacks, then: their handler is Python code."""
        result = run(
            """
            import ctypes

            class Hanging(unittest.TestCase):
                def test_in_c(self): ctypes.PyDLL(None).pause(); self.test_in_c()
                def test_other(self): pass
            """,
            timeout=SHORT,
        )
        assert list(outcomes(result).values()) == [Outcome.HANG, Outcome.PASS]
        assert "in test_in_c" in result.tests["fake.Hanging.test_in_c"].detail

    def test_longer_in_the_control_means_more_time(self, tmp_path: Path) -> None:
        job = Job("m", "m", "python", "l", "", tmp_path / "log", 10, known={"slow": 4.0})
        assert job.limit("slow") == 32
        assert job.limit("quick") == 10

    def test_at_exit(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervisor, "EXIT_TIMEOUT", SHORT)
        result = run(
            """
            class Leaves(unittest.TestCase):
                def test_thread_behind(self):
                    def left_behind(): threading.Event().wait()
                    threading.Thread(target=left_behind).start()
            """,
            timeout=SHORT,
        )
        assert outcomes(result) == {"test_thread_behind": Outcome.PASS}
        assert result.incidents["<exit>"].outcome is Outcome.HANG
        assert "in left_behind" in result.incidents["<exit>"].detail


class TestCrashes:
    @pytest.mark.parametrize(
        ("crash", "told"),
        [
            ("os.abort()", "SIGABRT"),
            ("os.kill(os.getpid(), 9)", "SIGKILL"),
            ("os._exit(5)", "exit code 5"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ],
    )
    def test_rest_goes_on(self, run: Run, crash: str, told: str) -> None:
        result = run(
            f"""
            class Crashing(unittest.TestCase):
                def test_1(self): pass
                def test_2(self): {crash}
                def test_3(self): pass
            """
        )
        assert list(outcomes(result).values()) == [Outcome.PASS, Outcome.CRASH, Outcome.PASS]
        assert told in result.tests["fake.Crashing.test_2"].detail
        assert result.processes == 2

    def test_output_is_kept(self, run: Run) -> None:
        result = run(
            """
            class Crashing(unittest.TestCase):
                def test_x(self):
                    print("the last words")
                    os.abort()
            """
        )
        detail = result.tests["fake.Crashing.test_x"].detail
        assert "the last words" in detail
        assert "in test_x" in detail

    def test_between_two_tests(self, run: Run) -> None:
        result = run(
            """
            class Crashing(unittest.TestCase):
                @classmethod
                def tearDownClass(cls): os._exit(6)
                def test_1(self): pass

            class Other(unittest.TestCase):
                def test_2(self): pass
            """
        )
        assert outcomes(result) == {"test_1": Outcome.PASS, "test_2": Outcome.PASS}
        assert list(result.incidents) == ["tearDownClass (fake.Crashing)"]

    def test_always_before_the_first_test(self, run: Run) -> None:
        """No endless series of processes."""
        result = run("os.abort()")
        assert not result.tests
        assert result.processes == 1
        assert result.incidents["<import>"].outcome is Outcome.CRASH

    def test_escaped_fork(self, run: Run) -> None:
        result = run(
            """
            class Escaping(unittest.TestCase):
                def test_1(self):
                    self.assertTrue(os.fork(), "in the child")
                    self.assertEqual(os.waitstatus_to_exitcode(os.wait()[1]), 97)
                def test_2(self): pass
            """
        )
        assert outcomes(result) == {"test_1": Outcome.PASS, "test_2": Outcome.PASS}


class TestFixtures:
    SOURCE = """
        class Bad(unittest.TestCase):
            @classmethod
            def setUpClass(cls): {}
            def test_1(self): pass
            def test_2(self): pass

        class Good(unittest.TestCase):
            def test_3(self): pass
        """

    @pytest.mark.parametrize(
        ("body", "outcome", "processes"),
        [
            ("1 / 0", Outcome.ERROR, 1),
            ("raise unittest.SkipTest('no')", Outcome.SKIP, 1),
            ("os.abort()", Outcome.CRASH, 2),
        ],
    )
    def test_set_up_class(self, run: Run, body: str, outcome: Outcome, processes: int) -> None:
        result = run(self.SOURCE.format(body))
        assert outcomes(result) == {"test_1": outcome, "test_2": outcome, "test_3": Outcome.PASS}
        assert result.tests["fake.Bad.test_1"].detail.startswith("setUpClass (fake.Bad)")
        assert result.processes == processes
        assert not result.incidents

    def test_set_up_class_hangs(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervisor, "FIXTURE_TIMEOUT", SHORT)
        result = run(self.SOURCE.format("threading.Event().wait()"), timeout=SHORT)
        assert outcomes(result) == {
            "test_1": Outcome.HANG,
            "test_2": Outcome.HANG,
            "test_3": Outcome.PASS,
        }

    def test_set_up_module(self, run: Run) -> None:
        result = run(
            """
            def setUpModule(): raise OSError("no room")
            class Any(unittest.TestCase):
                def test_1(self): pass
            """
        )
        assert outcomes(result) == {"test_1": Outcome.ERROR}
        assert "OSError: no room" in result.tests["fake.Any.test_1"].detail

    def test_tear_down_class(self, run: Run) -> None:
        result = run(
            """
            class Any(unittest.TestCase):
                @classmethod
                def tearDownClass(cls): raise OSError("no end")
                def test_1(self): pass
            """
        )
        assert outcomes(result) == {"test_1": Outcome.PASS}
        assert result.incidents["tearDownClass (fake.Any)"].outcome is Outcome.ERROR

    def test_import_fails(self, run: Run) -> None:
        result = run("import no_such_module_anywhere")
        assert "no_such_module_anywhere" in result.incidents["<import>"].detail

    def test_module_skips_itself(self, run: Run) -> None:
        result = run("raise unittest.SkipTest('not here')")
        assert result.skipped == "not here"
        assert not result.incidents

    def test_layer_fails(self, run: Run) -> None:
        result = run("", code="raise ValueError('cannot patch')")
        assert "cannot patch" in result.incidents["<patching>"].detail


def test_stop(tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text(
        "import threading, unittest\n"
        "class Hanging(unittest.TestCase):\n"
        "    def test_x(self): threading.Event().wait()\n"
    )
    stop = threading.Event()
    log = tmp_path / "log"
    path = [str(tmp_path)]
    job = Job("fake", "fake", sys.executable, "fake", "", log, 60, path=path, stop=stop)
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(supervisor.Stopped):
        supervisor.run(job)


def test_stacks_are_asked_of_processes_that_answer_only(tmp_path: Path) -> None:
    assert processes.descendants("no such mark") == []
    (tmp_path / "log").touch()
    assert processes.dump_stacks("no such mark", tmp_path / "log") == ""
