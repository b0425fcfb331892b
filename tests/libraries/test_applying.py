"""The machinery behind the patches of libraries, with a library made for it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from greenify.libraries.applying import load, planned
from greenify.patches.selection import LIBRARIES
from tests.support import run_python

SAMPLE = {
    "sample/__init__.py": "from sample.core import connect, Connection\n",
    "sample/core.py": """
        import os, threading

        def connect():
            "Connect."
            return Connection()

        class Connection:
            def query(self, sql):
                "Ask."
                return sql, os.readlink("/proc/thread-self")

            @staticmethod
            def quote(text):
                return text, os.readlink("/proc/thread-self")

            @classmethod
            def make(cls):
                return cls, os.readlink("/proc/thread-self")

            def cursor(self):
                return Cursor(self)

        class Cursor:
            def __init__(self, connection):
                self.connection = connection

            def execute(self):
                return os.readlink("/proc/thread-self")
    """,
    "sample/poller.py": """
        import threading
        def start(function):
            thread = threading.Thread(target=function)
            thread.start()
            return thread
    """,
}

# As a file of greenify.libraries would.
READY = """
import os, sys, threading, types
sys.path.insert(0, sys.argv[1])
import greenify
from greenify.patches import selection
from greenify.libraries.record import Library
from greenify.libraries.remedies import OnOwnThread, computed, handed_over, instead

finished = []
LIBRARY = Library(
    package="sample",
    tested="1.0",
    replace={
        "sample.core": {"connect": handed_over},
        "sample.core:Connection": {
            "query": OnOwnThread(), "quote": handed_over, "make": computed, "gone?": handed_over},
        "sample.core:Cursor": {"execute": OnOwnThread("connection")},
    },
    native_threads=("sample.poller",),
    finish={"sample.core": lambda journal, module: (
        journal.replace(module, "extra", 1), finished.append(module))},
)

def register(library=LIBRARY, name="sample"):
    module = types.ModuleType("greenify.libraries." + name)
    module.LIBRARY = library
    sys.modules[module.__name__] = module
    selection.LIBRARIES[name] = library.modules

main = os.readlink("/proc/thread-self")
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name, text in SAMPLE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return str(tmp_path)


def check(folder: str, code: str) -> str:
    program = READY + textwrap.dedent(code)
    result = run_python(program, folder, greenify=False, check=True)
    assert result.stderr == "", result.stderr
    return result.stdout


class TestTables:
    @pytest.mark.parametrize("name", LIBRARIES)
    def test_a_row_has_the_modules_of_its_file(self, name: str) -> None:
        assert LIBRARIES[name] == load(name).modules

    def test_every_file_has_a_row(self) -> None:
        import greenify.libraries

        (folder,) = map(Path, greenify.libraries.__path__)
        files = {path.stem for path in folder.glob("*.py") if "\nLIBRARY = " in path.read_text()}
        assert files == set(LIBRARIES)

    @pytest.mark.parametrize("name", LIBRARIES)
    def test_every_file_says_what_it_does(self, name: str) -> None:
        library = load(name)
        assert library.package and library.tested and all(library.stays.values())
        assert all(what and by and "<" not in by for what, by in planned(name))


class TestApplying:
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_what_is_replaced(self, folder: str, when: str) -> None:
        check(
            folder,
            f"""
            register()
            if {when == "before"}:
                import sample
                from sample import connect as early
            greenify.patch_all()
            import sample
            from sample.core import Connection, connect
            assert connect is sample.connect and connect.__doc__ == "Connect."
            if {when == "before"}:
                assert early is connect
            connection = connect()
            sql, thread = connection.query("select 1")
            assert sql == "select 1" and thread != main
            # One thread for the connection and what belongs to it.
            assert {{connection.query("")[1], connection.cursor().execute()}} == {{thread}}
            assert sample.connect().query("")[1] != thread
            assert connection.quote("x")[0] == Connection.quote("x")[0] == "x"
            assert Connection.quote("x")[1] != main
            assert Connection.make()[0] is Connection and Connection.make()[1] != main
            assert finished == [sample.core] and sample.core.extra == 1
            assert not hasattr(Connection, "gone")
            places = {{change.where for change in greenify.changes() if change.patch == "sample"}}
            assert {{"sample.core.connect", "sample.core.Connection.query"}} <= places

            greenify.restore()
            assert sample.connect is sample.core.connect and sample.connect.__module__ == "sample.core"
            assert sample.connect().query("")[1] == main == Connection.quote("x")[1]
            assert not hasattr(sample.core, "extra")
            """,
        )

    def test_nothing_is_imported_or_touched(self, folder: str) -> None:
        check(
            folder,
            """
            register()
            sys.modules.pop("greenify.libraries.sample")
            before = list(sys.meta_path)
            greenify.patch_all()
            assert greenify.is_patched("sample")
            assert len(sys.meta_path) == len(before) + 1
            import json.tool
            assert not [name for name in sys.modules if name.startswith("sample")]
            greenify.restore()
            assert sys.meta_path == before and not greenify.is_patched("sample")
            import sample
            assert sample.connect().query("")[1] == main
            """,
        )

    def test_the_file_is_loaded_with_the_library(self, folder: str) -> None:
        program = """
            import sys
            import greenify
            greenify.patch_all()
            assert not [name for name in sys.modules if name.startswith("greenify.libraries")]
            """
        run_python(program, greenify=False, check=True)

    def test_native_threads(self, folder: str) -> None:
        check(
            folder,
            """
            register()
            greenify.patch_all()
            found = []
            def note():
                found.append(os.readlink("/proc/thread-self") != main)
            import sample.poller
            sample.poller.start(note).join()
            threading.Thread(target=note).start()
            greenify.sleep(0.001)
            greenify.restore()
            assert found == [True, False], found
            """,
        )

    def test_only_and_skip(self, folder: str) -> None:
        check(
            folder,
            """
            register()
            greenify.patch_all(skip=["sample"])
            import sample
            assert sample.connect().query("")[1] == main
            greenify.patch_all(only=["sample"])
            assert sample.connect().query("")[1] != main
            """,
        )

    def test_for_a_while(self, folder: str) -> None:
        check(
            folder,
            """
            register()
            with greenify.patched(only=["sample"]):
                import sample
                assert sample.connect().query("")[1] != main
            assert sample.connect().query("")[1] == main and greenify.changes() == ()
            with greenify.patched(only=["sample"]):
                assert sample.connect().query("")[1] != main
            """,
        )

    def test_imported_anew(self, folder: str) -> None:
        check(
            folder,
            """
            register()
            greenify.patch_all()
            for _ in range(2):
                import sample
                assert sample.connect().query("")[1] != main
                for name in [name for name in sys.modules if name.startswith("sample")]:
                    del sys.modules[name]
            """,
        )

    def test_imported_by_several_threads(self, folder: str) -> None:
        check(
            folder,
            """
            register()
            greenify.patch_all()
            native = greenify.original("threading")
            found = []
            def load():
                import sample
                found.append(sample.connect)
            threads = [kind(target=load) for kind in [native.Thread, threading.Thread] * 5]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert len(found) == 10 and len(set(found)) == 1 and len(finished) == 1
            """,
        )

    def test_the_module_is_as_ever(self, folder: str) -> None:
        check(
            folder,
            """
            import importlib.util, inspect
            register()
            greenify.patch_all()
            spec = importlib.util.find_spec("sample.core")
            import sample.core
            assert type(sample.core.__loader__).__name__ == "SourceFileLoader"
            assert sample.core.__spec__.loader is sample.core.__loader__
            assert "def connect" in inspect.getsource(sample.core)
            """,
        )

    def test_a_forked_child_goes_on_with_it(self, folder: str) -> None:
        check(
            folder,
            """
            register()
            greenify.patch_all()
            pid = os.fork()
            if pid == 0:
                import sample
                assert sample.connect().query("")[1] != os.getpid()
                os._exit(7)
            assert os.waitpid(pid, 0)[1] == 7 << 8
            """,
        )


# What is wrong with a version, and what the warning says of it.
MISFITS = {
    "a function is gone": (
        'replace={"sample.core": {"connect": handed_over, "gone": handed_over}}',
        "sample.core has no attribute 'gone'",
    ),
    "a class is gone": ('replace={"sample.core:Gone": {"query": handed_over}}', "there is no Gone"),
    "another module has changed": (
        'replace={"sample.core": {"connect": handed_over}, "sample": {"gone": handed_over}}',
        "sample has no attribute 'gone'",
    ),
    "a remedy fails": (
        'replace={"sample.core": {"connect": lambda original: original.gone}}',
        "AttributeError: 'function' object has no attribute 'gone'",
    ),
    "finish fails": (
        'replace={"sample.core": {"connect": handed_over}},'
        ' finish={"sample.core": lambda journal, module: 1 / 0}',
        "ZeroDivisionError",
    ),
}


class TestMisfits:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("what", MISFITS)
    def test_it_works_as_if_unpatched(self, folder: str, what: str, when: str) -> None:
        arguments, message = MISFITS[what]
        check(
            folder,
            f"""
            import warnings
            register(Library(package="sample", tested="1.0", {arguments}))
            plain = None
            if {when == "before"}:
                import sample
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                greenify.patch_all()
                import sample; import sample.core
                from sample.core import connect
                import sample.poller
            assert connect is sample.connect and connect().query("")[1] == main
            assert connect.__globals__ is vars(sample.core)
            (warning,) = caught
            assert warning.category is greenify.LibraryPatchWarning
            text = str(warning.message)
            assert {message!r} in text and "tested: 1.0" in text and "skip='sample'" in text, text
            assert warning.filename == "<string>", warning
            assert not greenify.is_patched("sample") and greenify.is_patched("time")
            greenify.restore()
            """,
        )


def test_the_launcher_prints_nothing_and_lists_them(folder: str) -> None:
    result = run_python("print('ran')", check=True)
    assert (result.stdout, result.stderr) == ("ran\n", "")
    listed = run_python("", options=["--list"], check=True).stdout
    for name in LIBRARIES:
        assert any(line.split()[0] == name for line in listed.splitlines()), name
    assert "bcrypt" not in run_python("", options=["--list", "--skip", "bcrypt"], check=True).stdout


def test_spawned_children_have_them(folder: str) -> None:
    script = Path(folder, "program.py")
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing
            def names():
                import greenify
                return greenify.is_patched("bcrypt"), greenify.is_patched("argon2")
            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.apply(names))
            """
        )
    )
    result = run_python(script, options=["--skip", "argon2"], check=True)
    assert result.stdout == "(True, False)\n"
