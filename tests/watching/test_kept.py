"""Calls of C code that keep the interpreter lock: the thread that looks cannot run while they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import running_python
from tests.watching.programs import line_of, linux, ours, reports, write


@pytest.mark.smoke
def test_a_call_that_keeps_the_interpreter_lock(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        watch = greenify.watch(0.1, found.append)
        threads = others()
        time.sleep(0.01)
        def culprit():
            keep(0.5)  # here
        until_seen(culprit)
        watch.stop()
        show()
        """,
    )
    report = ours(reports(path), path)[0]
    assert report["ended"]
    assert report["seconds"] > 0.1
    assert report["lock_kept"] > 0
    assert not report["computed"]
    assert report["thread"] == "culprit"
    assert report["line"] == line_of(path, "libc_keeping.usleep(")
    assert "keeps the interpreter lock" in report["remedy"]


@pytest.mark.parametrize("when", ["as the first thread", "after an idle time"])
def test_one_before_which_nobody_has_looked(tmp_path: Path, when: str) -> None:
    # The thread that looks cannot run before the call has ended; and it has had no reason to before that.
    path = write(
        tmp_path,
        f"""
        from greenify.core.registry import current_hub
        def culprit():
            while {when != "as the first thread"} and current_hub().on_wake is None:
                time.sleep(0.05)
            keep(0.5)  # here
        for _ in range(20):  # again, if the machine was too busy to see whose it was
            watch = greenify.watch(0.1, found.append)
            call(culprit)
            watch.stop()
            if any(report.function == "keep" for report in found):
                break
        show()
        """,
    )
    report = ours(reports(path), path)[0]
    assert report["seconds"] > 0.1
    assert report["lock_kept"] > 0


# What they do when they have kept it, and who has kept it.
GOES_ON = {
    "ended": ("call(culprit)", "culprit"),
    "waits": ("call(lambda: (culprit(), time.sleep(0.1)))", "culprit"),
    "main": ("culprit()", "MainThread"),
    "task": ("(task := greenify.Task(culprit, name='culprit')).start(); task.join()", "culprit"),
}


@pytest.mark.parametrize(("start", "who"), GOES_ON.values(), ids=GOES_ON)
def test_they_have_gone_on_before_it_is_known_who_it_was(
    tmp_path: Path, start: str, who: str
) -> None:
    # A machine that is busy may stop the thread that looks for so long, after it has seen the frames.
    path = write(
        tmp_path,
        f"""
        from greenify.watching import runners
        gone_on = native.Event()
        seen = native.Event()
        current_frame = runners.current_frame
        def delayed(hub):
            frame = inner = current_frame(hub)
            while inner is not None and not seen.is_set():
                if inner.f_code is culprit.__code__:
                    seen.set()
                    assert gone_on.wait(LONG)
                inner = inner.f_back
            return frame
        runners.current_frame = delayed
        def culprit():
            keep(0.5)
        threads = others()
        watch = greenify.watch(0.1, found.append)
        for _ in range(20):  # again, if the machine was too busy to see them there
            gone_on.clear()
            seen.clear()
            time.sleep(0.02)
            {start}
            time.sleep(0.02)
            gone_on.set()
            watch.flush()
            if any(row.function == "culprit" for report in found for row in report.stack):
                break
        watch.stop()
        show()
        """,
    )
    functions = [
        (report["thread"], row["function"]) for report in reports(path) for row in report["stack"]
    ]
    assert (who, "culprit") in functions
    assert {thread for thread, function in functions if function == "culprit"} == {who}


# When it is called: while the timer runs; and at once when the hub has slept.
BEFORE = {
    "others run": ("others()", "while not timer_runs(): time.sleep(0)"),
    "nobody has run": ("", "while current_hub().on_wake is None: time.sleep(0.05)"),
}


@linux
@pytest.mark.parametrize(("beside", "wait"), BEFORE.values(), ids=BEFORE)
def test_c_code_that_does_not_come_back(tmp_path: Path, beside: str, wait: str) -> None:
    # No Python code can run: faulthandler writes the stacks from C.  What the program has asked of it stays.
    path = write(
        tmp_path,
        f"""
        import faulthandler
        from greenify.core.registry import current_hub
        from greenify.watching import Watch
        faulthandler.dump_traceback_later(600)
        watch = Watch(0.05, patience=0.1, alarm=0.2)
        {beside}
        held = Held()
        def timer_runs():
            return any(looker._alarm._set for looker in watch._lookers.values())
        def culprit():
            {wait}
            libc_keeping.read(held.reader, held.buffer, 1)  # here
        print(held.writer, flush=True)
        call(culprit)
        over.append(1)
        watch.stop()
        """,
    )
    line = f'File "{path}", line {line_of(path, "# here")} in culprit'
    with running_python(path) as child:
        # This process cannot let itself go.
        with open(f"/proc/{child.pid}/fd/{child.readline()}", "wb", buffering=0) as file:
            child.wait_for_error(line)
            file.write(b"x")
        assert child.wait() == 0
    assert "Timeout" not in child.stderr


def test_the_main_thread_alone_keeps_nobody(tmp_path: Path) -> None:
    # Threads have ended, and it computes: that is no call that does not come back.
    path = write(
        tmp_path,
        """
        from greenify.watching import Watch
        watch = Watch(0.05, patience=0.1, alarm=0.3)
        ran = []
        def work():
            end = time.monotonic() + LONG
            while not timer_runs() and time.monotonic() < end:
                time.sleep(0)
            ran.append(timer_runs())
        def timer_runs():
            return any(looker._alarm._set for looker in watch._lookers.values())
        call(work)
        assert ran == [True] or sys.platform != "linux"
        end = time.monotonic() + LONG
        while timer_runs() and time.monotonic() < end:
            pass  # no wait, which would end it, too
        over.append(not timer_runs())
        watch.stop()
        print(json.dumps(over))
        """,
    )
    assert reports(path) == [True]
