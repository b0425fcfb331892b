"""`io.FileIO` made directly, as getpass and pty do: of a pipe or a terminal it waits cooperatively."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode, run_python


@both_modes
@pytest.mark.parametrize("source", ["io", "_io"])
class TestWaiting:
    def test_pipe(self, mode: Mode, source: str) -> None:
        run(
            f"from {source} import FileIO\n"
            """
reader, writer = os.pipe()
with FileIO(reader) as file, FileIO(writer, "w") as end:
    reads = Thread(file.read, 5)
    settle()
    assert end.write(b"hello") == 5
    assert reads.end() == b"hello"
    reads = Thread(file.readinto, bytearray(3))
    settle()
    end.write(b"abc")
    assert reads.end() == 3
    # More than the pipe holds.
    writes = Thread(end.write, bytes(1 << 20))
    size = 0
    while size < 1 << 20:
        size += len(file.read(1 << 16))
    assert writes.end() == 1 << 20
    reads = Thread(file.readall)
    settle()
    end.close()
    assert reads.end() == b""
""",
            mode,
        )

    def test_terminal(self, mode: Mode, source: str) -> None:
        run(
            f"from {source} import FileIO\nimport io, pty\n"
            """
master, slave = pty.openpty()
# As getpass does.
with FileIO(slave, "w+") as raw:
    lines = io.TextIOWrapper(raw)
    reads = Thread(lines.readline)
    settle()
    os.write(master, b"secret\\n")
    assert reads.end() == "secret\\n"
    lines.detach()
os.close(master)
""",
            mode,
        )

    def test_fifo(self, mode: Mode, source: str) -> None:
        run(
            f"from {source} import FileIO\nimport tempfile\n"
            """
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "fifo")
    os.mkfifo(path)

    def write():
        with FileIO(path, "w") as file:
            file.write(b"abc")

    writes = Thread(write)
    with FileIO(path) as file:
        assert file.read() == b"abc"
    writes.end()
""",
            mode,
        )


def test_like_the_native_class() -> None:
    same_output(
        """
        import copy, io, pickle
        from pathlib import Path

        warnings.simplefilter("ignore")  # what is not closed

        name = __file__
        reader, writer = os.pipe()

        class Own(io.FileIO):
            def __init__(self, first, second):
                super().__init__(second)
                self.first = first

        for file in (io.FileIO(name), io.FileIO(reader), io.FileIO(writer, "w"), Own(1, name)):
            kind = type(file)
            print(kind.__module__, kind.__qualname__, repr(file).replace(name, "NAME"), file.mode)
            print(isinstance(file, io.FileIO), isinstance(file, io.RawIOBase), isinstance(file, Own))
            print(issubclass(kind, io.FileIO), issubclass(kind, io.IOBase))
            for function in (pickle.dumps, copy.copy):
                print(outcome(function, file))
            file.close()
            print(outcome(file.read), outcome(file.write, b""), file.closed)
        print(isinstance(open(name, "rb", 0), io.FileIO), isinstance(open(name), io.FileIO))
        print(io.FileIO.__name__, io.FileIO.__doc__ == __import__("_io").FileIO.__doc__)
        print(io.FileIO(file=name, mode="r", closefd=True, opener=None).read(5))
        print(io.FileIO(name, opener=os.open).readall() == Path(name).read_bytes())
        with io.FileIO(name) as file:
            file.seek(3)
            print(file.tell(), file.read(4), file.read(0), file.readinto(bytearray(3)))
        for args in (
            (), (99,), ("/nonexistent",), (0, "q"), (name, "x"), ("x\\0y",), (-1,), (1.5,),
            (name, "r", False), (name, "r", True, None, None), ("/tmp", "r"), (None,),
        ):
            print(outcome(io.FileIO, *args).replace(name, "NAME"))
        for keywords in ({"mode": "r"}, {"file": name, "nonsense": 1}):
            print(outcome(io.FileIO, **keywords))
        """
    )


def test_objects_of_regular_files_are_the_native_ones() -> None:
    run(
        """
        import _io, io
        native = type(open(__file__, "rb", 0))
        assert type(io.FileIO(__file__)) is native is not io.FileIO
        """
        # The file objects are collected, with a warning.
        .replace("native = ", "warnings.simplefilter('ignore')\n        native = "),
        "patch_all",
    )


@both_modes
@pytest.mark.parametrize("mode_and_size", ["'rb', 0", "'rb'", "'r'"])
@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_what_an_opener_or_a_device_gives(mode: Mode, kind: str, mode_and_size: str) -> None:
    """`open` finds out only afterwards that it may have to wait."""
    run(
        f"kind, arguments = {kind!r}, ({mode_and_size},)\n"
        """
import pty, signal, tty
# The terminal may become the one that controls the process.
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if kind == "pipe":
    reader, writer = os.pipe()
    file = open("name", *arguments, opener=lambda name, flags: reader)
else:
    writer, slave = pty.openpty()
    tty.setraw(slave)
    file = open(os.ttyname(slave), *arguments)
    os.close(slave)
with file:
    reads = Thread(file.readline)
    settle()
    os.write(writer, b"line\\n")
    assert reads.end() in (b"line\\n", "line\\n")
os.close(writer)
""",
        mode,
    )


def test_what_is_left_in_a_buffer_gets_out_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = """
        import io, sys, warnings
        warnings.simplefilter("ignore")  # what is not closed
        file = io.BufferedWriter(io.FileIO(sys.argv[1], "w"))
        file.write(b"left")
        """
    for greenify in False, True:
        path.unlink(missing_ok=True)
        found = run_python(code, path, greenify=greenify, check=True)
        assert (path.read_bytes(), found.stderr) == (b"left", ""), greenify


def test_a_bool_for_a_descriptor() -> None:
    """CPython 3.13 and later warn of it, and name the line that has it."""
    same_output("""
    import io
    reader, writer = os.pipe()
    for make in (lambda: io.FileIO(True, "w", closefd=False),
                 lambda: io.FileIO(mode="w", file=True, closefd=False),
                 lambda: io.open(True, "wb", 0, closefd=False),
                 lambda: open(True, "w", closefd=False)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            stream = make()
        print(stream.fileno(), [(str(each.message), each.filename == __file__) for each in told])
        stream.close()
    """)
