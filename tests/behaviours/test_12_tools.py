"""12. Debuggers and tools: pdb, faulthandler, trace functions, dumps of stacks, coverage, pytest, cProfile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.behaviours.scenario import ALL, BOTH, check, check_file
from tests.support import Mode, child_env, run_python


def python(*arguments: object, mode: Mode, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``python arguments``, or the same under the launcher."""
    launcher = ["-m", "greenify"] if mode else []
    return subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        cwd=cwd,
        env=child_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


class TestTracing:
    @ALL
    def test_trace_and_profile_functions_belong_to_a_thread(
        self, tmp_path: Path, mode: Mode
    ) -> None:
        code = """
        import sys, time
        def inner():
            time.sleep(0.001)
        def work():
            for _ in range(3):
                inner()
        def recorder(seen):
            def record(frame, event, arg):
                if frame.f_code in (inner.__code__, work.__code__):
                    seen.append((threading.current_thread().name, frame.f_code.co_name, event))
                return record
            return record
        for setter, getter in ((sys.settrace, sys.gettrace), (sys.setprofile, sys.getprofile)):
            seen = []
            def traced():
                assert getter() is None
                record = recorder(seen)
                setter(record)
                work()
                assert getter() is record
                setter(None)
                work()
            calls = [Call(traced), Call(work), Call(traced), Call(work)]
            work()
            assert getter() is None
            for call in calls:
                call.result()
            names = {calls[0].name, calls[2].name}
            assert {name for name, _, _ in seen} == names, seen
            for name in names:
                entered = [what for who, what, event in seen if who == name and event == "call"]
                assert entered == ["work", "inner", "inner", "inner"], seen
        """
        check_file(tmp_path, code, mode)

    @BOTH
    def test_for_all_new_threads(self, tmp_path: Path, mode: Mode) -> None:
        """`threading.settrace` and its kin: every thread that starts gets it, the one that calls does not."""
        code = """
        import sys, time
        def work():
            time.sleep(0.001)
            return sys.gettrace(), sys.getprofile()
        seen = set()
        def record(frame, event, arg):
            if frame.f_code is work.__code__:
                seen.add(threading.current_thread().name)
        threading.settrace(record)
        threading.setprofile(record)
        calls = [Call(work) for _ in range(3)]
        work()
        assert [call.result() for call in calls] == [(record, record)] * 3
        assert seen == {call.name for call in calls}
        threading.settrace(None)
        threading.setprofile(None)
        assert Call(work).result() == (None, None)
        if hasattr(threading, "settrace_all_threads"):
            seen.clear()
            inside, go = threading.Event(), threading.Event()
            def stay():
                inside.set()
                go.wait()
                return work()
            call = Call(stay)
            inside.wait()
            threading.settrace_all_threads(record)
            go.set()
            assert call.result() == (record, None)
            assert seen == {call.name}
            threading.settrace_all_threads(None)
            assert sys.gettrace() is None
        """
        check_file(tmp_path, code, mode)


class TestStacks:
    @ALL
    def test_current_frames(self, mode: Mode) -> None:
        """The usual dump of all threads shows where each of them waits."""
        code = """
        import queue, sys, traceback
        jobs, inside = queue.Queue(), threading.Semaphore(0)
        def wait_for_job():
            inside.release()
            jobs.get()
        calls = [Call(wait_for_job) for _ in range(3)]
        for _ in calls:
            inside.acquire()
        def dump():
            frames = sys._current_frames()
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            return {names[ident]: "".join(traceback.format_stack(frame)) for ident, frame in frames.items() if ident in names}
        def check(found, here):
            assert set(found) >= {threading.main_thread().name, *(call.name for call in calls)}
            for call in calls:
                assert "in wait_for_job" in found[call.name], found
            lines = found[here].splitlines()
            assert "in dump" in "".join(lines[-2:]), found[here]
        check(dump(), "MainThread")
        other = Call(dump)
        found = other.result()
        check(found, other.name)
        assert "in <module>" in found["MainThread"]
        for _ in calls:
            jobs.put(1)
        for call in calls:
            call.result()
        gone = {call.ident for call in calls}
        while gone & set(sys._current_frames()):
            threading.Event().wait(0.001)
        """
        check(code, mode)

    @BOTH
    def test_faulthandler(self, mode: Mode) -> None:
        """It sees the OS threads; of green ones, the one that runs (`sys._current_frames` sees all)."""
        code = """
        import faulthandler, os, sys
        r, w = os.pipe()
        def dump_here():
            faulthandler.dump_traceback(file=w)
        Call(dump_here).result()
        assert b"in dump_here" in os.read(r, 1 << 16)
        faulthandler.dump_traceback_later(0.01, file=w)
        assert b"Timeout" in os.read(r, 1 << 16)
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.flush()
        os.abort()
        """
        result = run_python(
            "import threading\n" + _CALL + textwrap.dedent(code), greenify=mode, timeout=60
        )
        assert result.returncode == -6, result.stderr
        assert "Fatal Python error: Aborted" in result.stderr
        assert 'File "<string>"' in result.stderr


class TestDebugger:
    @BOTH
    def test_pdb_in_a_thread(self, tmp_path: Path, mode: Mode) -> None:
        """Stepping over a call that blocks stays in the thread, while the others run."""
        code = """
        import sys, time
        def debugged(number):
            before = number
            breakpoint()
            time.sleep(0.005)
            number += 1
            time.sleep(0.005)
            return number
        stop = threading.Event()
        turns = []
        def other():
            while not stop.is_set():
                turns.append(1)
                time.sleep(0.0001)
        if __name__ == "__main__":
            call, background = Call(debugged, 3), Call(other)
            assert call.result() == 14
            stop.set()
            background.result()
            print("turns:", len(turns) > 3)
        """
        commands = "p before\nnext\nnext\nnext\np number\nwhere\nnumber += 10\ncontinue\n"
        path = tmp_path / "debugged.py"
        path.write_text(_CALL_IMPORT + textwrap.dedent(code))
        result = run_python(path, greenify=mode, input=commands, check=True, env={"TERM": "dumb"})
        lines = result.stdout.replace("(Pdb) ", "").splitlines()
        assert lines[-1] == "turns: True"
        assert "3" in lines and "4" in lines, result.stdout
        # Every stop is in the function that is debugged.
        stops = [line for line in lines if line.startswith("> ")]
        assert stops and all("debugged(" in line for line in stops), result.stdout


class TestCoverage:
    @pytest.mark.parametrize(
        ("modules", "concurrency"),
        [
            (["coverage"], "thread"),
            *(
                (modules, concurrency)
                for modules in (["greenify", "coverage"], ["coverage", "greenify"])
                for concurrency in ("thread", "greenlet")
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )
    def test_coverage(self, tmp_path: Path, modules: list[str], concurrency: str) -> None:
        """Whoever starts whom: what `thread`, the default, counts with threads; ``greenlet`` does as well."""
        (tmp_path / "program.py").write_text(
            _CALL_IMPORT
            + textwrap.dedent(
                """
                import queue, time
                jobs = queue.Queue()
                def work(number):
                    time.sleep(0.001)
                    # A tracer in C, whose lines would be taken for another function's.
                    number = int(f"{number}")
                    if number % 2:
                        jobs.put("odd")
                    else:
                        jobs.put("even")
                    return number
                def never():
                    return "not run"
                for call in [Call(work, number) for number in range(6)]:
                    call.result()
                assert sorted(jobs.get() for _ in range(6)) == ["even"] * 3 + ["odd"] * 3
                """
            )
        )
        (tmp_path / ".coveragerc").write_text(
            f"[run]\nconcurrency = {concurrency}\nsource = .\nbranch = True\n"
        )
        command = " -m ".join(["", *modules]).replace("coverage", "coverage run")
        # A lock of coverage's own, which only its end uses, is in use when the patch comes.
        quiet = ["-W", "ignore::UserWarning"] if modules[-1] == "greenify" else []
        ran = python(*quiet, *command.split(), "program.py", mode=False, cwd=tmp_path)
        assert (ran.returncode, ran.stderr) == (0, "")
        done = python("-m", "coverage", "json", "-o", "out.json", mode=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads((tmp_path / "out.json").read_text())["files"]["program.py"]
        lines = (tmp_path / "program.py").read_text().splitlines()
        missing = [lines[number - 1].strip() for number in found["missing_lines"]]
        assert missing == ["self.error = exc", "raise self.error", 'return "not run"'] or (
            # The line `except ...` is never reached, either.
            missing
            == [
                "except BaseException as exc:",
                "self.error = exc",
                "raise self.error",
                'return "not run"',
            ]
        ), missing


def up_to_314(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        sys.version_info >= (3, 15), reason=f"the test extra has {package} up to CPython 3.14"
    )


class TestToolsInC:
    """Profilers that set a function of C, with an object that cannot be called."""

    PROGRAM = """
        import queue, threading, time
        def allocate(number):
            time.sleep(0.001)
            return bytearray(100_000 + number)
        def work(number):
            kept = [allocate(number) for _ in range(5)]
            sizes.put(sum(map(len, kept)))
        sizes = queue.Queue()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sum(sizes.get() for _ in threads))
    """

    @pytest.mark.parametrize("launched", [False, True, "inside"], ids=str)
    def test_memray(self, tmp_path: Path, launched: bool | str) -> None:
        """What the threads have allocated is found where it was allocated."""
        (tmp_path / "program.py").write_text(textwrap.dedent(self.PROGRAM))
        run = ["-m", "memray", "run", "-q", "-o", "out.bin"]
        inside = ["-m", "greenify"] if launched == "inside" else []
        ran = python(*run, *inside, "program.py", mode=launched is True, cwd=tmp_path)
        assert (ran.returncode, ran.stdout.split()) == (0, ["2500050"]), ran.stdout + ran.stderr
        read = (
            "import memray\n"
            "with memray.FileReader('out.bin') as reader:\n"
            "    for record in reader.get_high_watermark_allocation_records(merge_threads=True):\n"
            "        if any(name == 'allocate' for name, *_ in record.stack_trace()):\n"
            "            print(record.size)\n"
        )
        shown = python("-c", read, mode=False, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert max(map(int, shown.stdout.split())) >= 500_000, shown.stdout

    @BOTH
    def test_memray_begins_while_threads_run(self, tmp_path: Path, mode: Mode) -> None:
        """What it takes down at a switch has to stay true for it: their functions return, and new ones begin."""
        code = """
        import greenlet, memray, sys, time
        go, there = threading.Event(), threading.Semaphore(0)
        def deep(number, left):
            if left:
                return deep(number, left - 1) + [bytes(1000)]
            there.release()
            go.wait()
            time.sleep(0.001)
            return [bytearray(200_000 + number)]
        if __name__ == "__main__":
            calls = [Call(deep, number, 20) for number in range(5)]
            for _ in calls:
                there.acquire()
            with memray.Tracker(sys.argv[1]):
                go.set()
                late = [Call(deep, number, 20) for number in range(5)]
                kept = [call.result() for call in calls + late]
                more = [bytearray(1000) for _ in range(1000)]
            assert [len(each) for each in kept] == [21] * 10
            assert sys.getprofile() is None
        """
        path = tmp_path / "program.py"
        path.write_text(_CALL_IMPORT + textwrap.dedent(code))
        run_python(path, tmp_path / "out.bin", greenify=mode, check=True)

    @BOTH
    def test_memray_begins_where_a_slice_ends(self, tmp_path: Path, mode: Mode) -> None:
        """It imports while it holds a mutex of C, which the others want with their next allocation."""
        code = """
        import memray, signal, sys, time
        if "greenify" in sys.modules:
            import greenify
            # The twin lets others run by itself.
            raise_signal = greenify.original("signal").raise_signal
        class Finder:
            def find_spec(self, name, path=None, target=None):
                imported.append(name)
                if "greenify" in sys.modules:
                    for _ in range(3):
                        raise_signal(signal.SIGVTALRM)
        def work():
            while not end.is_set():
                bytearray(100_000)
                time.sleep(0)
        if __name__ == "__main__":
            imported, end = [], threading.Event()
            calls = [Call(work) for _ in range(3)]
            sys.meta_path.insert(0, Finder())
            with memray.Tracker(sys.argv[1]):
                time.sleep(0.001)
            assert "memray.reporters" in imported
            end.set()
            for call in calls:
                call.result()
        """
        path = tmp_path / "program.py"
        path.write_text(_CALL_IMPORT + textwrap.dedent(code))
        run_python(path, tmp_path / "out.bin", greenify=mode, check=True)

    @up_to_314("pyinstrument")
    @BOTH
    @pytest.mark.parametrize("when", ["first", "later"])
    def test_pyinstrument(self, tmp_path: Path, when: str, mode: Mode) -> None:
        """It shows the thread that has started it, and what that has waited for, not the others."""
        code = """
        import time
        from pyinstrument import Profiler
        def others(enter, leave):
            enter.wait()
            for _ in range(50):
                theirs()
            leave.wait()
        def theirs():
            time.sleep(0.001)
        def mine():
            for _ in range(50):
                time.sleep(0.001)
        def functions(frame):
            yield frame.function
            for child in frame.children:
                yield from functions(child)
        if __name__ == "__main__":
            enter, leave = threading.Event(), threading.Event()
            calls = [Call(others, enter, leave) for _ in range(2)]
            profiler = Profiler(interval=0.0001)
            profiler.start()
            enter.set()
            mine()
            session = profiler.stop()
            leave.set()
            for call in calls:
                call.result()
            seen = set(functions(session.root_frame()))
            assert "mine" in seen, seen
            assert not seen & {"others", "theirs", "_cycle"}, seen
        """
        path = tmp_path / "program.py"
        first = "import pyinstrument.low_level.stat_profile\n" if when == "first" else ""
        if mode and when == "first":
            first += "import greenify; greenify.patch_all()\n"
        path.write_text(first + _CALL_IMPORT + textwrap.dedent(code))
        run_python(path, greenify=mode and when != "first", check=True)

    @pytest.mark.skipif(
        find_spec("yappi") is None,
        reason="needs yappi, of which there is none for CPython 3.15 yet",
    )
    @pytest.mark.parametrize("order", ["plain", "greenify first", "yappi first"])
    @pytest.mark.parametrize("clock", ["cpu", "wall"])
    def test_yappi(self, clock: str, order: str) -> None:
        """It counts the calls and the time of each thread, and says of which."""
        code = """
        import sys
        order, clock = sys.argv[1:]
        if order == "yappi first":
            import yappi
        if order != "plain":
            import greenify
            greenify.patch_all()
        import threading, time
        import yappi

        def waits():
            time.sleep(0.01)

        def compute():
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass

        def work(number):
            for _ in range(number):
                waits()

        assert yappi._yappi.get_context_backend() == "NATIVE_THREAD"
        yappi.set_clock_type(clock)
        yappi.start()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 6)]
        threads.append(threading.Thread(target=compute))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yappi.stop()
        mine = {each.name: each for each in yappi.get_func_stats() if each.module == "<string>"}
        calls = {name: mine[name].ncall for name in ("work", "waits", "compute")}
        assert calls == {"work": 5, "waits": 15, "compute": 1}, calls
        took = {name: each.ttot for name, each in mine.items()}
        assert took["compute"] >= 0.04, took
        if clock == "cpu":
            assert took["work"] < 0.04, took
        else:
            assert took["waits"] >= 0.15, took
        threads = [each for each in yappi.get_thread_stats() if each.name == "Thread"]
        assert len(threads) == len({each.id for each in threads}) == 6, threads
        if clock == "cpu":
            assert sum(each.ttot > 0.04 for each in threads) == 1, threads
        # The same with what a program asks for by itself.
        yappi.clear_stats()
        yappi.set_context_backend("greenlet")
        assert yappi._yappi.get_context_backend() == "GREENLET"
        yappi.set_context_backend("native_thread")
        assert yappi._yappi.get_context_backend() == "NATIVE_THREAD"
        if order != "plain":
            greenify.restore()
            yappi.start()
            waits()
            yappi.stop()
            assert len(yappi.get_thread_stats()) == 1
        """
        run_python(code, order, clock, greenify=False, check=True)

    @up_to_314("line_profiler")
    @pytest.mark.parametrize("order", ["plain", "greenify first", "line_profiler first", "late"])
    def test_line_profiler(self, order: str) -> None:
        """It counts how often each line of a function is run that several threads are in at a time."""
        code = """
        import sys
        order = sys.argv[1]
        if order == "greenify first":
            import greenify
            greenify.patch_all()
        from line_profiler import LineProfiler
        profiler = LineProfiler()
        if order == "line_profiler first":
            import greenify
            greenify.patch_all()
        import threading, time

        @profiler
        def work(number):
            for _ in range(number):
                time.sleep(0.01)
            return sum(each(number))

        @profiler
        def each(number):
            for count in range(number):
                time.sleep(0)
                yield count

        @profiler
        def run():
            if order == "late":
                import greenify
                greenify.patch_all()
            # Another one goes on for longer.
            with LineProfiler():
                threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 6)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

        run()
        stats = profiler.get_stats()
        hits, seconds = {}, {}
        for (_, _, name), lines in stats.timings.items():
            hits[name] = [count for _, count, _ in lines]
            seconds[name] = [took * stats.unit for _, _, took in lines]
        assert hits["work"] == [20, 15, 5], hits
        assert hits["each"] == [20, 15, 15], hits
        assert seconds["work"][1] >= 0.15, seconds
        assert hits["run"][-2:] == [6, 5], hits
        assert not profiler.enable_count and not sys.gettrace()
        if order == "late":
            import greenify
            greenify.restore()
            work(1)
            timings = profiler.get_stats().timings
            (lines,) = (lines for (_, _, name), lines in timings.items() if name == "work")
            assert [count for _, count, _ in lines] == [22, 16, 6], lines
        """
        # On `sys.monitoring` it stops with the first thread that leaves, real or green.
        legacy = {"LINE_PROFILER_CORE": "legacy"}
        run_python(code, order, greenify=False, check=True, env=legacy)

    @up_to_314("viztracer")
    @pytest.mark.parametrize("order", ["plain", "greenify first", "viztracer first"])
    def test_viztracer(self, tmp_path: Path, order: str) -> None:
        """Each thread has its row, and in it its calls."""
        (tmp_path / "program.py").write_text(textwrap.dedent(self.PROGRAM))
        tool = ["-m", "viztracer", "--quiet", "-o", "out.json"]
        inside = ["-m", "greenify"] if order == "viztracer first" else []
        ran = python(*tool, *inside, "program.py", mode=order == "greenify first", cwd=tmp_path)
        assert (ran.returncode, ran.stdout.split()) == (0, ["2500050"]), ran.stdout + ran.stderr
        assert ran.stderr == ""
        events = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
        calls: dict[int, list[str]] = {}
        for event in events:
            if event["ph"] == "X":
                calls.setdefault(event["tid"], []).append(event["name"].split(" (")[0])
        found = [
            [name for name in names if name in ("work", "allocate")] for names in calls.values()
        ]
        assert [sorted(names) for names in found if names] == [["allocate"] * 5 + ["work"]] * 5
        names = {
            event["tid"]: event["args"]["name"]
            for event in events
            if event["name"] == "thread_name"
        }
        assert len(names) == len([event for event in events if event["name"] == "thread_name"])
        if order != "plain":
            # From CPython 3.12 on viztracer itself calls every thread Dummy, for it asks too early.
            rows = {names[tid] for tid, names_ in calls.items() if "work" in names_}
            assert rows == {f"Thread-{number} (work)" for number in range(1, 6)}


class TestPytest:
    @BOTH
    def test_pytest_itself(self, tmp_path: Path, mode: Mode) -> None:
        """``python -m greenify -m pytest``: fixtures, captured output, time-outs, tests that wait."""
        (tmp_path / "test_sample.py").write_text(
            textwrap.dedent(
                """
                import logging, queue, socket, subprocess, sys, threading, time
                import pytest

                def test_threads():
                    barrier = threading.Barrier(5)
                    threads = [threading.Thread(target=barrier.wait, args=(30,)) for _ in range(4)]
                    for thread in threads:
                        thread.start()
                    barrier.wait(30)
                    for thread in threads:
                        thread.join()

                def test_sockets():
                    one, other = socket.socketpair()
                    thread = threading.Thread(target=lambda: other.sendall(one.recv(5)))
                    with one, other:
                        sender = threading.Timer(0.001, other.sendall, (b"hello",))
                        sender.start()
                        assert one.recv(5) == b"hello"
                        sender.join()

                """
            )
            + textwrap.dedent(
                """
                def test_captured(capfd, caplog):
                    def talk():
                        print("from a thread")
                        subprocess.run(["echo", "from a child"])
                        logging.warning("logged")
                    thread = threading.Thread(target=talk)
                    thread.start()
                    thread.join()
                    out = capfd.readouterr().out
                    assert "from a thread" in out and "from a child" in out
                    assert [record.message for record in caplog.records] == ["logged"]

                def test_output_in_a_system_capture(capsys):
                    print("x" * 200_000)
                    assert len(capsys.readouterr().out) == 200_001

                @pytest.mark.parametrize("n", range(3))
                def test_monkeypatch(monkeypatch, n):
                    monkeypatch.setattr(time, "sleep", lambda s: s)
                    assert time.sleep(1000) == 1000

                def test_fails():
                    print("shown with the failure")
                    assert queue.Queue(n := 3).maxsize == 4

                @pytest.mark.filterwarnings("error")
                def test_thread_that_raises():
                    thread = threading.Thread(target=lambda: 1 / 0)
                    thread.start()
                    thread.join()
                """
            )
        )
        result = python(
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."),
            mode=mode,
            cwd=tmp_path,
        )
        assert result.returncode == 1, result.stdout + result.stderr
        assert "2 failed, 7 passed" in result.stdout, result.stdout
        assert "shown with the failure" in result.stdout
        assert "PytestUnhandledThreadExceptionWarning" in result.stdout
        assert result.stderr == ""


class TestProfiler:
    @BOTH
    def test_cprofile(self, tmp_path: Path, mode: Mode) -> None:
        """Counts and times of the thread that profiles are right, however often the others run."""
        code = """
        import cProfile, pstats, sys, time
        def leaf():
            time.sleep(0.0005)
        def branch():
            leaf()
            leaf()
        def other():
            for _ in range(10):
                time.sleep(0.0005)
        profile = cProfile.Profile()
        def profiled():
            profile.enable()
            for _ in range(5):
                branch()
            profile.disable()
        # From 3.12 on a profile mixes up whatever threads there are, with real ones, too.
        background = [Call(other) for _ in range(3 if sys.version_info < (3, 12) else 0)]
        call = Call(profiled)
        call.result()
        for thread in background:
            thread.result()
        stats = pstats.Stats(profile)
        counts = {key[2]: value for key, value in stats.stats.items()}
        if sys.version_info >= (3, 12):
            # It takes what happens in other greenlets for calls by these functions.
            assert counts["leaf"][1] >= 10 and counts["branch"][1] >= 5, counts
            sys.exit()
        assert counts["leaf"][:2] == (10, 10) and counts["branch"][:2] == (5, 5), counts
        assert 0.005 <= counts["branch"][3] and 0.005 <= counts["leaf"][3] <= counts["branch"][3] + 1e-6
        """
        check_file(tmp_path, code, mode)

    @BOTH
    def test_cprofile_of_a_whole_program(self, tmp_path: Path, mode: Mode) -> None:
        (tmp_path / "program.py").write_text(
            "import threading, time\n"
            "def work():\n    time.sleep(0.001)\n"
            "threads = [threading.Thread(target=work) for _ in range(3)]\n"
            "for t in threads: t.start()\n"
            "for t in threads: t.join()\n"
            "work()\n"
            "print('done')\n"
        )
        result = python("-m", "cProfile", "-s", "name", "program.py", mode=mode, cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("done\n") and "(work)" in result.stdout


_CALL = """
class Call(threading.Thread):
    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args = function, args
        self.error = self.value = None
        self.start()
    def run(self):
        try:
            self.value = self.function(*self.args)
        except BaseException as exc:
            self.error = exc
    def result(self):
        self.join(30)
        if self.error is not None:
            raise self.error
        return self.value
"""
_CALL_IMPORT = "import threading\n" + _CALL
