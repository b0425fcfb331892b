"""What the engine has of the standard library is not found by tools that go through all modules."""

from __future__ import annotations

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
