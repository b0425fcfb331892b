"""greenify.files, and the size of the pool of native threads behind it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import greenify
from greenify import core, files
from greenify.core.workers import Workers, default_workers
from greenify.errors import TaskExit
from greenify.event import Event
from greenify.futures import NativeThreadPoolExecutor, run_in_thread, set_thread_limit
from greenify.task import spawn
from greenify.timeout import Timeout
from tests.support import run_python

LINES = [f"line {number} é\n" for number in range(20_000)]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_text("".join(LINES), encoding="utf-8")
    return path


class TestWhole:
    def test_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        data = os.urandom(100_000)
        assert files.write_bytes(path, data) == len(data)
        assert path.read_bytes() == files.read_bytes(path) == files.read_bytes(str(path)) == data

    def test_text(self, tmp_path: Path) -> None:
        path = tmp_path / "text"
        assert files.write_text(path, "é\n", "latin-1", newline="\r\n") == 2
        assert path.read_bytes() == b"\xe9\r\n"
        assert files.read_text(path, "latin-1") == "é\n"
        with pytest.raises(UnicodeDecodeError):
            files.read_text(path, "utf-8")
        assert files.read_text(path, "ascii", "replace") == "\ufffd\n"

    def test_errors(self, tmp_path: Path) -> None:
        for call in (files.read_bytes, files.read_text, files.open):
            with pytest.raises(FileNotFoundError) as caught:
                call(tmp_path / "missing")
            assert caught.value.filename == str(tmp_path / "missing")
        with pytest.raises(ValueError, match="mode"):
            files.open(tmp_path, "xyz")

    def test_lazy_name(self) -> None:
        assert greenify.files is files


class TestFile:
    def test_lines(self, text: Path) -> None:
        with files.open(text, encoding="utf-8") as file:
            assert list(file) == LINES
            assert list(file) == []
        assert file.closed

    @pytest.mark.parametrize("mode", ["r", "rb", "r+", "r+b"])
    def test_lines_and_other_calls(self, text: Path, mode: str) -> None:
        """Reading on after some lines goes on behind the last one, as if nothing had been read ahead."""
        encoding = None if "b" in mode else "utf-8"
        expected: list[Any] = [line.encode() for line in LINES] if "b" in mode else LINES
        with files.open(text, mode, encoding=encoding) as file:
            for number, line in enumerate(file):
                assert line == expected[number]
                if number == 4999:
                    break
            assert file.readline() == expected[5000]
            assert next(file) == expected[5001]
            position = file.tell()
            assert file.read(5) == expected[5002][:5]
            file.seek(position)
            assert file.readlines() == expected[5002:]
            assert file.read() == expected[0][:0]

    def test_writing_behind_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        path.write_bytes(b"1\n2\n3\n")
        with files.open(path, "r+b") as file:
            assert next(file) == b"1\n"
            assert file.write(b"X") == 1
            file.writelines([b"Y", b"Z"])
            file.sync()
            assert path.read_bytes() == b"1\nXYZ\n"
            assert file.truncate() == 5
        assert path.read_bytes() == b"1\nXYZ"

    def test_attributes(self, text: Path) -> None:
        with files.open(text, "rb", buffering=0) as file:
            assert file.readable() and file.seekable() and not file.writable() and not file.isatty()
            assert (file.name, file.mode, file.closed) == (str(text), "rb", False)
            assert os.path.sameopenfile(file.fileno(), file.fileno())
            buffer = bytearray(4)
            assert file.readinto(buffer) == 4
            assert buffer == b"line"
        with files.open(text, encoding="latin-1") as file:
            assert file.encoding == "latin-1" and "text" in repr(file)
        with pytest.raises(ValueError, match="closed"):
            file.read()
        file.close()

    def test_many_tasks_use_one(self, tmp_path: Path) -> None:
        """The calls do not mix."""
        with files.open(tmp_path / "log", "w+", encoding="ascii") as file:
            tasks = [spawn(file.write, f"{number:04}\n") for number in range(200)]
            for task in tasks:
                task.join()
                assert task.result == 5
            file.seek(0)
            assert sorted(file) == [f"{number:04}\n" for number in range(200)]

    def test_nothing_to_wait_for_in_an_os_thread(self, text: Path) -> None:
        found: list[Any] = []

        def work() -> None:
            with files.open(text, encoding="utf-8") as file:
                found.append((list(file) == LINES, core.current_hub()))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert found == [(True, None)]


class TestGivingUp:
    """A FIFO that nobody else opens keeps the native thread waiting for as long as the test wants."""

    @pytest.fixture
    def fifo(self, tmp_path: Path) -> Path:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        return path

    def test_killed_while_it_opens(self, fifo: Path) -> None:
        begun = Event()

        def opener(path: str, flags: int) -> int:
            begun.set()
            return os.open(path, flags)

        task = spawn(files.open, fifo, "rb", opener=opener)
        assert begun.wait(30)
        task.kill()
        assert task.join(10) and isinstance(task.exception, TaskExit)
        # Now the opening succeeds, and the file is closed: or a ResourceWarning would fail the test.
        other = run_in_thread(os.open, fifo, os.O_WRONLY)
        with pytest.raises(BrokenPipeError):
            for _ in range(10_000):
                os.write(other, b"x")
                core.sleep(0.001)
        os.close(other)

    def test_timed_out_while_it_reads(self, fifo: Path) -> None:
        opening = spawn(files.open, fifo, "rb", buffering=0)
        other = run_in_thread(os.open, fifo, os.O_WRONLY)
        opening.join()
        file = opening.result
        assert file is not None
        with pytest.raises(Timeout), Timeout(0.3):  # by then its call has begun
            file.read(1)
        # Its call goes on and takes the first byte; the next call comes after it.
        second = spawn(file.read, 1)
        os.write(other, b"ab")
        second.join()
        assert second.result == b"b"
        os.write(other, b"one\ntwo")
        os.close(other)
        assert list(file) == [b"one\n", b"two"]
        file.close()


class TestThreads:
    def test_limit(self) -> None:
        """More calls run at once when it is raised, and threads end when it is lowered."""
        before = default_workers.limit
        here = threading.Semaphore(0)
        go = threading.Event()

        def block() -> None:
            here.release()
            go.wait(30)

        assert set_thread_limit(2) == before
        tasks = []
        try:
            while default_workers.threads > 2:  # idle ones of other tests
                core.sleep(0.001)
            tasks = [spawn(run_in_thread, block) for _ in range(6)]
            for _ in range(2):
                run_with_own_thread(here.acquire)
            assert not here.acquire(timeout=0.05)
            assert set_thread_limit(6) == 2
            for _ in range(4):
                run_with_own_thread(here.acquire)
            assert default_workers.threads == 6
            set_thread_limit(1)
            go.set()
            for task in tasks:
                assert task.join(30)
            with Timeout(5):
                while default_workers.threads > 1:
                    core.sleep(0.001)
            assert run_in_thread(int, "7") == 7
        finally:
            go.set()
            set_thread_limit(before)

    @pytest.mark.parametrize("limit", [0, -1])
    def test_wrong_limit(self, limit: int) -> None:
        with pytest.raises(ValueError, match="one thread"):
            set_thread_limit(limit)

    def test_shutdown_ends_idle_threads(self) -> None:
        pool = NativeThreadPoolExecutor(4)
        barrier = threading.Barrier(4)
        for future in [pool.submit(barrier.wait, 30) for _ in range(4)]:
            future.result()
        assert pool._workers.threads == 4
        pool.shutdown()
        with Timeout(5):  # an idle thread would stay for 10 seconds
            while pool._workers.threads:
                core.sleep(0.001)

    def test_dismissed_workers_finish_what_they_have(self) -> None:
        workers = Workers(limit=1, idle=60)
        done: list[int] = []
        for number in range(5):
            workers.start(done.append, number)
        workers.dismiss()
        with Timeout(5):
            while workers.threads:
                core.sleep(0.001)
        assert done == [0, 1, 2, 3, 4]


def run_with_own_thread(function: Any) -> None:
    """Wait for something native, which happens on the pool's threads, without them."""
    result = Workers(limit=1, idle=0).run(function, timeout=30)
    assert result


def test_in_a_patched_process() -> None:
    """There, too, the threads are native, and the others run meanwhile."""
    run_python(
        """
        import os, tempfile, threading, time
        import greenify
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "fifo")
            os.mkfifo(path)
            beats = []
            def beat():
                while True:
                    time.sleep(0.001)
                    beats.append(None)
            threading.Thread(target=beat, daemon=True).start()
            def write():
                while len(beats) < 20:
                    time.sleep(0.001)
                greenify.files.write_bytes(path, b"hello")
            threading.Thread(target=write).start()
            assert greenify.files.read_bytes(path) == b"hello"
            assert len(beats) >= 20
        """,
        check=True,
        timeout=30,
    )
