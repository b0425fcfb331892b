"""Private copies of modules: the same code, executed once more over other modules than the usual ones.

A `Library` is a set of such copies.  Their code finds an ``__import__`` of its own among its builtins, so
whatever they import, at whatever time and in whatever thread, comes from the library, and `sys.modules` never
hears of it.  What is neither given to the library nor copied is shared with the rest of the program.
"""

from __future__ import annotations

import builtins
import enum
import importlib
import importlib.util
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from greenify.locks import RLock

__all__ = ["Library", "code_of", "find", "shell"]


def find(name: str, path: Any = None) -> ModuleSpec | None:
    """The spec of a module, without importing its package; None if there is no such module.

    Args:
        path: the ``__path__`` of its package.
    """
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        if find_spec is not None:
            spec: ModuleSpec | None = find_spec(name, path)
            if spec is not None:
                return spec
    return None


class _Shell(ModuleType):
    """Stands for a module of the program, of which only some attributes are the library's own."""

    def __init__(self, real: ModuleType, **own: Any) -> None:
        super().__init__(real.__name__, real.__doc__)
        vars(self).update(own, __greenify_real__=real)
        for name in ("__file__", "__path__", "__package__", "__spec__", "__loader__"):
            if hasattr(real, name):
                vars(self)[name] = getattr(real, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["__greenify_real__"], name)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(vars(self)["__greenify_real__"])})


def shell(real: ModuleType, **own: Any) -> ModuleType:
    """A module that is like `real` but for some attributes."""
    return _Shell(real, **own)


class _Sys(_Shell):
    """`sys`, whose ``modules`` are the library's.  What is set, is set in the real one."""

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["__greenify_real__"], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(vars(self)["__greenify_real__"], name)


class Library:
    """Copies of modules.  Any thread may call any method; several may import at once.

    Args:
        given: by name, what makes the modules that the copies find in place of the usual ones.
        copied: whether a module, of this name, is to be copied when a copy imports it.
        functions: names of builtins, and what the copies find under them.
        prefix: what the names of the copies begin with.
    """

    def __init__(
        self,
        given: Mapping[str, Callable[[], ModuleType]],
        copied: Callable[[str], bool],
        functions: Mapping[str, Any],
        prefix: str = "",
    ) -> None:
        self._given = given
        self._copied = copied
        self._prefix = prefix
        self._lock = RLock()
        #: By name: those that exist so far.
        self.modules: dict[str, ModuleType] = {}
        self._builtins = {**vars(builtins), **functions, "__import__": self._import}
        view: Any = ChainMap(self.modules, sys.modules)
        self.modules["sys"] = _Sys(sys, modules=view)
        self.modules["enum"] = _Shell(
            enum, IntEnum=self._enum(enum.IntEnum), IntFlag=self._enum(enum.IntFlag)
        )
        self.modules["importlib"] = _Shell(importlib, import_module=self._import_module)

    def copy(self, name: str) -> ModuleType:
        """The copy of the module `name`, made now if there is none yet.

        Raises:
            ImportError: there is no such module, it is not written in Python, or it cannot be imported.
        """
        with self._lock:
            found = self.modules.get(name)
            if found is not None and not isinstance(found, _Shell):
                return found
            given = self._given.get(name)
            if given is not None:
                return self._keep(name, given())
            return self.make(name)

    def resolve(self, name: str) -> ModuleType:
        """What a copy gets when it imports `name`: one of the library's, or the program's own module."""
        with self._lock:
            found = self.modules.get(name)
            if found is not None:
                return found
            given = self._given.get(name)
            if given is not None:
                return self._keep(name, given())
            if self._copied(name):
                return self.make(name)
            parent, _, own = name.rpartition(".")
            if parent and parent not in self._given:
                # Its package first: that may put something else there.
                self.resolve(parent)
                found = self.modules.get(name)
                if found is not None:
                    return found
        # Without the lock: the program's own imports have locks of their own.
        module = importlib.import_module(name)
        package = self.modules.get(parent)
        if package is not None and parent not in self._given:
            vars(package)[own] = module
        return module

    def _keep(self, name: str, module: ModuleType) -> ModuleType:
        self.modules[name] = module
        return module

    def make(self, name: str) -> ModuleType:
        """Make a copy of the module `name`, given or not.  See `copy`."""
        parent, _, own = name.rpartition(".")
        path = None
        package: ModuleType | None = None
        if parent:
            package = self._package(parent)
            path = getattr(package, "__path__", None)
            if path is None:
                raise ModuleNotFoundError(
                    f"No module named {name!r}; {parent!r} is not a package", name=name
                )
            found = self.modules.get(name)
            if found is not None:
                return found  # its package has imported it
        spec = find(name, path)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        code = code_of(spec)
        if code is None:
            raise ImportError(f"{name!r} is not written in Python and cannot be copied", name=name)
        module = importlib.util.module_from_spec(spec)
        vars(module)["__builtins__"] = self._builtins
        module.__name__ = self._prefix + name
        self.modules[name] = module
        try:
            exec(code, vars(module))
        except BaseException:
            self.modules.pop(name, None)
            raise
        # It may have put something else in its place.
        module = self.modules[name]
        if name.partition(".")[0] in sys.stdlib_module_names:
            _share_exceptions(module, importlib.import_module(name))
        if package is not None:
            vars(package)[own] = module
        return module

    def _package(self, name: str) -> ModuleType:
        """What stands for a package that a module is copied of."""
        found = self.modules.get(name)
        if found is not None:
            return found
        if self._copied(name):
            return self.make(name)
        real = importlib.import_module(name)
        shell = self._keep(name, _Shell(real))
        parent, _, own = name.rpartition(".")
        if parent:
            vars(self._package(parent))[own] = shell
        return shell

    # What the copies import with.

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: object = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> ModuleType:
        if level:
            name = importlib.util.resolve_name("." * level + name, _package_of(globals or {}))
        module = self.resolve(name)
        if not fromlist:
            return self.resolve(name.partition(".")[0])
        if not hasattr(module, "__path__"):
            return module
        self._import_from(module, name, fromlist)
        # A package of the program's becomes a shell when one of its modules is copied.
        return self.modules.get(name, module)

    def _import_from(self, package: ModuleType, name: str, fromlist: Any) -> None:
        for item in fromlist:
            if item == "*":
                self._import_from(package, name, getattr(package, "__all__", ()))
                continue
            if item in vars(package) and self.modules.get(name) is package:
                continue
            submodule = f"{name}.{item}"
            if hasattr(package, item) and not self._copied(submodule):
                continue
            try:
                self.resolve(submodule)
            except ModuleNotFoundError as exc:
                if exc.name != submodule:
                    raise

    def _enum(self, base: Any) -> Any:
        """The enumeration class `base`, for copies of the modules that make enumerations of their constants.

        The real one puts them into the module that `sys.modules` has under the name.  A copy gets those that
        are there.
        """

        def convert(cls: Any, name: str, module: str, *args: Any, **kwargs: Any) -> Any:
            module = module.removeprefix(self._prefix)
            made: Any = getattr(importlib.import_module(module), name)
            vars(self.modules[module]).update({**made.__members__, name: made})
            return made

        kind: Any = type(base)(
            base.__name__, (base,), type(base).__prepare__(base.__name__, (base,))
        )
        kind._convert_ = classmethod(convert)
        return kind

    def _import_module(self, name: str, package: str | None = None) -> ModuleType:
        """`importlib.import_module` for the copies."""
        if name.startswith("."):
            if not package:
                raise TypeError(
                    f"the 'package' argument is required to perform a relative import for {name!r}"
                )
            name = importlib.util.resolve_name(name, package)
        return self.resolve(name)


def _package_of(globals: Mapping[str, Any]) -> str:
    package = globals.get("__package__")
    if package is None:
        package = globals["__name__"]
        if "__path__" not in globals:
            package = package.rpartition(".")[0]
    return str(package)


def _share_exceptions(copy: ModuleType, real: ModuleType) -> None:
    """Let a copy raise the exceptions of the original, by whose names programs know them."""

    def own(value: object) -> bool:
        return (
            isinstance(value, type)
            and issubclass(value, BaseException)
            and value.__module__ == copy.__name__
        )

    for name, value in list(vars(copy).items()):
        if own(value) or (isinstance(value, tuple) and any(map(own, value))):
            vars(copy)[name] = getattr(real, name)


def code_of(spec: ModuleSpec) -> Any:
    """The code of a module written in Python, or None."""
    if spec.loader is None:
        return None  # a package without a file of its own
    get_code = getattr(spec.loader, "get_code", None)
    if get_code is None:
        return None
    try:
        return get_code(spec.name)
    except SyntaxError:
        return None  # of another version; whoever imports it will be told
