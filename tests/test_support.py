"""The helper itself: what it runs, and that a hang comes back with the place where it hangs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support import run_python, running_python

HANG = """
import threading

def wait_for_ever():
    threading.Event().wait()

wait_for_ever()
"""


class TestRunPython:
    def test_source_code_with_arguments(self) -> None:
        result = run_python("import sys; print(sys.argv[1:])", "a", 1, greenify=False)
        assert (result.returncode, result.stdout) == (0, "['a', '1']\n")

    def test_script(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text("import sys\nsys.exit(sys.argv[1])\n")
        result = run_python(script, "why", greenify=False)
        assert (result.returncode, result.stderr) == (1, "why\n")

    def test_warnings_are_errors(self) -> None:
        result = run_python("import warnings; warnings.warn('careful')", greenify=False)
        assert "UserWarning: careful" in result.stderr
        assert result.returncode == 1

    def test_check(self) -> None:
        with pytest.raises(AssertionError, match=r"exit code 3(?s:.*)--- stderr\nbad"):
            run_python(
                "import sys; sys.stderr.write('bad'); sys.exit(3)", greenify=False, check=True
            )

    def test_hang_shows_the_stack(self) -> None:
        with pytest.raises(AssertionError, match="in wait_for_ever"):
            run_python(HANG, greenify=False, timeout=1)

    def test_hang_in_c_shows_the_stack(self) -> None:
        code = """
            import signal

            def wait_for_ever():
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
                signal.sigwait([signal.SIGUSR1])

            wait_for_ever()
        """
        with pytest.raises(
            AssertionError, match=r"Fatal Python error: Aborted(?s:.*)in wait_for_ever"
        ):
            run_python(code, greenify=False, timeout=1)

    def test_hang_shows_parked_greenlets(self) -> None:
        code = """
            import greenlet, time

            def parked():
                greenlet.getcurrent().parent.switch()

            g = greenlet.greenlet(parked)
            g.switch()
            time.sleep(1000)
        """
        with pytest.raises(AssertionError, match=r"--- parked(?s:.*)in parked"):
            run_python(code, greenify=False, timeout=1)


class TestRunningPython:
    def test_lines_and_signal(self) -> None:
        code = """
            import signal, sys, time
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            print("ready", flush=True)
            while True:
                time.sleep(0.01)  # the signal may come before pause() would begin
        """
        with running_python(code, greenify=False) as child:
            assert child.readline() == "ready"
            child.send_signal(signal.SIGTERM)
            assert child.wait() == 7

    def test_killed_at_the_end_of_the_block(self) -> None:
        with running_python(HANG, greenify=False) as child:
            pass
        assert child.process.returncode == -signal.SIGKILL

    def test_missing_line_fails_with_the_output(self) -> None:
        with (
            running_python("print('only')", greenify=False) as child,
            pytest.raises(AssertionError, match=r"no further line(?s:.*)only"),
        ):
            assert child.readline() == "only"
            child.readline()

    def test_hang_shows_the_stack(self) -> None:
        with (
            running_python(HANG, greenify=False, python=sys.executable) as child,
            pytest.raises(AssertionError, match="in wait_for_ever"),
        ):
            child.wait(1)
