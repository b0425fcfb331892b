"""What the engine has of the standard library is not found by tools that go through all modules."""

from __future__ import annotations

import textwrap

import pytest

from tests.support import run_python


def test_no_module_of_greenify_shows_it() -> None:
    run_python(
        """
        import greenify, os, pkgutil, sys, time, types
        from importlib import import_module
        for found in pkgutil.walk_packages(greenify.__path__, "greenify."):
            if "_vendor" not in found.name and "__main__" not in found.name and "gevent" not in found.name:
                import_module(found.name)
        wanted = {id(getattr(module, name)): f"{module.__name__}.{name}"
                  for module in (time, os) for name in dir(module)
                  if isinstance(getattr(module, name), types.BuiltinFunctionType)}
        seen = 0
        for name, module in tuple(sys.modules.items()):
            if not name.startswith("greenify.core") or type(module) is not type(greenify):
                continue
            seen += 1
            for shown in (vars(module), {key: getattr(module, key) for key in dir(module)}):
                for key, value in shown.items():
                    assert not isinstance(value, types.ModuleType) or value.__name__.startswith("greenify"), (
                        name, key)
                    assert id(value) not in wanted, (name, key, wanted[id(value)])
        assert seen > 15
        for name, module in tuple(sys.modules.items()):
            if name.startswith("greenify") and type(module) is type(greenify):
                for key, value in vars(module).items():
                    assert value is not os and value is not time, (name, key)
                    assert not key.startswith("_") or id(value) not in wanted, (name, key)
        """,
        greenify=False,
        check=True,
    )


def test_functions_have_it_all_the_same() -> None:
    run_python(
        """
        import time
        from greenify.core import clock
        from greenify.core.loop import Loop
        assert "time" in clock.__class__.__mro__[1].__getattribute__(clock, "_own_module").__globals__
        assert Loop.__init__.__globals__ is not vars(clock)
        assert abs(clock.monotonic() - time.monotonic()) < 60
        """,
        greenify=False,
        check=True,
    )


def check_names(body: str) -> None:
    """Run `body` with `module`, where `_monotonic` is hidden, `plain`, an ordinary module with the same names."""
    begin = textwrap.dedent(
        """
        import time, types
        from greenify import tokens
        kept = tokens._monotonic
        plain = types.ModuleType("plain")
        vars(plain).update({name: getattr(tokens, name) for name in tokens._Token._acquire_until.__globals__})
        assert "_monotonic" not in dir(tokens) and "_monotonic" not in list(vars(tokens))
        fake = lambda: 1.0
        fake.__module__ = "fake"
        for module in (plain, tokens):
        """
    )
    run_python(begin + textwrap.indent(textwrap.dedent(body), "    "), greenify=False, check=True)


NAMED = {
    "attributes": """
        module._monotonic = fake
        assert module._monotonic is fake
        del module._monotonic
        assert not hasattr(module, "_monotonic")
        setattr(module, "_monotonic", kept)
        assert module._monotonic is kept
        """,
    "pytest": """
        import pytest
        for _ in range(2):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "_monotonic", fake)
                patch.setattr(module, "_added", fake, raising=False)
                assert module._monotonic is vars(module)["_monotonic"] is fake
            assert module._monotonic is kept and not hasattr(module, "_added")
            with pytest.MonkeyPatch.context() as patch:
                patch.delattr(module, "_monotonic")
                patch.setitem(vars(module), "_added", fake)
                assert not hasattr(module, "_monotonic") and module._added is fake
            assert module._monotonic is kept and not hasattr(module, "_added")
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(vars(module), "_monotonic", fake)
                assert module._monotonic is fake
            assert module._monotonic is kept
        """,
    "mock": """
        from unittest import mock
        with mock.patch.object(module, "_monotonic", fake):
            assert module._monotonic is fake
        assert module._monotonic is kept
        with mock.patch.dict(vars(module), _monotonic=fake, added=1):
            assert module._monotonic is fake and module.added == 1
        assert module._monotonic is kept and not hasattr(module, "added")
        with mock.patch.dict(vars(module)):
            del vars(module)["_monotonic"]
        assert module._monotonic is kept
        """,
    "vars": """
        names = vars(module)
        assert "_monotonic" in names and names["_monotonic"] is names.get("_monotonic") is kept
        assert names.setdefault("_monotonic", fake) is kept
        assert "spam" not in names and names.get("spam") is None and names.get("spam", 1) == 1
        module._monotonic = fake
        assert names["_monotonic"] is fake
        assert names.pop("_monotonic") is fake and names.pop("_monotonic", 1) == 1
        assert "_monotonic" not in names and not hasattr(module, "_monotonic")
        for call in (names.__getitem__, names.__delitem__, names.pop):
            try:
                call("_monotonic")
            except KeyError as exc:
                assert exc.args == ("_monotonic",)
            else:
                raise AssertionError(call)
        names.update(_monotonic=fake)
        assert module._monotonic is fake
        names |= {"_monotonic": kept, "added": 1}
        assert module._monotonic is kept and module.added == 1
        assert "added" in list(names) and ("added", 1) in names.items() and 1 in names.values()
        assert names.popitem() == ("added", 1) and not hasattr(module, "added")
        assert names == vars(module) and names != {}
        assert len(names) == len(list(names)) == len(names.keys()) == len(dict(names)) == len({**names})
        assert list(reversed(names)) == list(names)[::-1]
        """,
    "code": """
        exec("assert _monotonic is kept; _monotonic = fake", vars(module), {"kept": kept, "fake": fake})
        exec("_monotonic = None; added = [_monotonic for _ in '1']", vars(module))
        assert module._monotonic is None and module.added == [None]
        module._monotonic = kept
        del module.added
        assert eval("_monotonic", vars(module)) is eval("(lambda: _monotonic)()", vars(module)) is kept
        """,
    "reload": """
        import importlib
        if module is tokens:
            assert importlib.reload(module) is module
            assert module._Token._acquire_until.__globals__["_monotonic"] is module._monotonic
            module._monotonic = fake
            assert module._Token._acquire_until.__globals__["_monotonic"] is fake
        """,
}


@pytest.mark.parametrize("name", NAMED)
def test_who_names_a_name_has_it(name: str) -> None:
    check_names(NAMED[name])


def test_all_that_is_shown_can_be_taken_away_and_put_back() -> None:
    run_python(
        """
        from greenify import tokens
        kept = tokens._monotonic
        saved = dict(vars(tokens))
        assert "_monotonic" not in saved and "_monotonic" not in vars(tokens) | {}
        assert "_monotonic" not in {} | vars(tokens) and "_monotonic" not in repr(vars(tokens))
        vars(tokens).clear()
        assert not vars(tokens) and tokens._monotonic is kept
        vars(tokens).update(saved)
        assert vars(tokens) == tokens._Token._acquire_until.__globals__
        """,
        greenify=False,
        check=True,
    )


def test_looking_at_the_names_loads_nothing() -> None:
    run_python(
        """
        import sys, greenify
        before = set(sys.modules)
        assert "Channel" in dir(greenify) and vars(greenify)
        assert set(sys.modules) == before
        """,
        greenify=False,
        check=True,
    )
