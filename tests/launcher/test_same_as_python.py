"""Whatever Python does with a program, the launcher does: each test runs both and compares."""

from __future__ import annotations

import py_compile
import signal
import sys
import zipfile
from pathlib import Path

import pytest

from tests.launcher.compare import Outcome, assert_same, run

SHOW = """
import sys, atexit

def show(tag):
    main = sys.modules["__main__"]
    names = [name for name in vars(main) if name.startswith("__") and name != "__warningregistry__"]
    print(tag, [(name, type(vars(main)[name]).__name__) for name in names])
    for name in names:
        if name not in ("__builtins__", "__annotations__"):
            print(tag, name, repr(vars(main)[name]))

show("run")
atexit.register(show, "exit")
print(__name__, sys.argv, sys.path[0], sys._getframe().f_code.co_filename)
print(sys.modules["__main__"].__dict__ is globals(), sys.path_importer_cache.get(__file__, 1))
"""

FAIL = """
import sys
def inner():
    1 / 0
def outer():
    inner()
outer()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "show.py").write_text(SHOW)
    (tmp_path / "fail.py").write_text(FAIL)
    (tmp_path / "wrong.py").write_text("x = 1\nif x\n    pass\n")
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SHOW)
    (package / "failing.py").write_text("from wrong import x\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "__main__.py").write_text(SHOW)
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(folder / "__main__.py", "__main__.py")
    return tmp_path


def write(here: Path, text: str | bytes, name: str = "script.py") -> str:
    data = text.encode() if isinstance(text, str) else text
    (here / name).write_bytes(data)
    return name


class TestWhatToRun:
    @pytest.mark.smoke
    def test_script(self, here: Path) -> None:
        outcome = assert_same("show.py", "a", cwd=here)
        assert f"__main__ ['show.py', 'a'] {here} {here}/show.py" in outcome.stdout

    @pytest.mark.parametrize(
        "args",
        [
            ["show.py", "-c", "x", "--only", "time", "--", "-m", "--help"],
            ["./show.py"],
            ["folder/../show.py"],
            ["--", "show.py", "--", "x"],
            ["-m", "show", "a", "--list", "-"],
            ["-mshow", "a"],
            ["-m", "package", "-h"],
            ["-m", "package.__main__"],
            ["folder", "-i"],
            ["./folder/"],
            ["archive.zip", "x"],
        ],
        ids=" ".join,
    )
    def test_forms(self, here: Path, args: list[str]) -> None:
        outcome = assert_same(*args, cwd=here)
        assert outcome.code == 0
        assert "run __name__ '__main__'" in outcome.stdout

    def test_absolute_path(self, here: Path) -> None:
        assert assert_same(here / "show.py", cwd=here / "empty").code == 0

    @pytest.mark.parametrize(
        "args",
        [
            ["-c", "import sys; print(sys.argv, repr(sys.path[0]), __name__, sorted(globals()))"],
            ["-c", "import sys; print(sys.argv)", "-x", "--only", "--", "-c", "y"],
            ["-cimport sys; print(sys.argv)", "a"],
            ["-c", "print('\N{SNOWMAN}')"],
            ["-c", ""],
        ],
    )
    def test_code(self, here: Path, args: list[str]) -> None:
        assert assert_same(*args, cwd=here).code == 0

    @pytest.mark.parametrize("args", [["-"], ["-", "a", "-b"], []], ids=" ".join)
    def test_standard_input(self, here: Path, args: list[str]) -> None:
        source = b"import sys\nprint(sys.stdin.read())\n" + SHOW.encode()
        assert assert_same(*args, cwd=here, input=source).code == 0

    def test_through_links(self, here: Path) -> None:
        (here / "links").mkdir()
        (here / "links" / "one.py").symlink_to("../show.py")
        (here / "links" / "two.py").symlink_to("one.py")
        outcome = assert_same("links/two.py", cwd=here)
        assert f"{here} {here}/links/two.py" in outcome.stdout

    def test_compiled(self, here: Path) -> None:
        py_compile.compile(str(here / "show.py"), cfile=str(here / "compiled.pyc"))
        assert assert_same("compiled.pyc", cwd=here).code == 0
        (here / "compiled.pyc").rename(here / "without_suffix")
        assert assert_same("without_suffix", cwd=here).code == 0

    def test_module_of_the_users_named_like_one_of_the_library(self, here: Path) -> None:
        for name in ("queue", "selectors", "signal"):
            write(here, "raise AssertionError('not to be imported')", f"{name}.py")
        assert assert_same("show.py", cwd=here).code == 0

    @pytest.mark.parametrize("option", ["-s", "-O", "-OO", "-B", "-u", "-q", "-bb", "-X dev", "-I"])
    def test_options_of_python(self, here: Path, option: str) -> None:
        options = option.split()
        if option == "-I" and run(options, ["-c", "import greenify"], cwd=here).code:
            pytest.skip("-I hides PYTHONPATH, and greenify is not installed in site-packages")
        write(here, "import sys\nprint(__file__, sys.path[0], sys.flags, __debug__, __doc__)\n")
        assert assert_same("script.py", cwd=here, python=options).code == 0

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is new in CPython 3.11")
    @pytest.mark.parametrize(
        "args", [["show.py"], ["-c", "import sys; print(sys.path)"], ["folder"]]
    )
    def test_safe_path(self, here: Path, args: list[str]) -> None:
        assert assert_same(*args, cwd=here, python=["-P"]).code == 0
        assert assert_same(*args, cwd=here, env={"PYTHONSAFEPATH": "1"}).code == 0


class TestErrors:
    @pytest.mark.parametrize(
        ("args", "code"),
        [
            (["missing.py"], 2),
            (["./no/such.py", "x"], 2),
            (["empty"], 1),
            (["-m", "missing"], 1),
            (["-m", "empty.missing"], 1),
            (["-m", "package.missing"], 1),
            (["-m", "package.failing"], 1),
            ([""], 1),
            (["."], 1),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_nothing_to_run(self, here: Path, args: list[str], code: int) -> None:
        outcome = assert_same(*args, cwd=here)
        assert outcome.code == code
        assert outcome.stderr

    def test_message_for_a_missing_script(self, here: Path) -> None:
        outcome = run(["-m", "greenify"], ["missing.py"], cwd=here)
        assert outcome == Outcome(
            2,
            "",
            f"{sys.executable}: can't open file '{here}/missing.py': "
            "[Errno 2] No such file or directory\n",
        )

    @pytest.mark.parametrize(
        "args", [["wrong.py"], ["-m", "wrong"], ["-c", "if x"], ["-m", "package.failing"]]
    )
    def test_syntax(self, here: Path, args: list[str]) -> None:
        outcome = assert_same(*args, cwd=here)
        assert outcome.code == 1
        assert "greenify" not in outcome.stderr

    @pytest.mark.parametrize(
        "source",
        [
            b"x = '\xe4'\n",
            b"# comment\n# \xe4\nx = 1\n",
            b"if x\n\n\ny = '\xe4'\n",
            b"x = 1\n\0y = 2\n",
            b"x = 1 # \0\n",
            b"# -*- coding: no-such-encoding -*-\n",
            b"\xef\xbb\xbfprint('mark')\n",
            b"print(1)\r\nprint(2)\r\n",
            b"print(1)",
            b"x = (1,\n",
            b"x = '''\n",
            b"if 1:\n    x\n  y\n",
            b"if 1:\n\tx\n        y\n",
            b"return\n",
            b"x = 1\n\x0c\nprint(x)\n",
            b"print('\\d')\nassert (1, 2)\n",
        ],
        ids=repr,
    )
    def test_source(self, here: Path, source: bytes) -> None:
        if b"\0" in source and run([], [write(here, source)], cwd=here).code == 0:
            pytest.skip("this CPython (3.11.2 does) takes a null byte for the end of a source")
        assert_same(write(here, source), cwd=here)
        if b"coding" in source and sys.version_info >= (3, 14):
            return  # It ends with "Illegal seek": Python itself cannot read such a source from a pipe.
        assert_same("-", cwd=here, input=source)

    def test_source_in_another_encoding(self, here: Path) -> None:
        # Python itself cannot read such a source from a pipe.
        source = b"# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))\n1/0 # \xe4\n"
        assert "1/0" in assert_same(write(here, source), cwd=here).stderr

    @pytest.mark.parametrize("args", [["fail.py"], ["-m", "fail"], ["-c", FAIL], ["-"]])
    def test_traceback(self, here: Path, args: list[str]) -> None:
        outcome = assert_same(*args, cwd=here, input=FAIL.encode())
        assert outcome.code == 1
        assert "ZeroDivisionError" in outcome.stderr
        assert "greenify" not in outcome.stderr

    @pytest.mark.parametrize(
        "source",
        [
            "try:\n    1/0\nexcept Exception as e:\n    raise KeyError('k') from e",
            "try:\n    1/0\nexcept Exception:\n    raise KeyError('k')",
            "try:\n    1/0\nexcept Exception:\n    raise KeyError('k') from None",
            "e = ValueError(1)\nif hasattr(e, 'add_note'): e.add_note('note')\nraise e",
            "class Quiet(BaseException): pass\nraise Quiet('x')",
            "class Bad(Exception):\n    def __str__(self): raise TypeError\nraise Bad",
            "import missing_module",
            "from wrong import x",
            "raise ValueError('two\\nlines')",
            "import sys; sys.stdout.write('no newline'); 1/0",
            "raise MemoryError",
            "import warnings; warnings.simplefilter('error'); warnings.warn('w')",
        ],
    )
    def test_exceptions(self, here: Path, source: str) -> None:
        outcome = assert_same(write(here, source), cwd=here)
        assert outcome.code == 1

    @pytest.mark.parametrize("args", ["script.py", "-m script", "-c 1", "-", "."])
    def test_what_was_printed_and_the_traceback_in_one_pipe(self, here: Path, args: str) -> None:
        write(here, "print('printed')\n1 / 0\n")
        write(here, "import script", "__main__.py")
        reader = (
            "import subprocess, sys\n"
            "with open('script.py') as source:\n"
            "    done = subprocess.run([sys.executable, *sys.argv[1:]], stdin=source,"
            " stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)\n"
            "print(done.stdout.index('printed') < done.stdout.index('Traceback'))\n"
        )
        write(here, reader, "reader.py")
        words = ["-c", "print('printed'); 1 / 0"] if args == "-c 1" else args.split()
        outcomes = [
            run([], ["reader.py", *how, *words], cwd=here) for how in ([], ["-m", "greenify"])
        ]
        assert outcomes[0] == outcomes[1]
        assert outcomes[0].stdout in ("True\n", "False\n")

    @pytest.mark.parametrize("size", [1, 5000, 20000])
    @pytest.mark.parametrize("python", [(), ("-u",)], ids=["buffered", "unbuffered"])
    def test_output_that_cannot_be_written(
        self, here: Path, python: tuple[str, ...], size: int
    ) -> None:
        source = f"import os, sys\nsys.stdout.write('x' * {size})\nos.close(1)\n"
        assert_same(write(here, source), cwd=here, python=python)


class TestEnd:
    @pytest.mark.parametrize(
        "value", ["", "None", "0", "3", "-1", "256", "2 ** 40", "'text'", "(1, 2)", "True", "1.5"]
    )
    def test_system_exit(self, here: Path, value: str) -> None:
        source = f"import sys, atexit\natexit.register(print, 'bye')\nsys.exit({value})"
        outcome = assert_same(write(here, source), cwd=here)
        assert outcome.stdout == "bye\n"
        assert_same("-c", f"raise SystemExit({value})", cwd=here)
        assert_same("-m", "script", cwd=here)

    @pytest.mark.parametrize("args", [["script.py"], ["-m", "script"], ["-"]])
    def test_keyboard_interrupt(self, here: Path, args: list[str]) -> None:
        write(here, "raise KeyboardInterrupt")
        outcome = assert_same(*args, cwd=here, input=b"raise KeyboardInterrupt")
        assert outcome.code == -signal.SIGINT
        assert outcome.stderr.endswith("KeyboardInterrupt\n")

    @pytest.mark.parametrize(
        "wait",
        ["time.sleep(30)", "threading.Event().wait()", "queue.Queue().get()", "while True: pass"],
    )
    def test_ctrl_c(self, here: Path, wait: str) -> None:
        source = f"""
import os, queue, signal, threading, time
def killer():
    started.wait()
    os.kill(os.getpid(), signal.SIGINT)
started = threading.Event()
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
def main():
    {wait}
try:
    main()
finally:
    print("cleaned up")
"""
        write(here, source)
        expected = run([], ["script.py"], cwd=here)
        found = run(["-m", "greenify"], ["script.py"], cwd=here)
        assert (found.code, found.stdout) == (expected.code, expected.stdout)
        assert found.code == -signal.SIGINT
        # The frames of threading and queue are Python's own: only ours must be gone.
        assert "greenify" not in found.stderr
        assert found.stderr.splitlines()[-1] == "KeyboardInterrupt"

    def test_killed(self, here: Path) -> None:
        source = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
        assert assert_same("-c", source, cwd=here).code == -signal.SIGTERM

    @pytest.mark.parametrize("python", [(), ("-u",)], ids=["buffered", "unbuffered"])
    def test_order_of_the_end(self, here: Path, python: tuple[str, ...]) -> None:
        source = """
import atexit, threading, time
class Object:
    def __del__(self): print("deleted")
held = Object()
atexit.register(print, "atexit")
def work():
    time.sleep(0.1)
    print("thread ends")
threading.Thread(target=work).start()
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
print("main ends")
"""
        outcome = assert_same(write(here, source), cwd=here, python=python)
        assert outcome.stdout.split("\n")[:4] == ["main ends", "thread ends", "atexit", "deleted"]

    def test_exception_in_a_thread(self, here: Path) -> None:
        source = """
import threading
def work(): raise ValueError("in thread")
thread = threading.Thread(target=work, name="Worker")
thread.start(); thread.join()
print("goes on")
"""
        outcome = assert_same(write(here, source), cwd=here)
        assert (outcome.code, outcome.stdout) == (0, "goes on\n")

    @pytest.mark.parametrize("options", [(), ("-u",)], ids=["buffered", "unbuffered"])
    def test_broken_pipe(self, here: Path, options: tuple[str, ...]) -> None:
        write(here, "import sys\nsys.stdin.readline()\nfor number in range(200000): print(number)")
        write(
            here,
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, *sys.argv[1:], 'script.py'],"
            " stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
            "child.stdout.close(); child.stdin.write(b'go\\n'); child.stdin.close()\n"
            "print(child.stderr.read().decode(), child.wait())\n",
            "reader.py",
        )
        outcomes = [
            run([], ["reader.py", *options, *args], cwd=here) for args in ([], ["-m", "greenify"])
        ]
        assert outcomes[0] == outcomes[1]
        assert "BrokenPipeError" in outcomes[0].stdout


class TestHook:
    @pytest.mark.parametrize(
        "hook",
        [
            "lambda kind, value, tb: print(kind, value, tb.tb_frame.f_code.co_name, tb.tb_lineno)",
            "lambda kind, value, tb: traceback.print_exception(kind, value, tb)",
            "lambda kind, value, tb: sys.exit(7)",
            "lambda kind, value, tb: 1 / 0",
            "lambda kind, value: None",
            "None",
            "lambda *args: (_ for _ in ()).throw(KeyboardInterrupt)",
        ],
    )
    def test_of_the_program(self, here: Path, hook: str) -> None:
        source = (
            f"import sys, traceback\nsys.excepthook = {hook}\ndef f():\n    raise KeyError\nf()\n"
        )
        assert_same(write(here, source), cwd=here)
        assert_same("-c", source, cwd=here)

    def test_deleted(self, here: Path) -> None:
        assert_same(write(here, "import sys\ndel sys.excepthook\n1/0"), cwd=here)

    @pytest.mark.parametrize("args", [["script.py"], ["-m", "script"], ["-c", "import script"]])
    def test_what_is_left_of_the_exception(self, here: Path, args: list[str]) -> None:
        source = """
import atexit, sys, traceback
@atexit.register
def look():
    print(sys.last_type, sys.last_value, getattr(sys, "last_exc", None) is sys.last_value)
    print([frame.name for frame in traceback.extract_tb(sys.last_traceback)])
    print(sys.last_value.__traceback__ is sys.last_traceback)
    print(sys.excepthook is sys.__excepthook__, "__file__" in vars(sys.modules["__main__"]))
def f():
    1 / 0
f()
"""
        write(here, source)
        assert (
            "['<module>', 'f']" in assert_same(*args[:1], *args[1:], cwd=here).stdout
            or args[0] != "script.py"
        )


class TestTools:
    def test_pickle_of_what_main_defines(self, here: Path) -> None:
        source = """
import pickle
class Thing:
    def __init__(self): self.value = 1
    def __eq__(self, other): return self.value == other.value
data = pickle.dumps(Thing())
print(data, pickle.loads(data) == Thing())
"""
        assert assert_same(write(here, source), cwd=here).code == 0
        assert assert_same("-m", "script", cwd=here).code == 0

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_processes_import_main(self, here: Path, method: str) -> None:
        source = f"""
import multiprocessing
class Thing:
    value = 2
def work(connection, thing):
    connection.send((thing.value, __name__))
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, Thing()))
    process.start()
    print(ours.recv())
    process.join()
    print(process.exitcode)
"""
        outcome = assert_same(write(here, source), cwd=here)
        assert outcome.code == 0
        assert outcome.stdout.endswith("\n0\n")
        assert_same("-m", "script", cwd=here)

    def test_cprofile(self, here: Path) -> None:
        write(here, "print('profiled')")
        outcome = run(["-m", "greenify"], ["-m", "cProfile", "script.py"], cwd=here)
        assert outcome.code == 0
        assert outcome.stdout.startswith("profiled\n")
        assert "function calls" in outcome.stdout

    def test_pdb(self, here: Path) -> None:
        write(here, "x = 1\ny = 2\n")
        outcome = run(
            ["-m", "greenify"], ["-m", "pdb", "script.py"], cwd=here, input=b"n\nn\np x + y\nq\n"
        )
        assert "(Pdb) 3\n" in outcome.stdout

    def test_pytest(self, here: Path) -> None:
        write(
            here,
            "import threading, time\n"
            "def test_it():\n"
            "    start = time.monotonic()\n"
            "    threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(50)]\n"
            "    for t in threads: t.start()\n"
            # The second one watches for calls that wait in C.
            "    assert len(__import__('os').listdir('/proc/self/task')) <= 2\n"
            "    for t in threads: t.join()\n"
            "    assert time.monotonic() - start < 8\n",
            "test_sample.py",
        )
        args = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_sample.py"]
        outcome = run(["-m", "greenify"], args, cwd=here)
        assert outcome.code == 0, outcome
        assert "1 passed" in outcome.stdout

    def test_timeit(self, here: Path) -> None:
        outcome = run(["-m", "greenify"], ["-m", "timeit", "-n1", "-r1", "pass"], cwd=here)
        assert outcome.code == 0
