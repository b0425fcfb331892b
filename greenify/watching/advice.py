"""What can be done about a call that keeps the loop, by name."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from importlib import import_module

from greenify.patches import changes, is_patched
from greenify.patches.record import label
from greenify.patches.selection import LIBRARIES, ORDER
from greenify.watching.kernel import SystemCall
from greenify.watching.stacks import Call, Raw

__all__ = ["remedy"]

# System calls that wait for a disk, if they are about a regular file or a directory.
_OF_FILES = frozenset(
    "read write pread pwrite readv writev preadv pwritev preadv2 pwritev2 fsync fdatasync sync_file_range "
    "ftruncate fallocate getdents64 copy_file_range sendfile".split()
)
# These name their file by a path.
_OF_PATHS = frozenset(
    "open openat openat2 stat lstat newfstatat statx access faccessat truncate rename renameat2 mkdir "
    "mkdirat rmdir unlink unlinkat linkat symlinkat sync".split()
)
# Patches that replace nothing which Python sees, each with the modules whose calls wait without them.
_IN_C = {"sqlite3": ("sqlite3",)}
# Packages that are imported under another name than the one they are known by.
_KNOWN_AS = {
    "mysqlclient": "MySQLdb",
    "mysql_connector": "mysql.connector",
    "grpcio": "grpc",
    "pyopenssl": "OpenSSL",
    "pyzmq": "zmq",
}


def remedy(
    stack: list[Raw],
    call: Call | None,
    *,
    computed: bool,
    lock_kept: bool,
    system_call: SystemCall | None,
) -> str:
    """What to do, in a sentence.

    Args:
        stack: the innermost frame first.
        call: the call that the innermost frame is in.
        computed: whether processor time was used, and no waiting done.
        lock_kept: whether the interpreter lock was kept meanwhile.
        system_call: what it sat in.
    """
    found = _of_library(stack, call) or _of_standard_library(call)
    if found is None and not computed:
        found = _in_c(call)
    if found is not None:
        return found
    if system_call is not None and _is_file(system_call):
        what = f" ({system_call.target})" if system_call.target else ""
        return f"regular file{what}: greenify.files"
    if call is None and computed:
        return (
            "it computes: greenify.sleep(0) now and then, greenify.run_in_thread(function) if it gives up "
            "the interpreter lock, else greenify.ProcessPoolExecutor"
        )
    if lock_kept:
        what = f"{call.text}() keeps" if call is not None else "it keeps"
        return f"{what} the interpreter lock, so a native thread does not help: greenify.ProcessPoolExecutor"
    if call is not None and call.name is not None:
        return f"--offload {call.name} (or greenify.offload)"
    text = f"{call.text}()" if call is not None else "it"
    return f"hand {text} to a native thread: greenify.run_in_thread or greenify.offload"


def _is_file(system_call: SystemCall) -> bool:
    if system_call.name in _OF_PATHS:
        return True
    target = system_call.target
    if system_call.name not in _OF_FILES or target is None:
        return False
    return target.startswith("/") and not target.startswith("/dev/")


def _of_library(stack: list[Raw], call: Call | None) -> str | None:
    """If a library is called that greenify knows: why its patch is not in force for this call."""
    for name, modules in LIBRARIES.items():
        if not any(module in sys.modules for module in modules):
            continue
        known = _KNOWN_AS.get(name, name)
        # Of what waits for its C module the calls are made in its Python one: ``ldap`` of ``_ldap``.
        packages = {module.partition(".")[0] for module in (*modules, known)}
        condition = ""
        inside = bool(stack) and _inside(stack[0], packages)
        if not (inside or (call is not None and _belongs(call, modules))):
            if call is None or is_patched(name) or not _may_be(call, modules):
                continue
            condition = f"if {call.text.rpartition('.')[2]}() is of that library: "
        if not is_patched(name):
            return (
                f"{condition}{known} is patched when greenify is loaded first and its patch {name!r} is not "
                "left out"
            )
        if call is not None:
            stays = import_module(f"greenify.libraries.{name}").LIBRARY.stays
            for place, reason in stays.items():
                if place.rpartition(".")[2] == call.text.rpartition(".")[2]:
                    return f"{place}: {reason}"
    return None


def _inside(raw: Raw, packages: set[str]) -> bool:
    module = raw.names.get("__name__")
    return isinstance(module, str) and module.partition(".")[0] in packages


def _belongs(call: Call, modules: tuple[str, ...]) -> bool:
    """Whether the function is known to be the library's: by its name, or because a class there has it.

    Classes of C may name a module that only C knows (``cimpl.Consumer``).
    """
    if call.name is not None:
        package = call.name.partition(":")[0].partition(".")[0]
        return any(module.partition(".")[0] == package for module in modules)
    if call.value is None:
        return False
    method = call.text.rpartition(".")[2]
    return any(
        vars(base).get(method) is call.value for kind in _classes(modules) for base in kind.__mro__
    )


def _classes(modules: tuple[str, ...]) -> Iterator[type]:
    """The classes in those of the modules that have been imported."""
    for module in modules:
        if module in sys.modules:
            for value in tuple(vars(sys.modules[module]).values()):
                if isinstance(value, type):
                    yield value


def _may_be(call: Call, modules: tuple[str, ...]) -> bool:
    """Whether a class of the library has a method of this name, and nothing else is known of the call."""
    # Many a class of a library is a dictionary, too.
    return call.value is None and _has_method(call, modules, but=sys.stdlib_module_names)


def _has_method(call: Call, modules: tuple[str, ...], but: frozenset[str] = frozenset()) -> bool:
    _, dot, method = call.text.rpartition(".")
    return bool(dot) and any(
        method in vars(base) and not _is_of(base, but)
        for kind in _classes(modules)
        for base in kind.__mro__
    )


def _is_of(kind: type, modules: frozenset[str]) -> bool:
    """Whether a class is one of the interpreter's own, or of these modules."""
    module = kind.__module__.partition(".")[0]
    if module == "builtins":
        # Some classes of C say so that are not.
        return vars(builtins).get(kind.__name__) is kind
    return module in modules


def _of_standard_library(call: Call | None) -> str | None:
    """If a function is called that a patch replaces: why it is not the twin."""
    value = None if call is None else call.value
    if value is None:
        return None
    for change in changes():
        if change.kind == "replaced" and change.before is value:
            return f"that is {change.where} from before the patch: load greenify first"
    for name in ORDER:
        if is_patched(name):
            continue
        for patch in import_module(f"greenify.patches.{name}").PATCHES:
            for attribute in patch.replace:
                if vars(patch.target).get(attribute) is value:
                    where = f"{label(patch.target)}.{attribute}"
                    return f"{where} is cooperative with the patch {name!r}, which is left out"
    return None


def _in_c(call: Call | None) -> str | None:
    """If a call waits that a patch makes cooperative beneath it: that the patch is left out."""
    for name, modules in _IN_C.items():
        if call is None or is_patched(name) or not any(module in sys.modules for module in modules):
            continue
        belongs = _belongs(call, modules)
        if belongs or (call.value is None and _has_method(call, modules)):
            condition = (
                "" if belongs else f"if {call.text.rpartition('.')[2]}() is of that module: "
            )
            return f"{condition}{name} is cooperative with the patch {name!r}, which is left out"
    return None
