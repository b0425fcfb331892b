"""Imports point down: read from the source of every file, wherever in it they stand."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenify

PACKAGE = Path(greenify.__file__).parent

# Low to high.  A file imports from rooms below its own, and from its own room without going in circles.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("greenify._version", "greenify._python", "greenify._vendor"),
    ("greenify.errors",),
    ("greenify.core",),
    ("greenify.*",),  # the flat files: locks, queue, task, ...
    ("greenify.io",),
    ("greenify.servers",),
    ("greenify.green",),
    ("greenify.patches", "greenify.libraries"),
    ("greenify.watching", "greenify.inspect", "greenify.tracing"),
    ("greenify.integrations",),
    ("greenify",),  # the public names
    ("greenify._launcher",),
    ("greenify.__main__",),
)

# Packages that one file alone may import: it owns them.
OWNED = {
    "pyuv": "greenify.core.loop",
    "greenify._vendor": "greenify.core.loop",
    "plotly": "greenify.tracing.page",
    "rich": "greenify.inspect.top",
}

# What a room may not import although it lies below: the descriptions of patches know nothing of the engine.
FORBIDDEN = {
    "greenify.patches": (
        "greenify.core.loop",
        "greenify.core.hub",
        "greenify.core.registry",
        "greenlet",
        "pyuv",
    )
}

# Calls back up within a room, made at run time: (from, to) -> why it cannot be helped.
UPWARD = {
    ("greenify.core.descriptors", "greenify.core.waiting"): (
        "a wait on a descriptor of another OS thread's hub is no different from one on a foreign descriptor"
    ),
    ("greenify._launcher.site.sitecustomize", "greenify._launcher.children"): (
        "a child begins there, with nothing of greenify imported; the launcher takes only names from it"
    ),
}


def files() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = files()


def room(module: str) -> int:
    """The number of the room a module is in."""
    for number, names in enumerate(ROOMS):
        for name in names:
            if module == name or (name != "greenify" and module.startswith(name + ".")):
                return number
    assert module.count(".") == 1, f"{module} is in no room of the table"
    return next(number for number, names in enumerate(ROOMS) if names == ("greenify.*",))


def imports(module: str) -> Iterator[tuple[str, int]]:
    """The modules that a file imports at run time, anywhere in it, with the line."""
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in FILES else node.module), node.lineno


def own_imports(module: str) -> Iterator[tuple[str, int]]:
    return ((name, line) for name, line in imports(module) if name.split(".")[0] == "greenify")


@pytest.mark.parametrize("module", FILES)
class TestRooms:
    def test_imports_point_down(self, module: str) -> None:
        wrong = [
            f"line {line} imports {name}"
            for name, line in own_imports(module)
            if room(name) > room(module)
        ]
        assert wrong == []

    def test_owned_packages(self, module: str) -> None:
        for package, owner in OWNED.items():
            users = [
                line
                for name, line in imports(module)
                if (name + ".").startswith(package + ".") and not module.startswith(package)
            ]
            assert users == [] or module == owner

    def test_what_a_room_must_not_know(self, module: str) -> None:
        for name, packages in FORBIDDEN.items():
            if module.startswith(name):
                known = [
                    f"line {line} imports {imported}"
                    for imported, line in imports(module)
                    if any((imported + ".").startswith(package + ".") for package in packages)
                ]
                assert known == []

    def test_only_greenlet_comes_from_outside(self, module: str) -> None:
        roots = {name.split(".")[0] for name, _ in imports(module)}
        # exceptiongroup: PEP 654 for CPython 3.10.
        allowed = {"greenify", "greenlet", "exceptiongroup"} | {
            name.split(".")[0] for name in OWNED
        }
        if module.startswith("greenify.integrations"):
            pytest.skip("adapters import what they adapt")
        assert roots - allowed <= set(sys.stdlib_module_names)


def test_no_circles() -> None:
    graph = {
        module: {
            name
            for name, _ in own_imports(module)
            if name != module and (module, name) not in UPWARD
        }
        for module in FILES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(graph[module] & graph.keys()):
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_tables_name_what_exists() -> None:
    for owner in OWNED.values():
        assert owner in FILES
    for name in FORBIDDEN:
        assert name in FILES
    for module, name in UPWARD:
        assert name in {imported for imported, _ in own_imports(module)}
        assert room(module) == room(name)
