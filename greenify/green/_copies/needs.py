"""Which modules a private copy has to be made of, for what they import to be cooperative.

Of the standard library, those in `STANDARD`.  Of other modules those that use, or import a module that uses,
something which has a cooperative twin; that is read from their compiled code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any

from greenify.green._copies.copies import code_of, find

if TYPE_CHECKING:
    import dis

__all__ = ["STANDARD", "TWINS", "Needs"]

STANDARD = frozenset(
    """
    asynchat asyncore concurrent.futures concurrent.futures._base concurrent.futures.thread ftplib http.client
    http.server imaplib logging.config logging.handlers nntplib poplib sched smtpd smtplib socketserver
    telnetlib urllib.request urllib.robotparser wsgiref.simple_server xmlrpc.client xmlrpc.server
    """.split()
)
"""The modules of the standard library that wait.  The others are shared: their classes and their state
(logging, warnings, email, urllib.error) are one with the program's."""

TWINS: dict[str, frozenset[str] | None] = {
    "_thread": None,
    "os": frozenset(
        "popen read readv sendfile spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe system "
        "wait wait3 wait4 waitid waitpid write writev".split()
    ),
    "queue": None,
    "select": None,
    "selectors": None,
    "signal": frozenset("pause sigtimedwait sigwait sigwaitinfo".split()),
    "socket": None,
    "ssl": None,
    "subprocess": None,
    "threading": None,
    "time": frozenset({"sleep"}),
}
"""What has a twin, and which of its names one has to use for that to matter; None: any."""

_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_DEREF")
# A module's level in a relative import; the second from CPython 3.14 on.
_NUMBERS = ("LOAD_CONST", "LOAD_SMALL_INT")
_STORES = ("STORE_NAME", "STORE_GLOBAL", "STORE_FAST", "STORE_DEREF")


class Needs:
    """Tells which modules are to be copied.  It imports nothing."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def copy(self, name: str) -> bool:
        """Whether the module `name` has to be copied."""
        if name.partition(".")[0] in sys.stdlib_module_names:
            return name in STANDARD
        if name not in self._known:
            self._explore(name)
        return self._known[name]

    def _explore(self, name: str) -> None:
        # Everything that is reached from there, then backwards from what needs a copy.
        users: dict[str, set[str]] = {}
        direct: list[str] = []
        pending = [name]
        seen = {name}
        while pending:
            module = pending.pop()
            uses, imported = _look(module)
            if uses:
                direct.append(module)
            parent = module.rpartition(".")[0]
            for other in (*imported, parent) if parent else imported:
                if other.partition(".")[0] in sys.stdlib_module_names:
                    if other in STANDARD:
                        direct.append(module)
                elif other in self._known:
                    if self._known[other]:
                        direct.append(module)
                else:
                    users.setdefault(other, set()).add(module)
                    if other not in seen:
                        seen.add(other)
                        pending.append(other)
        needing: set[str] = set()
        while direct:
            module = direct.pop()
            if module not in needing:
                needing.add(module)
                direct.extend(users.get(module, ()))
        self._known.update((module, module in needing) for module in seen)


def _path(name: str) -> Any:
    """The ``__path__`` of a package; None if there is none."""
    parent = name.rpartition(".")[0]
    within = None
    if parent:
        within = _path(parent)
        if within is None:
            return None
    spec = find(name, within)
    return None if spec is None else spec.submodule_search_locations


def _look(name: str) -> tuple[bool, set[str]]:
    """Whether a module uses a twin itself, and what it imports besides (some of it may not exist)."""
    parent = name.rpartition(".")[0]
    within = None
    if parent:
        within = _path(parent)
        if within is None:
            return False, set()
    spec = find(name, within)
    code = None if spec is None else code_of(spec)
    if spec is None or code is None:
        return False, set()
    package = name if spec.submodule_search_locations is not None else parent
    uses = False
    imported: set[str] = set()
    for module, attribute in _uses(code, package):
        if module in TWINS:
            blocking = TWINS[module]
            uses = uses or blocking is None or attribute in blocking
            continue
        imported.add(module)
        if attribute:
            imported.add(f"{module}.{attribute}")
        while "." in module:
            module = module.rpartition(".")[0]
            imported.add(module)
    return uses, imported - {name}


def _uses(code: CodeType, package: str) -> Iterator[tuple[str, str]]:
    """What some code imports, and which attributes of it are used ("" for the module as such)."""
    import dis  # which takes its time, and few programs come here

    names: dict[str, str] = {}  # what the modules are called
    codes = [code]
    attributes: list[tuple[str, str]] = []
    while codes:
        inner = codes.pop()
        codes.extend(const for const in inner.co_consts if isinstance(const, CodeType))
        level = 0
        imported = ""
        before: dis.Instruction | None = None
        for instruction in dis.get_instructions(inner):
            operation = instruction.opname
            if operation in _NUMBERS and type(instruction.argval) is int:
                level = instruction.argval
            elif operation == "IMPORT_NAME":
                imported = _absolute(instruction.argval, level, package)
                level = 0
                if imported:
                    yield imported, ""
            elif operation == "IMPORT_FROM" and imported:
                yield imported, instruction.argval
            elif operation in _STORES and before is not None and before.opname == "IMPORT_NAME":
                names[instruction.argval] = imported
            elif operation in ("LOAD_ATTR", "LOAD_METHOD") and before is not None:
                if before.opname in _LOADS:
                    attributes.append((before.argval, instruction.argval))
            before = instruction
    for name, attribute in attributes:
        if name in names:
            yield names[name], attribute


def _absolute(name: str, level: int, package: str) -> str:
    if not level:
        return name
    parts = package.split(".")
    if level > len(parts):
        return ""
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{name}" if name else base
