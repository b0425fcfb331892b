"""`faulthandler.dump_traceback_later`: what it writes, and when, as with threads; it never crashes."""

from __future__ import annotations

import re

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode, run_python

READY = """
    import ctypes, faulthandler, re, tempfile

    TITLE = "Timeout "
    warnings.simplefilter("ignore", ResourceWarning)  # files are open to the end

    def text_of(file):
        return os.pread(file.fileno(), 1_000_000, 0).decode()

    def until(condition):
        limit = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < limit, "it has not come to be"
            time.sleep(0.001)

    file = tempfile.TemporaryFile()
"""


@both_modes
def test_what_it_writes(mode: Mode) -> None:
    run(
        READY
        + """
    def who_computes():
        while "in who_computes" not in text_of(file):
            pass
    faulthandler.dump_traceback_later(0.05, file=file)
    who_computes()
    time.sleep(0.1)
    text = text_of(file)
    assert text.startswith("Timeout (0:00:00.050000)!\\nThread 0x"), text
    assert text.endswith("\\n") and text.count(TITLE) == 1 and "Current" not in text, text
    assert text.count("in who_computes") == 1 and "watchdog" not in text, text
    """,
        mode,
    )


@both_modes
def test_again_and_again_until_it_is_cancelled(mode: Mode) -> None:
    run(
        READY
        + """
    other = tempfile.TemporaryFile()
    faulthandler.dump_traceback_later(0.1, file=other)
    # Takes the place of that one.
    faulthandler.dump_traceback_later(0.01, repeat=True, file=file.fileno())
    until(lambda: text_of(file).count(TITLE) >= 5)
    faulthandler.cancel_dump_traceback_later()
    number = len(text_of(file))
    time.sleep(0.8)
    assert len(text_of(file)) == number
    assert not text_of(other)
    faulthandler.cancel_dump_traceback_later()
    """,
        mode,
    )


@both_modes
def test_while_c_code_keeps_the_interpreter(mode: Mode) -> None:
    run(
        READY
        + """
    keeping = ctypes.PyDLL(None)
    faulthandler.dump_traceback_later(0.05, file=file)
    keeping.usleep(900_000)
    # Written meanwhile: nothing else has run.
    text = text_of(file)
    assert text.count(TITLE) == 1 and "in <module>" in text, text
    time.sleep(0.7)
    assert text_of(file) == text
    """,
        mode,
    )


@both_modes
def test_what_is_refused(mode: Mode) -> None:
    run(
        READY
        + """
    calls = {
        "nothing": lambda: faulthandler.dump_traceback_later(),
        "zero": lambda: faulthandler.dump_traceback_later(0),
        "negative": lambda: faulthandler.dump_traceback_later(-1.0),
        "text": lambda: faulthandler.dump_traceback_later("1"),
        "too long": lambda: faulthandler.dump_traceback_later(1e30),
        "no file": lambda: faulthandler.dump_traceback_later(1, file="x"),
        "unknown": lambda: faulthandler.dump_traceback_later(1, nothing=1),
    }
    types = {name: outcome(call).partition(":")[0] for name, call in calls.items()}
    errors = {"zero": "ValueError", "negative": "ValueError", "too long": "OverflowError",
        "no file": "AttributeError"}
    assert types == {name: errors.get(name, "TypeError") for name in calls}, types
    sys.stderr = None
    assert outcome(faulthandler.dump_traceback_later, 1) == "RuntimeError: sys.stderr is None"
    """,
        mode,
    )


@both_modes
def test_it_leaves_the_process(mode: Mode) -> None:
    result = run_python(
        """
        import faulthandler
        def who_computes():
            while True:
                pass
        faulthandler.dump_traceback_later(0.05, exit=True)
        who_computes()
        """,
        greenify=mode,
    )
    assert result.returncode == 1
    assert re.match(r"Timeout \(0:00:00\.050000\)!\nThread 0x[^\n]*\n", result.stderr)
    assert "in who_computes" in result.stderr


@pytest.mark.timeout(120)
def test_while_threads_take_turns_all_the_time() -> None:
    # It crashed within seconds, on most versions.
    run(
        READY
        + """
    number = [0]
    def turns():
        end = time.monotonic() + 4
        while time.monotonic() < end:
            number[0] += 1
            time.sleep(0)
    faulthandler.dump_traceback_later(0.001, repeat=True, file=file)
    threads = [Thread(turns) for _ in range(3)]
    for thread in threads:
        thread.end()
    faulthandler.cancel_dump_traceback_later()
    assert number[0] > 1000 and os.fstat(file.fileno()).st_size > 1000
    """,
        "patch_all",
    )
