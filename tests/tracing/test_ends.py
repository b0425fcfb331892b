"""How a trace begins, ends, and goes on: killed, forked, in memory, asked for by a variable."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from greenify.tracing.reading import read
from tests.support import run_python, running_python
from tests.tracing.drawing import arrows, line, named


def _until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed(tmp_path: Path) -> None:
    """Whatever was written down a moment before is there."""
    file = tmp_path / "killed.pftrace"
    program = """
    import threading, time
    def work():
        while True:
            time.sleep(0.001)
    threading.Thread(target=work, name="worker", daemon=True).start()
    time.sleep(0.1)
    print("now", flush=True)
    time.sleep(1000)
    """
    with running_python(program, options=("--trace", str(file))) as child:
        assert child.readline() == "now"
        # Several rounds of the thread that packs.
        _until(lambda: file.exists() and named(line(read(file), "MainThread"), "sleep <string>:9"))
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    picture = read(file)
    assert len(named(line(picture, "worker"), "sleep <string>:5")) > 10
    assert named(line(picture, "MainThread"), "sleep <string>:9")


def test_a_forked_child_has_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "trace.pftrace"
    program = """
    import os, threading, time
    def work(name):
        thread = threading.Thread(target=time.sleep, args=(0.01,), name=name)
        thread.start()
        thread.join()
    work("before")
    def fork():
        pid = os.fork()
        if not pid:
            work("of the child")
            return
        assert os.waitpid(pid, 0)[1] == 0
        print(pid, flush=True)
    # Out of a green thread, and out of the main thread.
    thread = threading.Thread(target=fork, name="forks")
    thread.start()
    thread.join()
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        print(pid)
        work("afterwards")
    else:
        work("of the child")
    """
    result = run_python(program, options=("--trace", str(file)), check=True)
    first, second = result.stdout.split()
    parent = read(file)
    names = {track.name for track in parent.of_kind("thread")}
    assert {"before", "forks", "afterwards"} <= names
    assert "of the child" not in names
    child = read(tmp_path / f"trace-{second}.pftrace")
    assert {track.name for track in child.of_kind("thread")} == {"MainThread", "of the child"}
    assert named(line(child, "of the child"), "sleep")
    assert int(first) > 0


def test_the_last_seconds_on_a_signal(tmp_path: Path) -> None:
    file = tmp_path / "ring.pftrace"
    program = """
    import threading, time
    thread = threading.Thread(target=lambda: [time.sleep(0.001) for _ in range(100)], name="early")
    thread.start()
    thread.join()
    begun = time.monotonic()
    def work():
        while True:
            time.sleep(0.001)
    threading.Thread(target=work, name="worker", daemon=True).start()
    threading.Thread(target=lambda: time.sleep(1000), name="still", daemon=True).start()
    time.sleep(1.5)
    print("now", flush=True)
    time.sleep(1000)
    """
    options = ("--trace", str(file), "--trace-last", "0.5", "--trace-on", "USR1")
    with running_python(program, options=options) as child:
        assert child.readline() == "now"
        assert not file.exists()
        child.send_signal(signal.SIGUSR1)
        _until(file.exists)
        _until(lambda: "the trace is in" in child.stderr)
        child.send_signal(signal.SIGUSR1)
        _until(lambda: "ring-2.pftrace" in child.stderr)
    picture = read(file)
    assert 0.4e9 < picture.end - picture.begin < 1.4e9
    names = {track.name for track in picture.of_kind("thread")}
    # What has ended before is forgotten; who waits all the time is there.
    assert "early" not in names
    assert named(line(picture, "worker"), "sleep")
    assert line(picture, "still").slices


def test_the_last_seconds_on_a_report_of_the_watch(tmp_path: Path) -> None:
    program = """
    import ctypes, os, threading, time
    import greenify
    libc = ctypes.CDLL(None)
    native = greenify.original("threading")
    def culprit():
        # The second time the place is known, and nothing is written.
        for _ in range(2):
            reader, writer = os.pipe()
            native.Timer(0.5, os.write, (writer, b"x")).start()
            libc.read(reader, ctypes.create_string_buffer(1), 1)
            time.sleep(0.01)
    thread = threading.Thread(target=culprit, name="culprit")
    thread.start()
    thread.join()
    print("now", flush=True)
    time.sleep(1000)
    """
    file = tmp_path / "ring.pftrace"
    options = ("--watch=0.1", "--trace", str(file), "--trace-last", "60")
    with running_python(program, options=options) as child:
        assert child.readline() == "now"
        _until(lambda: f"The trace of the last seconds is in {file}" in child.stderr)
        assert "culprit has kept the loop for" in child.stderr
        # As it was then: the program goes on.
        longest = max(named(line(read(file), "culprit"), "running"), key=lambda each: each.length)
        assert longest.length > 0.1e9


def test_the_last_seconds_at_the_end_and_when_asked(tmp_path: Path) -> None:
    program = """
    import sys, time, greenify
    with greenify.trace(sys.argv[1], last=60) as trace:
        time.sleep(0.01)
        print(trace.write(), trace.write(), trace.write(sys.argv[2]))
        time.sleep(0.01)
    """
    file, other = tmp_path / "t.pftrace", tmp_path / "other"
    result = run_python(program, file, other, check=True)
    assert result.stdout.split() == [str(file), str(tmp_path / "t-2.pftrace"), str(other)]
    last = read(tmp_path / "t-3.pftrace")
    assert len(named(line(last, "MainThread"), "sleep")) == 2


def test_variables(tmp_path: Path) -> None:
    """They work without the launcher, and each process writes a file of its own."""
    program = """
    import os, subprocess, sys
    import greenify; greenify.patch_all()
    import time
    time.sleep(0.01)
    if len(sys.argv) == 1:
        child = subprocess.Popen([sys.executable, "-c", sys.orig_argv[-1], "child"])
        assert child.wait() == 0
        print(child.pid)
    """
    file = tmp_path / "by-variable.pftrace"
    env = {"GREENIFY_TRACE": str(file)}
    result = run_python(program, greenify=False, env=env, check=True)
    assert named(line(read(file), "MainThread"), "child")
    child = read(tmp_path / f"by-variable-{result.stdout.strip()}.pftrace")
    assert named(line(child, "MainThread"), "sleep")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trace-last", "3"), "need --trace FILE"),
        (("--trace", "t", "--trace-last", "0"), "no positive number"),
        (("--trace", "t", "--trace-on", "NONE"), "no such signal"),
    ],
)
def test_wrong_options(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = run_python("pass", options=options, cwd=tmp_path)
    assert result.returncode != 0
    assert message in result.stderr


def test_one_at_a_time(tmp_path: Path) -> None:
    program = """
    import sys, greenify
    with greenify.trace(sys.argv[1]) as trace:
        try:
            greenify.trace(sys.argv[1])
        except greenify.GreenifyError as exc:
            assert "stop that one first" in str(exc), exc
        else:
            raise AssertionError
        trace.stop()
        trace.stop()
    for last in (0, -1, float("nan")):
        try:
            greenify.trace(sys.argv[1], last)
        except greenify.GreenifyError:
            continue
        raise AssertionError(last)
    with greenify.trace(sys.argv[1]):
        pass
    """
    run_python(program, tmp_path / "t", check=True)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The program goes on."""
    program = """
    import sys, time
    time.sleep(0.5)
    print("went on")
    """
    result = run_python(program, options=("--trace", str(tmp_path / "no" / "folder")), check=True)
    assert result.stdout == "went on\n"
    assert "the trace cannot be written" in result.stderr


def test_nothing_happens(tmp_path: Path) -> None:
    """There is a file all the same; of a child that only ends there is none."""
    program = """
    import os, sys
    import greenify
    pid = os.fork()
    if not pid:
        sys.exit()
    greenify.original("os").waitpid(pid, 0)
    """
    file = tmp_path / "t"
    run_python(program, options=("--trace", str(file)), check=True)
    assert read(file).of_kind("thread") == []
    assert os.listdir(tmp_path) == ["t"]


def test_an_exit_by_an_exception(tmp_path: Path) -> None:
    program = """
    import threading, time
    threading.Thread(target=time.sleep, args=(100,), name="daemon", daemon=True).start()
    time.sleep(0.01)
    raise SystemExit(3)
    """
    file = tmp_path / "t"
    assert run_python(program, options=("--trace", str(file))).returncode == 3
    assert ("MainThread", "daemon") in arrows(read(file))


def test_ctrl_c(tmp_path: Path) -> None:
    """An exception of a handler comes to where the program waits, and the trace has it all."""
    program = """
    import signal, threading, time
    def work():
        while True:
            time.sleep(0)
    threading.Thread(target=work, name="worker", daemon=True).start()
    try:
        print("now", flush=True)
        while True:
            time.sleep(0)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    for _ in range(1000):
        time.sleep(0)
    """
    file = tmp_path / "t"
    with running_python(program, options=("--trace", str(file))) as child:
        assert child.readline() == "now"
        child.send_signal(signal.SIGINT)
        assert child.readline() == "interrupted"
        assert child.wait() == 0, child.stderr
    assert child.stderr == ""
    assert len(named(line(read(file), "worker"), "running")) > 500


def test_size_and_memory(tmp_path: Path) -> None:
    """A million switches take less than 60 MB, on the disk and in memory."""
    program = """
    import resource, sys, threading, time, greenify
    def work():
        for _ in range(20000):
            time.sleep(0)
    def run():
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    before = peak()
    with greenify.trace(sys.argv[1]):
        run()
    print(peak() - before)
    """
    file = tmp_path / "t"
    result = run_python(program, file, check=True)
    size, picture = file.stat().st_size, read(file)
    switches = sum(len(named(track, "running")) for track in picture.of_kind("thread"))
    assert switches >= 100_000
    assert size / switches < 60
    # Of the peak, in KiB on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(result.stdout) * unit < 150 * 2**20


def test_no_other_process_reads_it(tmp_path: Path) -> None:
    """The descriptor of the file is no child's."""
    program = """
    import subprocess, sys, time, greenify
    with greenify.trace(sys.argv[1]) as trace:
        time.sleep(0.01)
        trace.write()
        print(subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True).stdout)
    """
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("descriptors are listed in /proc")
    result = run_python(program, tmp_path / "mine", check=True)
    assert "mine" not in result.stdout
