"""Who keeps the loop: what the watch says of calls that keep it in different ways."""

from __future__ import annotations

import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from greenify.watching.stacks import Call, _call_of
from tests.support import run_python
from tests.watching.programs import line_of, linux, ours, reports, write

# A watch; who calls `culprit` waits in C until that has said so.
WATCHED = """
    from greenify.watching import Watch

    held = Held()
    def tell(report):
        found.append(report)
        if not report.ended:
            held.let_go()
    watch = Watch(0.05, tell, patience=0.05)
    def culprit():
        held.wait()  # here
"""

HELD = (
    WATCHED
    + """
    threads = others(2)
    call(culprit)
    watch.stop()
    show()
"""
)


@pytest.mark.smoke
@linux
def test_a_call_that_waits(tmp_path: Path) -> None:
    path = write(tmp_path, HELD)
    first, last = ours(reports(path), path)
    assert [first["ended"], last["ended"]] == [False, True]
    assert last["seconds"] >= first["seconds"] >= 0.05
    for report in (first, last):
        assert report["thread"] == "culprit"
        assert report["file"] == str(path)
        assert report["line"] == line_of(path, "libc.read(")
        assert report["source"] == "libc.read(self.reader, self.buffer, 1)"
        assert report["call"] == "libc.read"
        assert report["system_call"] == "read"
        assert report["target"].startswith("pipe:[")
        assert not report["computed"]
        # On a busy machine it may look for a moment as if the lock was kept.
        assert report["lock_kept"] < report["seconds"] / 2
        assert "greenify.run_in_thread" in report["remedy"]
        # The threads with timers; the main one waits for the culprit.
        assert report["ready"] >= 1
        assert report["waited"] > 0
        assert {"other-0", "other-1"} & set(report["waiting"])
    functions = [row["function"].rpartition(".")[2] for row in last["stack"]]
    assert functions[-3:] == ["run", "culprit", "wait"]


def test_who_waits_waits_as_long_as_it_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path, HELD.replace("patience=0.05", "patience=0.4"))
    first, last = ours(reports(path), path)
    for report in first, last:
        # From before it was noticed, after 0.05 s, until it is told, and until it has ended.
        assert report["seconds"] > 0.4
        assert report["waited"] > report["seconds"] * 0.7


def test_code_that_computes_in_c(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        watch = greenify.watch(0.05, found.append)
        threads = others()
        time.sleep(0.01)
        def culprit():
            sum(range(30_000_000))  # here
        until_seen(culprit)
        watch.stop()
        show()
        """,
    )
    found = ours(reports(path), path)
    assert found
    assert max(found, key=lambda report: report["cpu"] or 0)["computed"]


def test_python_code_that_has_no_time_slices(tmp_path: Path) -> None:
    # Without the patch of `thread` nobody is interrupted; tasks are green threads all the same.
    path = write(
        tmp_path,
        """
        from greenify.watching import Watch

        told = []
        watch = Watch(0.05, lambda report: (found.append(report), told.append(1)), patience=0.05)
        def culprit():
            while not told:
                pass  # here
        task = greenify.spawn(culprit)
        other = greenify.spawn(greenify.sleep, 0.001)
        task.join()
        watch.stop()
        show()
        """,
    )
    found = [report for report in reports(path, False) if report["function"] == "culprit"]
    assert found[0]["thread"].startswith("Task-")
    assert found[0]["source"] in ("while not told:", "pass  # here")
    assert found[0]["waiting"]


def test_time_slices_keep_nobody_waiting(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        watch = greenify.watch(0.5, found.append)
        ticks = []
        def tick():
            for _ in range(20):
                time.sleep(0.001)
                ticks.append(1)
        ticker = threading.Thread(target=tick)
        ticker.start()
        while len(ticks) < 20:
            pass
        watch.stop()
        show()
        """,
    )
    assert reports(path) == []


def test_the_main_thread(tmp_path: Path) -> None:
    path = write(tmp_path, HELD.replace("call(culprit)", "time.sleep(0.01); culprit()"))
    found = ours(reports(path), path)
    assert {report["thread"] for report in found} == {"MainThread"}


def test_a_callback_of_the_hub(tmp_path: Path) -> None:
    path = write(
        tmp_path, HELD.replace("call(culprit)", "greenify.call_soon(culprit); time.sleep(0.05)")
    )
    found = ours(reports(path), path)
    assert {report["thread"] for report in found} == {"the hub (a callback)"}


def test_a_raw_greenlet(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        HELD.replace(
            "call(culprit)", "import greenlet; call(lambda: greenlet.greenlet(culprit).switch())"
        ),
    )
    assert ours(reports(path), path)[0]["thread"] == "a greenlet in one of the threads"


@pytest.mark.parametrize(
    ("how", "call"),
    [
        ("native_call(libc.read, *arguments)", "read"),
        ("native_call(functools.partial(libc.read, *arguments))", "read"),
        ("concurrent.futures.ThreadPoolExecutor(1).submit(libc.read, *arguments).result()", "read"),
    ],
)
def test_a_function_of_c_as_a_thread(tmp_path: Path, how: str, call: str) -> None:
    # No line of the program's own is in its stack.
    if "Executor" in how and sys.version_info >= (3, 14):
        call = "fn"
    path = write(
        tmp_path,
        WATCHED
        + f"""
    import concurrent.futures, functools
    arguments = held.reader, held.buffer, 1
    def native_call(function, *args):
        threading.Thread(target=function, args=args).start()
    {how}
    watch.flush()
    watch.stop()
    show()
    """,
    )
    found = [report for report in reports(path) if report["call"] is not None]
    assert found[0]["call"] == call
    assert f"{call}()" in found[0]["remedy"]


def test_what_a_thread_has_been_given_to_call() -> None:
    assert _call_of(",".join).name == "builtins:str.join"
    assert _call_of(partial(textwrap.dedent, "x")) == Call(
        "dedent", "textwrap:dedent", textwrap.dedent
    )
    method = _call_of(Path("x").absolute)
    assert (method.text, method.value) == ("Path.absolute", Path.absolute)

    class Nosy:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"code of the program's has been called, for {name}")

    assert _call_of(Nosy()).text.endswith("Nosy")


def test_two_hubs(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        WATCHED
        + """
    def run():
        other = greenify.spawn(greenify.sleep, 0.001)
        task = greenify.Task(target=culprit, name="culprit")
        task.start()
        task.join()
        other.join()
    thread = native.Thread(target=run)
    # Both hubs are watched, and the main one has something to do.
    threads = others()
    thread.start()
    while thread.is_alive():
        time.sleep(0.001)
    watch.stop()
    show()
        """,
    )
    found = ours(reports(path), path)
    assert [report["thread"] for report in found] == ["culprit", "culprit"]


def test_a_child_of_a_fork_is_watched(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        WATCHED
        + """
    threads = others()
    time.sleep(0.01)
    pid = os.fork()
    if not pid:
        over.append(1)
        over.clear()
        threads = others()
        call(culprit)
        watch.stop()
        show()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    assert watch.places == []
    over.append(1)
    watch.stop()
        """,
    )
    found = ours(reports(path), path)
    assert [report["thread"] for report in found] == ["culprit", "culprit"]


class TestLog:
    def test_each_place_once(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            """
            import logging
            from greenify.watching import Watch, on_report

            records = []
            class Handler(logging.Handler):
                def emit(self, record):
                    records.append(record)
            logging.getLogger("greenify.blocked").addHandler(Handler())
            held = Held()
            on_report.append(lambda report: None if report.ended else held.let_go())
            watch = Watch(0.05, patience=0.05)
            threads = others()
            def culprit():
                held.wait()  # here
            for _ in range(3):
                call(culprit)
                watch.flush()
            over.append(1)
            watch.stop()
            (place,) = [p for p in watch.places if p.first.function.endswith("wait")]
            assert place.calls == 3, place.calls
            assert place.worst.seconds <= place.total
            first, last = [r for r in records if r.blocked["function"].endswith("wait")]
            assert first.levelname == "WARNING"
            text = first.getMessage()
            assert "culprit has kept the loop for 0." in text, text
            assert " and goes on, at " in text, text
            assert "held.wait()  # here" in text, text
            assert "What to do: " in text, text
            assert first.blocked["thread"] == "culprit"
            # The first one went on when it was told, so its end is told, too.
            assert last.getMessage().endswith("it is over now"), last.getMessage()
            # The native thread that has logged it is none of the program's.
            assert threading.active_count() <= 2, threading.enumerate()
            """,
        )
        run_python(path, check=True)

    @pytest.mark.parametrize(
        "how", [{"options": ["--watch=0.1"]}, {"env": {"GREENIFY_WATCH": "0.1"}}], ids=str
    )
    def test_to_standard_error_by_default(self, tmp_path: Path, how: dict[str, Any]) -> None:
        path = write(
            tmp_path,
            """
            held = Held()
            def let_go():
                from greenify.watching import on_report
                on_report.append(lambda report: None if report.ended else held.let_go())
            let_go()
            threads = others()
            call(held.wait)
            over.append(1)
            """,
        )
        result = run_python(path, check=True, **how)
        assert "culprit has kept the loop for " in result.stderr


class TestApi:
    def test_a_wrong_time(self) -> None:
        import greenify

        for seconds in (0, -1, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="seconds must be positive"):
                greenify.watch(seconds)

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            """
            def tasks():
                return len(os.listdir("/proc/self/task")) if os.path.exists("/proc") else 0
            # The hub, with all that it has.
            time.sleep(0.001)
            before = tasks()
            for _ in range(5):
                with greenify.watch(0.01) as watch:
                    assert "stopped" not in repr(watch)
                    task = greenify.spawn(greenify.sleep, 0.02)
                    task.join()
                assert "stopped" in repr(watch)
                watch.stop()
            assert tasks() == before, (tasks(), before)
            """,
        )
        run_python(path, check=True, greenify=False)

    def test_an_error_in_the_callback(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            """
            from greenify.watching import Watch

            held = Held()
            def tell(report):
                if not report.ended:
                    held.let_go()
                    1 / 0
            watch = Watch(0.05, tell, patience=0.05)
            threads = others()
            for _ in range(2):  # it goes on after the first
                call(held.wait)
            over.append(1)
            watch.stop()
            """,
        )
        result = run_python(path, check=True)
        assert result.stderr.count("error in the callback of a watch") == 2
        assert result.stderr.count("ZeroDivisionError") == 2

    def test_the_interpreter_ends_in_the_middle(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            """
            greenify.watch(0.01)
            def run():
                while True:
                    time.sleep(0.001)
            for _ in range(3):
                threading.Thread(target=run, daemon=True).start()
            time.sleep(0.05)
            """,
        )
        for _ in range(3):
            result = run_python(path, check=True)
            # A machine that is busy may make it see something, but nothing may go wrong.
            assert "Error" not in result.stderr and "Exception" not in result.stderr
