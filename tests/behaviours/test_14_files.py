"""14. Files: pipes, terminals and FIFOs cooperate; regular files block, and there is a helper for them."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.behaviours.scenario import ALL, BOTH, check, talking
from tests.support import Mode

ENDS = """
import io, os, socket, sys, tempfile, tty

def pipe():
    return os.pipe()

def terminal():
    master, slave = os.openpty()
    tty.setraw(slave)
    return master, slave

def fifo():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fifo")
        os.mkfifo(path)
        both = os.open(path, os.O_RDWR)
        ends = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
        os.close(both)
        return ends

def sockets():
    one, other = socket.socketpair()
    return one.detach(), other.detach()

r, w = globals()[sys.argv[1]]()
"""
KINDS = pytest.mark.parametrize("ends", ["pipe", "terminal", "fifo", "sockets"])


class TestDescriptors:
    @KINDS
    @ALL
    def test_read_and_write(self, ends: str, mode: Mode) -> None:
        """A thread that reads, or writes more than there is room for, lets the main thread go on."""
        code = """
        about_to = threading.Event()

        def read():
            about_to.set()
            return os.read(r, 100)

        reader = Call(read)
        about_to.wait()
        os.write(w, b"now")
        assert reader.result() == b"now"

        size = 1 << 18
        def write():
            sent = 0
            while sent < size:
                sent += os.write(w, bytes(size - sent))
        writer = Call(write)
        received = 0
        while received < size:
            received += len(os.read(r, 1 << 16))
        writer.result()
        """
        check(ENDS + textwrap.dedent(code), mode, ends)


class TestFileObjects:
    @KINDS
    @pytest.mark.parametrize(
        "opened", ["open(r, 'r')", "os.fdopen(r, 'rb')", "io.open(r, 'rb', 0)"]
    )
    @BOTH
    def test_reading(self, ends: str, opened: str, mode: Mode) -> None:
        code = f"""
        stream = {opened}
        assert isinstance(stream, (io.TextIOWrapper, io.BufferedReader, io.FileIO))
        about_to = threading.Event()
        def read():
            about_to.set()
            return [stream.readline() for _ in range(3)]
        reader = Call(read)
        about_to.wait()
        for line in (b"one\\n", b"two\\n", b"three\\n"):
            os.write(w, line)
        lines = [line if isinstance(line, str) else line.decode() for line in reader.result()]
        assert lines == ["one\\n", "two\\n", "three\\n"], lines
        stream.close()
        """
        check(ENDS + textwrap.dedent(code), mode, ends)

    @KINDS
    @BOTH
    def test_writing_more_than_there_is_room_for(self, ends: str, mode: Mode) -> None:
        code = """
        size = 1 << 18
        def write():
            with open(w, "wb", closefd=False) as stream:
                return stream.write(bytes(size))
        writer = Call(write)
        with open(r, "rb") as stream:
            assert len(stream.read(size)) == size
        assert writer.result() == size
        """
        check(ENDS + textwrap.dedent(code), mode, ends)

    @BOTH
    def test_two_threads_one_object(self, mode: Mode) -> None:
        """They take turns; closing waits for whoever is inside."""
        code = """
        stream, out = open(r, "rb"), open(w, "wb", 0)
        inside = threading.Semaphore(0)
        def read():
            inside.release()
            return stream.read(5)
        readers = [Call(read) for _ in range(2)]
        for _ in readers:
            inside.acquire()
        closer = Call(stream.close)
        try:
            out.write(b"12345")
            out.write(b"67890")
        except OSError:
            pass  # closed before a reader had its turn
        def outcome(call):
            try:
                return call.result()
            except ValueError:
                return "closed"
        outcomes = [outcome(reader) for reader in readers]
        assert set(outcomes) <= {b"12345", b"67890", "closed"}, outcomes
        closer.result()
        out.close()

        # Lines from many threads are not mixed up, however full the pipe is.
        r, w = os.pipe()
        out = open(w, "wb")
        line = lambda n: b"%04d" % n * 500 + b"\\n"
        writers = [Call(lambda n=n: [out.write(line(n)) for _ in range(20)]) for n in range(10)]
        def finish():
            for writer in writers:
                writer.result()
            out.close()
        finisher = Call(finish)
        with open(r, "rb") as stream:
            lines = list(stream)
        finisher.result()
        assert sorted(lines) == sorted(line(n) for n in range(10) for _ in range(20))
        """
        check(ENDS + textwrap.dedent(code), mode, "pipe")

    @BOTH
    def test_file_object_of_a_socket_in_two_threads(self, mode: Mode) -> None:
        code = """
        import socket
        one, other = socket.socketpair()
        stream = one.makefile("rwb")
        about_to = threading.Semaphore(0)
        def read():
            about_to.release()
            return stream.readline()
        readers = [Call(read) for _ in range(2)]
        for _ in readers:
            about_to.acquire()
        stream.write(b"out\\n")
        stream.flush()
        assert other.recv(100) == b"out\\n"
        other.sendall(b"a\\nb\\n")
        assert sorted(reader.result() for reader in readers) == [b"a\\n", b"b\\n"]
        stream.close(), one.close(), other.close()
        """
        check(code, mode)

    def test_end_of_file_and_errors(self) -> None:
        code = """
        os.close(w)
        with open(r, "rb") as stream:
            assert stream.read() == b"" and stream.readline() == b"" and list(stream) == []
        for arguments in (
            (99,), (-1,), (1 << 40,), ("r", "x!"), ("r", "r+"), ("r", "r+b"), ("r", "rb", -1, "utf-8"),
            ("r", "r", 0), ("r", "r", 1), ("r", "rb", 0), (3.5,), (None,),
        ):
            r, w = os.pipe()
            try:
                with open(*(r if arg == "r" else arg for arg in arguments)) as stream:
                    print(arguments, stream.mode)
            except (OSError, ValueError, TypeError, OverflowError) as exc:
                print(arguments, type(exc).__name__, exc)
            for fd in r, w:
                try:
                    os.close(fd)
                except OSError:
                    print("closed")
        r, w = os.pipe()
        os.close(r)
        stream = open(w, "wb", 0)
        try:
            stream.write(b"x")
        except BrokenPipeError as exc:
            print(exc)
        stream.close()
        """
        natively = check(ENDS + textwrap.dedent(code), False, "pipe")
        assert natively.endswith("Broken pipe\n")
        assert check(ENDS + textwrap.dedent(code), True, "pipe") == natively


class TestFifo:
    @pytest.mark.parametrize(
        "reading",
        ["read_file(path)", "os.read(os.open(path, os.O_RDONLY), 9)", "path.read_bytes()"],
    )
    @BOTH
    def test_opening_waits_for_the_other_end(
        self, tmp_path: Path, reading: str, mode: Mode
    ) -> None:
        code = f"""
        import os, sys
        from pathlib import Path
        path = Path(sys.argv[1], "fifo")
        os.mkfifo(path)
        about_to = threading.Event()
        def read_file(path):
            with open(path, "rb") as stream:
                return stream.read()
        def read():
            about_to.set()
            return {reading}
        reader = Call(read)
        about_to.wait()
        with open(path, "wb") as stream:
            assert stream.name == str(path)
            stream.write(b"content")
        assert reader.result() == b"content"
        """
        check(code, mode, tmp_path)

    @BOTH
    def test_writer_waits_for_the_reader(self, tmp_path: Path, mode: Mode) -> None:
        code = """
        import os, sys
        path = os.path.join(sys.argv[1], "fifo")
        os.mkfifo(path)
        about_to = threading.Event()
        def write():
            about_to.set()
            with open(path, "w") as stream:
                print("content", file=stream)
        writer = Call(write)
        about_to.wait()
        with open(path) as stream:
            assert stream.read() == "content\\n"
        writer.result()
        """
        check(code, mode, tmp_path)


class TestStandardStreams:
    READERS = pytest.mark.parametrize(
        "reading",
        [
            "sys.stdin.readline()",
            "next(iter(sys.stdin))",
            "sys.stdin.buffer.readline().decode()",
            "stdin.readline()",
            "os.read(0, 100).decode()",
            "input() + '\\n'",
        ],
    )
    WAIT = """
    import os, sys
    from sys import stdin
    about_to = threading.Event()
    def read():
        about_to.set()
        return READ
    reader = Call(read)
    about_to.wait()
    print("others run", flush=True)
    print(repr(reader.result()), flush=True)
    """

    @READERS
    @ALL
    def test_pipe(self, reading: str, mode: Mode) -> None:
        with talking(self.WAIT.replace("READ", reading), mode) as child:
            assert child.stdin and child.stdout
            assert child.stdout.readline() == "others run\n"
            child.stdin.write("grüße\n")
            child.stdin.flush()
            assert child.stdout.readline() == "'grüße\\n'\n"
            assert child.wait(30) == 0

    @READERS
    @BOTH
    def test_terminal(self, reading: str, mode: Mode) -> None:
        master, slave = os.openpty()
        try:
            with talking(self.WAIT.replace("READ", reading), mode, stdin=slave) as child:
                assert child.stdout
                assert child.stdout.readline() == "others run\n"
                os.write(master, "grüße\n".encode())
                assert child.stdout.readline() == "'grüße\\n'\n"
                assert child.wait(30) == 0
        finally:
            os.close(master)
            os.close(slave)

    @BOTH
    def test_input_at_a_terminal(self, mode: Mode) -> None:
        """Where standard output is the terminal, too, the plain function reads it behind Python's back."""
        code = """
        import sys
        about_to = threading.Event()
        def ask():
            about_to.set()
            return input("name? "), input()
        asking = Call(ask)
        about_to.wait()
        print("others run", file=sys.stderr, flush=True)
        print(*asking.result(), file=sys.stderr)
        try:
            input()
        except EOFError:
            print("the end", file=sys.stderr)
        """
        master, slave = os.openpty()
        try:
            with talking(code, mode, stdin=slave, stdout=slave) as child:
                assert child.stderr
                # The native function writes the prompt there.
                assert child.stderr.readline().removeprefix("name? ") == "others run\n"
                os.write(master, b"Ada\nLovelace\n\x04")
                assert child.stderr.readline().removeprefix("name? ") == "Ada Lovelace\n"
                assert child.stderr.readline() == "the end\n"
                assert child.wait(30) == 0
        finally:
            os.close(master)
            os.close(slave)

    @ALL
    def test_output_that_nobody_reads(self, mode: Mode) -> None:
        code = """
        import sys
        stuck = threading.Event()
        def talk():
            stuck.set()
            for _ in range(50):
                print("x" * 9999)
        talking = Call(talk)
        stuck.wait()
        print("others run", file=sys.stderr, flush=True)
        talking.result()
        """
        with talking(code, mode) as child:
            assert child.stdout and child.stderr
            assert child.stderr.readline() == "others run\n"
            assert len(child.stdout.read()) == 50 * 10000
            assert child.wait(30) == 0

    def test_late_patch_loses_nothing(self) -> None:
        """What has been read ahead before the patch, and by it, is there afterwards."""
        code = """
        import sys
        before = sys.stdin, sys.stdout, sys.stderr, sys.__stdin__
        lines = [sys.stdin.readline()]
        import greenify
        greenify.patch_all()
        lines.append(sys.stdin.readline())
        assert (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__) == before
        greenify.restore()
        lines.append(sys.stdin.readline())
        greenify.patch_all()
        print("ready", flush=True)
        lines.append(sys.stdin.readline())
        print(lines, open, file=sys.stderr)
        """
        data = "eins\nzwei\ndrei\nvië".encode()
        with talking(code, False) as child:
            assert child.stdin and child.stdout and child.stderr
            # Ends in the middle of a character.
            os.write(child.stdin.fileno(), data[:-1])
            assert child.stdout.readline() == "ready\n"
            os.write(child.stdin.fileno(), data[-1:] + b"r\n")
            said = child.stderr.readline()
            assert said.startswith("['eins\\n', 'zwei\\n', 'drei\\n', 'viër\\n']"), said
            assert child.wait(30) == 0

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_restore_brings_back_the_native_objects(self, unbuffered: str) -> None:
        code = """
        import io, sys
        below = sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer
        import greenify
        greenify.patch_all()
        for stream, was in zip((sys.stdin, sys.stdout, sys.stderr), below):
            assert stream.buffer is not was and stream.encoding and stream.buffer.fileno() == was.fileno()
            assert stream.name == stream.buffer.name == was.name
            assert not stream.buffer.closed
        print("patched")
        greenify.restore()
        assert (sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer) == below
        print("restored")
        """
        with talking(code, False) as child:
            out, err = child.communicate("", timeout=30)
        assert (out, err) == ("patched\nrestored\n", "")

    @BOTH
    def test_exit_flushes(self, mode: Mode) -> None:
        """Whatever is in the buffers at the end gets out, finalisers included."""
        code = """
        import atexit, sys
        class Last:
            def __del__(self, print=print):
                print("finalised")
        last = Last()
        atexit.register(print, "atexit")
        print("main", end=" ")
        other = open(1, "w", closefd=False)
        other.write("left in a buffer\\n")
        """
        with talking(code, mode) as child:
            out, err = child.communicate("", timeout=30)
        # In which order depends on the version.
        assert sorted(out.split()) == sorted("main atexit finalised left in a buffer".split())
        assert (err, child.returncode) == ("", 0)

    @BOTH
    def test_closed_standard_streams(self, mode: Mode) -> None:
        code = """
        import os, sys
        if len(sys.argv) > 1:
            with open(sys.argv[1], "w") as out:
                print(sys.stdin, sys.stdout, sys.stderr, file=out)
        """
        from tests.support import child_env, command_line

        r, w = os.pipe()
        shell = 'exec "$@" <&- >&- 2>&-'
        command = command_line(textwrap.dedent(code), f"/dev/fd/{w}", greenify=mode)
        subprocess.run(
            ["sh", "-c", shell, "sh", *command],
            pass_fds=[w],
            env=child_env(),
            timeout=60,
            check=True,
        )
        os.close(w)
        with open(r) as said:
            assert said.read() == "None None None\n"


class TestRegularFiles:
    @BOTH
    def test_standard_objects(self, tmp_path: Path, mode: Mode) -> None:
        code = """
        import builtins, io, os, sys
        path = os.path.join(sys.argv[1], "file")
        with open(path, "w") as text, open(path, "rb") as binary, open(path, "rb", 0) as raw, \\
                open(path, "r+b") as both, open(os.open(path, os.O_RDONLY)) as by_number:
            for stream in (text, binary, raw, both, by_number, by_number.buffer):
                assert type(stream).__module__ == "_io" and type(type(stream)) is type
            assert isinstance(text, io.TextIOWrapper) and isinstance(text.buffer, io.BufferedWriter)
            assert isinstance(binary, io.BufferedReader) and not isinstance(binary, io.BufferedWriter)
            assert isinstance(both, io.BufferedRandom) and isinstance(raw, io.FileIO)
            assert issubclass(type(binary), io.BufferedReader)
        class Mine(io.BufferedReader):
            pass
        with open(path, "rb") as plain, Mine(open(path, "rb", 0)) as mine:
            assert not isinstance(plain, Mine) and isinstance(mine, Mine)
        class Holder:
            opener = open
        Holder().opener(path).close()
        assert open is io.open is builtins.open
        """
        check(code, mode, tmp_path)

    def test_run_in_thread(self, tmp_path: Path) -> None:
        code = """
        import greenify, sys, time
        from pathlib import Path
        path = Path(sys.argv[1], "file")
        path.write_bytes(b"content")
        native_id = greenify.original("threading", "get_native_id")
        go = greenify.original("_thread", "allocate_lock")()
        go.acquire()
        def block(path, *, text):
            go.acquire()  # blocks the OS thread, as a slow disk does
            return path.read_text() if text else None, native_id()
        about_to = threading.Event()
        def offload():
            about_to.set()
            return greenify.run_in_thread(block, path, text=True)
        call = Call(offload)
        about_to.wait()
        go.release()
        text, thread = call.result()
        assert text == "content" and thread != native_id()
        try:
            greenify.run_in_thread(int, "x")
        except ValueError as exc:
            print(exc)
        """
        assert "invalid literal" in check(code, True, tmp_path)
