"""Terminals and the standard streams, of whatever kind they are."""

from __future__ import annotations

import errno
import os
import pty
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenify.errors import StreamClosedError, UVError
from greenify.io import TTYStream
from greenify.task import spawn
from tests.io.conftest import join, settle, until
from tests.support import child_env, run_python


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo terminal: the side of the screen and keyboard, and the side of the program."""
    master, slave = pty.openpty()
    yield master, slave
    for number in (master, slave):
        os.close(number)


def flags(fd: int) -> Any:
    settings = termios.tcgetattr(fd)
    return settings[3] & (termios.ICANON | termios.ECHO)


class TestTTYStream:
    def test_lines(self, terminal: tuple[int, int]) -> None:
        master, slave = terminal
        with TTYStream(slave) as stream:
            reader = spawn(stream.read_until, b"\n")
            settle()
            os.write(master, b"typed\n")
            assert join(reader) == b"typed\n"
            assert os.read(master, 100) == b"typed\r\n"  # the echo
            stream.write(b"shown")
            stream.flush()
            assert os.read(master, 100) == b"shown"

    def test_by_path(self, terminal: tuple[int, int]) -> None:
        master, slave = terminal
        with TTYStream(os.ttyname(slave)) as stream:
            stream.write(b"x")
            assert os.read(master, 10) == b"x"

    def test_raw(self, terminal: tuple[int, int]) -> None:
        master, slave = terminal
        before = flags(slave)
        with TTYStream(slave) as stream:
            stream.set_raw()
            assert flags(slave) == 0
            os.write(master, b"k")
            assert stream.read() == b"k"
            stream.set_raw(False)
            assert flags(slave) == before
            stream.set_raw()
        assert flags(slave) == before

    def test_descriptor_stays_what_it_was(self, terminal: tuple[int, int]) -> None:
        _, slave = terminal
        os.set_inheritable(slave, True)
        with TTYStream(slave):
            assert os.get_blocking(slave) and os.get_inheritable(slave)
        assert os.get_blocking(slave) and os.isatty(slave)

    def test_master(self, terminal: tuple[int, int]) -> None:
        """It cannot be opened once more: its file is shared, and blocks again in the end."""
        master, slave = terminal
        with TTYStream(master) as stream:
            assert not os.get_blocking(master)
            os.write(slave, b"shown")
            assert stream.read() == b"shown"
            stream.write(b"typed\n")
            assert os.read(slave, 10) == b"typed\n"
        assert os.get_blocking(master)

    def test_output_that_nobody_reads(self, terminal: tuple[int, int]) -> None:
        master, slave = terminal
        with TTYStream(slave) as stream:
            writer = spawn(stream.write, b"x" * 200_000)
            settle()
            until(lambda: stream._layer.unsent)
            assert writer.alive
            got = 0
            os.set_blocking(master, False)
            while got < 200_000:
                try:
                    got += len(os.read(master, 65_536))
                except BlockingIOError:
                    settle()
            join(writer)

    def test_size(self, terminal: tuple[int, int]) -> None:
        import fcntl
        import struct

        _, slave = terminal
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        with TTYStream(slave) as stream:
            assert stream.size == (101, 33)
        with pytest.raises(StreamClosedError):
            stream.size  # noqa: B018

    def test_no_shutdown(self, terminal: tuple[int, int]) -> None:
        with TTYStream(terminal[1]) as stream:
            with pytest.raises(UVError) as caught:
                stream.shutdown()
            assert caught.value.errno == errno.EOPNOTSUPP
            stream.write(b"x")

    def test_no_terminal(self, tmp_path: Path) -> None:
        read, write = os.pipe()
        file = tmp_path / "file"
        file.touch()
        for wrong, number in (
            (read, errno.ENOTTY),
            (str(file), errno.ENOTTY),
            (str(tmp_path / "missing"), errno.ENOENT),
            (-1, errno.EBADF),
        ):
            with pytest.raises(UVError) as caught:
                TTYStream(wrong)
            assert caught.value.errno == number
        os.close(read)
        os.close(write)

    def test_terminal_that_is_gone(self) -> None:
        master, slave = pty.openpty()
        with TTYStream(slave) as stream:
            stream.set_raw()
            os.close(slave)
            os.close(master)
            try:
                assert stream.read() == b""
            except UVError as exc:
                assert exc.errno == errno.EIO


UPPER = """
from greenify.io import StderrStream, StdinStream, StdoutStream
from greenify.task import spawn

ticks = []
with StdinStream() as source, StdoutStream() as sink, StderrStream() as errors:
    while data := source.read():
        sink.write(data.upper())
    errors.write(b"done")
import os
# The descriptors are as they were.
assert all(os.get_blocking(number) for number in (0, 1, 2))
print(".", end="")
"""


class TestStandardStreams:
    @pytest.mark.parametrize("patched", [False, True], ids=["unpatched", "patched"])
    def test_pipes(self, patched: bool) -> None:
        text = "some text\n" * 100_000
        done = run_python(UPPER, input=text, greenify=patched, check=True)
        assert done.stdout == text.upper() + "."
        assert done.stderr == "done"

    def test_files(self, tmp_path: Path) -> None:
        source, sink = tmp_path / "in", tmp_path / "out"
        source.write_text("text" * 50_000)
        self.run(source.open(), sink.open("w"))
        assert sink.read_text() == "TEXT" * 50_000 + "."

    def test_null(self) -> None:
        with open(os.devnull, "r+") as null:
            self.run(null, null)

    def test_sockets(self) -> None:
        ours, theirs = socket.socketpair()
        with ours:
            ours.sendall(b"text")
            ours.shutdown(socket.SHUT_WR)
            with theirs:
                self.run(theirs, theirs)
            assert ours.recv(100) == b"TEXT."

    def test_terminal(self) -> None:
        master, slave = pty.openpty()
        os.write(master, b"text\n\x04")
        self.run(slave, slave)
        os.close(slave)
        output = b""
        while not output.endswith(b"."):
            output += os.read(master, 100)
        os.close(master)
        assert b"TEXT\r\n" in output

    def run(self, source: Any, sink: Any) -> None:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", UPPER],
            stdin=source,
            stdout=sink,
            stderr=subprocess.PIPE,
            env=child_env(),
            timeout=60,
        )
        for each in (source, sink):
            if hasattr(each, "close"):
                each.close()
        assert (done.returncode, done.stderr) == (0, b"done")

    def test_tasks_run_while_nothing_is_typed(self) -> None:
        """A reader of the standard input keeps nobody else waiting."""
        done = run_python(
            """
            import os
            import greenify
            from greenify.io import StdinStream
            read, write = os.pipe()
            os.dup2(read, 0)
            with StdinStream() as source:
                line = greenify.spawn(source.read_until, b"\\n")
                for _ in range(5):
                    greenify.sleep(0.001)
                os.write(write, b"typed\\n")
                line.join()
                print(line.result.decode(), end="")
            """,
            greenify=False,
            check=True,
        )
        assert done.stdout == "typed\n"

    def test_closed_ones(self) -> None:
        run_python(
            """
            import errno, os
            from greenify.errors import UVError
            from greenify.io import StdinStream
            os.close(0)
            try:
                StdinStream()
            except UVError as exc:
                assert exc.errno == errno.EBADF
            else:
                raise AssertionError
            """,
            greenify=False,
            check=True,
        )
