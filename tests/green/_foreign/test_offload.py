"""`greenify.offload`: a function, a decorator, an argument of `patch_all` and an option of the launcher."""

from __future__ import annotations

import functools
import textwrap
from pathlib import Path
from typing import Any

import pytest

from greenify import Offloaded, offload
from greenify.errors import PatchError
from greenify.patches.named import read_native, read_offload
from tests.green._foreign import foreign
from tests.support import run_python

MODULE = """
    import math, os, threading

    def work(gate=None):
        "Waits."
        if gate is not None:
            gate.wait()
        return os.readlink('/proc/thread-self')

    class Connection:
        def query(self, text=""):
            return text, os.readlink('/proc/thread-self')

        @staticmethod
        def quote(text):
            return text, os.readlink('/proc/thread-self')

        def cursor(self):
            return Cursor(self)

    class Cursor:
        def __init__(self, connection):
            self.connection = connection

        def execute(self):
            return os.readlink('/proc/thread-self')

    def start():
        found = []
        thread = threading.Thread(target=lambda: found.append(os.readlink('/proc/thread-self')))
        thread.start()
        thread.join()
        return found[0]

    async def coroutine():
        pass

    def generator():
        yield 1

    floor = math.floor
    value = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "__init__.py").write_text("")
    (tmp_path / "slow" / "inner.py").write_text(textwrap.dedent(MODULE))
    return str(tmp_path)


def check(folder: str, code: str) -> str:
    program = (
        foreign.READY.replace("greenify.patch_all()\n", "")
        + "sys.path.insert(0, sys.argv[1])\nmain = os.readlink('/proc/thread-self')\n"
        + textwrap.dedent(code)
    )
    result = run_python(program, folder, greenify=False, check=True)
    assert result.stderr == "", result.stderr
    return result.stdout


class TestFunction:
    def test_function_and_decorator(self) -> None:
        foreign.run("""
gate = Gate()
wait = greenify.offload(gate.wait)
@greenify.offload
def double(x):
    "Doubles."
    return 2 * x, native.get_ident()
thread = start(wait, 3)
until(lambda: gate.begun)
gate.open()
thread.join(LONG)
assert not thread.is_alive()
assert double(2)[0] == 4 and double(2)[1] != native.get_ident()
assert double.__name__ == "double" and double.__doc__ == "Doubles."

class Connection:
    @greenify.offload(thread_of="self")
    def query(self):
        return native.get_ident()
    @greenify.offload
    @staticmethod
    def quote(text):
        return text
    @greenify.offload
    @classmethod
    def make(cls):
        return cls()
    def cursor(self):
        return Cursor(self)
class Cursor:
    def __init__(self, connection):
        self.connection = connection
    @greenify.offload(thread_of="self.connection")
    def execute(self):
        return native.get_ident()
one, two = Connection(), Connection.make()
assert {one.query(), one.query(), one.cursor().execute()} == {one.query()} != {two.query()}
assert Connection.quote("x") == one.quote("x") == "x" and type(two) is Connection
""")

    @pytest.mark.parametrize(
        ("what", "message"),
        [
            (int, "int is a class"),
            (5, "cannot be called"),
            (textwrap, "cannot be called"),
        ],
    )
    def test_what_cannot_be_offloaded(self, what: Any, message: str) -> None:
        with pytest.raises(TypeError, match=message):
            offload(what)

    def test_what_else_it_has_stays(self) -> None:
        @functools.lru_cache
        def cached(number: int) -> int:
            return number + 1

        class Called:
            def __init__(self) -> None:
                self.kept = 3

            def __call__(self) -> int:
                return self.kept

            def keep(self, number: int) -> None:
                self.kept = number

        offloaded: Any = offload(cached)
        assert offloaded(1) == 2 and offloaded.cache_info().currsize == 1
        offloaded.cache_clear()
        assert cached.cache_info().currsize == 0
        called: Any = offload(Called())
        called.keep(5)
        assert called() == 5

    def test_what_would_do_nothing(self) -> None:
        async def coroutine() -> None: ...

        def generator() -> Any:
            yield

        with pytest.raises(TypeError, match="is a coroutine function"):
            offload(coroutine)
        with pytest.raises(TypeError, match="is a generator function"):
            offload(generator)

    @pytest.mark.parametrize("thread_of", ["me", "selfish", "self.", "self.a b", ""])
    def test_thread_of(self, thread_of: str) -> None:
        if thread_of == "self.":
            thread_of = "self..x"
        with pytest.raises(ValueError, match="thread_of is 'self'"):
            offload(len, thread_of=thread_of)

    def test_without_the_patch(self) -> None:
        run_python(
            """
            import _thread, greenify
            found = []
            get_ident = greenify.offload(_thread.get_ident)
            task = greenify.spawn(lambda: found.append(get_ident()))
            task.join()
            assert found[0] != _thread.get_ident()
            """,
            greenify=False,
            check=True,
        )


class TestClasses:
    def test_methods_and_callbacks(self) -> None:
        foreign.run("""
class Base:
    def query(self, value=1):
        return value, native.get_ident()
    def each(self, function):
        return function(), native.get_ident()
    def at_once(self):
        return native.get_ident()
class Connection(greenify.Offloaded, Base, methods=["query", "each", "own"]):
    def own(self):
        return native.get_ident()
    def both(self):
        return self.each(self.run_back(lambda: (native.get_ident(), self.own())))
class Derived(Connection):
    def query(self, value=2):
        return super().query(value)
class Cursor(greenify.Offloaded, methods=["execute"], thread_of="self.connection"):
    def __init__(self, connection):
        self.connection = connection
    def execute(self):
        return native.get_ident()
main = native.get_ident()
for kind in (Connection, Derived):
    one, two = kind(), kind()
    its = one.own()
    assert its != main and its == one.query()[1] == Cursor(one).execute() != two.own()
    assert one.query(7)[0] == 7 and one.at_once() == main
    assert one.both() == ((main, its), its)
assert Base().query()[1] == main
""")

    def test_mistakes(self) -> None:
        with pytest.raises(AttributeError, match="has no method 'gone'"):

            class Gone(Offloaded, methods=["gone"]):
                pass

        with pytest.raises(TypeError, match="methods takes names"):

            class Text(Offloaded, methods="query"):
                pass


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "module",
            "module:",
            ":name",
            "a b:c",
            "module:Class.",
            "m:f@",
            "m:f@other",
            "m:f@self.",
            "m:f:g",
        ],
    )
    def test_forms_of_calls(self, name: str) -> None:
        with pytest.raises(PatchError, match=r"^offload: "):
            read_offload([name])

    @pytest.mark.parametrize("name", ["a b", "a:b", "a.", "1"])
    def test_forms_of_packages(self, name: str) -> None:
        with pytest.raises(PatchError, match=r"^native: "):
            read_native([name])

    def test_lists(self) -> None:
        assert read_offload("a:b, c.d:E.f@self,") == ("a:b", "c.d:E.f@self")
        assert read_native(["a", "b.c", "a"]) == ("a", "b.c")
        with pytest.raises(PatchError, match="takes names, as strings"):
            read_offload([len])  # type: ignore[list-item]


class TestPatching:
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_calls(self, folder: str, when: str) -> None:
        check(
            folder,
            f"""
            if {when == "before"}:
                import slow.inner
                from slow.inner import work as early
            greenify.patch_all(offload=[
                "slow.inner:work", "slow.inner:Connection.query@self", "slow.inner:Connection.quote",
                "slow.inner:Cursor.execute@self.connection"])
            assert ("slow" in sys.modules) is {when == "before"}
            import slow.inner
            from slow.inner import work, Connection
            if {when == "before"}:
                assert early is work
            gate = Gate()
            thread = start(work, gate)
            until(lambda: gate.begun)
            gate.open()
            thread.join(LONG)
            assert work() != main and work.__doc__ == "Waits."
            one, two = Connection(), Connection()
            its = one.query("x")
            assert its[0] == "x" and its[1] != main and its == one.query("x") != two.query("x")
            assert one.cursor().execute() == its[1]
            assert Connection.quote("y")[0] == "y" and Connection.quote("y")[1] != main
            found = {{change.patch for change in greenify.changes() if change.patch.startswith("offload")}}
            assert len(found) == 4, found
            greenify.restore()
            assert slow.inner.work() == main == Connection().query()[1]
            """,
        )

    def test_for_a_while_and_besides(self, folder: str) -> None:
        check(
            folder,
            """
            greenify.patch_all(only=[], offload="slow.inner:work")
            import slow.inner
            with greenify.patched(only="time", offload=["slow.inner:work", "slow.inner:Connection.query"]):
                assert slow.inner.work() != main != slow.inner.Connection().query()[1]
            assert slow.inner.work() != main == slow.inner.Connection().query()[1]
            greenify.patch_all(only=[], offload="slow.inner:work")  # again
            """,
        )

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("slow.inner:wrok", "has no attribute 'wrok' (did you mean 'work'?)"),
            ("slow.inner:Gone.query", "has no attribute 'Gone'"),
            ("slow.inner:Connection.gone", "has no attribute 'gone'"),
            ("slow.inner:Connection", "is a class: name its methods"),
            ("slow.inner:coroutine", "is a coroutine function"),
            ("slow.inner:generator", "is a generator function"),
            ("slow.inner:value", "cannot be called"),
            ("slow.inner:value.real", "neither a class nor a module"),
        ],
    )
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_names_that_do_not_exist(self, folder: str, name: str, message: str, when: str) -> None:
        check(
            folder,
            f"""
            if {when == "before"}:
                import slow.inner
            try:
                greenify.patch_all(only=[], offload={name!r})
                import slow.inner
            except greenify.PatchError as exc:
                assert {name!r} in str(exc) and {message!r} in str(exc), exc
                assert "add" not in str(exc), exc  # a word of those who write patches
            else:
                raise AssertionError
            """,
        )

    def test_native(self, folder: str) -> None:
        check(
            folder,
            """
            greenify.patch_all(native=["slow"])
            import slow.inner
            assert slow.inner.start() != main
            greenify.restore()
            greenify.patch_all()
            assert slow.inner.start() == main
            """,
        )

    def test_without_the_names_nothing_is_loaded(self, folder: str) -> None:
        check(
            folder,
            """
            greenify.patch_all()
            assert "greenify.patches.named" not in sys.modules
            """,
        )


class TestLauncher:
    def test_options(self, folder: str) -> None:
        script = Path(folder, "program.py")
        script.write_text(
            "import os, slow.inner\n"
            "main = os.readlink('/proc/thread-self')\n"
            "print(slow.inner.work() == main, slow.inner.Connection().query()[1] == main, "
            "slow.inner.start() == main)\n"
        )
        options = [
            "--offload", "slow.inner:work", "--offload=slow.inner:Connection.query@self",
            "--native", "slow",
        ]  # fmt: skip
        assert run_python(script, check=True).stdout == "True True True\n"
        found = run_python(script, options=options, check=True)
        assert (found.stdout, found.stderr) == ("False False False\n", "")

    def test_what_greenify_itself_calls(self) -> None:
        found = run_python("print('ran')", options=["--offload", "builtins:len"])
        assert found.returncode == 2 and found.stdout == ""
        assert "greenify itself calls what is built in" in found.stderr

    def test_a_wrong_name(self) -> None:
        found = run_python("print('ran')", options=["--offload", "slow.inner"])
        assert found.returncode == 2 and found.stdout == ""
        assert "'slow.inner' is not of the form package.module:function" in found.stderr


def test_spawned_children_have_them(folder: str) -> None:
    script = Path(folder, "program.py")
    script.write_text(
        "import multiprocessing, os\n"
        "def work():\n"
        "    import slow.inner\n"
        "    main = os.readlink('/proc/thread-self')\n"
        "    return slow.inner.work() != main, slow.inner.start() != main\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(work))\n"
    )
    found = run_python(
        script, options=["--offload", "slow.inner:work", "--native", "slow"], check=True
    )
    assert found.stdout == "(True, True)\n"
