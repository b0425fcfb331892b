"""The private names of CPython that greenify relies on, each with the versions that have it: one table.

A new version of CPython that drops one fails here by name; so does one that has again what was gone.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import greenify
from tests.support import run_python

Versions = tuple[tuple[int, int], tuple[int, int]]

ALWAYS: Versions = ((3, 10), (99, 0))


def since(minor: int) -> Versions:
    return (3, minor), (99, 0)


def until(minor: int) -> Versions:
    return (3, 10), (3, minor)


# Where it is, and the first and the last version that has it.
TABLE: dict[str, Versions] = {
    "_asyncio._swap_current_task": since(12),
    "_ctypes._SimpleCData": ALWAYS,
    "_multiprocessing.SemLock._after_fork": ALWAYS,
    "_multiprocessing.SemLock._count": ALWAYS,
    "_multiprocessing.SemLock._is_mine": ALWAYS,
    "_socket.socket._accept": ALWAYS,
    "_thread._count": ALWAYS,
    "_thread._get_name": since(14),
    "_thread._local": ALWAYS,
    "_thread._make_thread_handle": since(13),
    "_thread._NAME_MAXLEN": since(14),
    "_thread._set_sentinel": until(12),
    "_thread._shutdown": since(13),
    "_thread._ThreadHandle": since(13),
    "asyncio.events._c__get_running_loop": ALWAYS,
    "asyncio.events._c__set_running_loop": ALWAYS,
    "asyncio.events._get_running_loop": ALWAYS,
    "asyncio.events._set_running_loop": ALWAYS,
    "asyncio.selector_events.BaseSelectorEventLoop._write_to_self": ALWAYS,
    "hmac._hashopenssl": ALWAYS,
    "os._exit": ALWAYS,
    "os._wrap_close": ALWAYS,
    "runpy._run_module_as_main": ALWAYS,
    "selectors._PollLikeSelector": ALWAYS,
    "signal.Signals._value2member_map_": ALWAYS,
    "socket._GiveupOnSendfile": ALWAYS,
    "socket.socket._check_sendfile_params": ALWAYS,
    "ssl.SSLSocket._check_connected": ALWAYS,
    "ssl.SSLSocket._checkClosed": ALWAYS,
    "subprocess.Popen._check_timeout": ALWAYS,
    "subprocess.Popen._execute_child": ALWAYS,
    "subprocess.Popen._handle_exitstatus": ALWAYS,
    "subprocess.Popen._save_input": ALWAYS,
    "subprocess.Popen._translate_newlines": ALWAYS,
    "subprocess.Popen._try_wait": ALWAYS,
    "subprocess.Popen._wait": ALWAYS,
    "subprocess.Popen._wait_pidfd": since(15),
    "sys._current_frames": ALWAYS,
    "sys._getframe": ALWAYS,
    "sys._setprofileallthreads": since(12),
    "sys._settraceallthreads": since(12),
    "threading._active": ALWAYS,
    "threading._active_limbo_lock": ALWAYS,
    "threading._CRLock": ALWAYS,
    "threading._dangling": ALWAYS,
    "threading._DummyThread": ALWAYS,
    "threading._main_thread": ALWAYS,
    "threading._maintain_shutdown_locks": until(12),
    "threading._profile_hook": ALWAYS,
    "threading._register_atexit": ALWAYS,
    "threading._RLock": ALWAYS,
    "threading._set_name": since(14),
    "threading._shutdown": ALWAYS,
    "threading._shutdown_locks": until(12),
    "threading._shutdown_locks_lock": until(12),
    "threading._start_joinable_thread": since(13),
    "threading._start_new_thread": until(12),
    "threading._trace_hook": ALWAYS,
    "tkinter._get_default_root": ALWAYS,
    "tkinter._tkinter": ALWAYS,
    "zlib._ZlibDecompressor": since(12),
}

# The attributes that only objects have, by what makes one.
OF_OBJECTS: dict[str, dict[str, Versions]] = {
    "ctypes": {"_CFuncPtr": ALWAYS, "_FUNCFLAG_USE_ERRNO": ALWAYS},
    "ctypes.CDLL(None)": {"_FuncPtr": ALWAYS},
    "ctypes.CFUNCTYPE(None)": {"_flags_": ALWAYS},
    "asyncio.Task.__new__(asyncio.Task)": {"_fut_waiter": ALWAYS},
    "concurrent.futures.Future()": {
        "_condition": ALWAYS,
        "_done_callbacks": ALWAYS,
        "_state": ALWAYS,
        "_waiters": ALWAYS,
    },
    "enum.IntEnum": {"_convert_": ALWAYS},
    "selectors.EpollSelector()": {
        "_EVENT_READ": ALWAYS,
        "_EVENT_WRITE": ALWAYS,
        "_fd_to_key": ALWAYS,
        "_selector": ALWAYS,
    },
    "queue.Queue()": {"_get": ALWAYS, "_put": ALWAYS, "_qsize": ALWAYS},
    "socket.socket()": {"_closed": ALWAYS, "_io_refs": ALWAYS, "_real_close": ALWAYS},
    "subprocess.Popen(['true'], stdin=subprocess.DEVNULL)": {
        "_communication_started": ALWAYS,
        "_input": ALWAYS,
        "_waitpid_lock": ALWAYS,
    },
    "threading.Barrier(1)": {"_break": ALWAYS, "_state": ALWAYS, "_wait": ALWAYS},
    "threading.Condition(threading.RLock())": {
        "_acquire_restore": ALWAYS,
        "_is_owned": ALWAYS,
        "_lock": ALWAYS,
        "_release_save": ALWAYS,
        "_waiters": ALWAYS,
    },
    "threading.Event()": {"_cond": ALWAYS, "_flag": ALWAYS},
    "threading.Thread()": {
        "_bootstrap": ALWAYS,
        "_handle": ((3, 13), (3, 13)),
        "_os_thread_handle": since(14),
        "_started": ALWAYS,
        "_tstate_lock": until(12),
    },
}

# Those of others than CPython that the source names.
OF_OTHERS = {
    "_cmysql": "mysql.connector.connection_cext",
    "_handle_disable_event": "line_profiler",
    "_manager": "line_profiler",
    "_managers": "line_profiler.LineProfiler",
    "_greenify_home": "a queue's, put there by greenify",
    "_ip_in_allow_list": "gunicorn.http.message, where it has one",
    "_text_to_bytes_and_warn": "OpenSSL.SSL",
    "_w": "the path of a widget of tkinter, which cannot be made without a display",
}

PROGRAM = """
import importlib, json, pkgutil, sys

def exists(name):
    try:
        importlib.import_module(name.partition(".")[0])
    except ImportError:
        return None  # this Python was built without
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return False
    return True

print(json.dumps({name: exists(name) for name in json.loads(sys.stdin.read())}))
"""

# What some builds of Python leave out.
OPTIONAL = {"tkinter"}


def test_each_version_has_what_the_table_says() -> None:
    done = run_python(PROGRAM, greenify=False, check=True, input=json.dumps(list(TABLE)))
    found: dict[str, bool | None] = json.loads(done.stdout)
    without = {name for name, there in found.items() if there is None}
    assert {name.partition(".")[0] for name in without} <= OPTIONAL
    expected = {
        name: first <= sys.version_info[:2] <= last
        for name, (first, last) in TABLE.items()
        if name not in without
    }
    assert {name: found[name] for name in expected} == expected


OBJECTS_PROGRAM = """
import asyncio, concurrent.futures, ctypes, enum, json, queue, selectors, socket, subprocess, sys, threading

found = {}
for maker, names in json.loads(sys.stdin.read()).items():
    made = eval(maker)
    found[maker] = [name for name in names if hasattr(made, name)]
    if isinstance(made, subprocess.Popen):
        made.wait()
    elif isinstance(made, (socket.socket, selectors.BaseSelector)):
        made.close()
print(json.dumps(found))
"""


def test_objects_have_what_the_table_says() -> None:
    wanted = {maker: list(names) for maker, names in OF_OBJECTS.items()}
    done = run_python(OBJECTS_PROGRAM, greenify=False, check=True, input=json.dumps(wanted))
    assert json.loads(done.stdout) == {
        maker: [
            name for name, (first, last) in names.items() if first <= sys.version_info[:2] <= last
        ]
        for maker, names in OF_OBJECTS.items()
    }


class _Reader:
    """Finds the private names of the standard library that a file of ours names, as far as it says where.

    A method of an instance is not among them: nothing in the file tells whose it is.
    """

    def __init__(self, source: str) -> None:
        self._nodes = list(ast.walk(ast.parse(source)))
        self._meant: dict[str, str] = {}  # names of the file, by what they mean in full
        self.found: set[str] = set()
        for node in self._nodes:
            self._import(node)
        for node in self._nodes:
            self._alias(node)
        for node in self._nodes:
            self._look(node)

    def _import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for each in node.names:
                name = each.name if each.asname else each.name.partition(".")[0]
                if name.partition(".")[0] in sys.stdlib_module_names:
                    self._meant[each.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module.partition(".")[0] in sys.stdlib_module_names:
                for each in node.names:
                    self._meant[each.asname or each.name] = f"{node.module}.{each.name}"
                    self._add(node.module, each.name)

    def _alias(self, node: ast.AST) -> None:
        # ``_native: Any = select``
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            full = self._full(node.value)
            if full is not None:
                self._meant.setdefault(node.target.id, full)

    def _look(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            self._add(self._full(node.value), node.attr)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "hasattr")
            and isinstance(node.args[1], ast.Constant)
        ):
            self._add(self._full(node.args[0]), str(node.args[1].value))

    def _full(self, node: ast.expr) -> str | None:
        """What an expression like ``a.b.c`` means, if it begins in the standard library."""
        if isinstance(node, ast.Name):
            return self._meant.get(node.id)
        if isinstance(node, ast.Attribute):
            inner = self._full(node.value)
            return None if inner is None else f"{inner}.{node.attr}"
        return None

    def _add(self, holder: str | None, name: str) -> None:
        if holder is not None and name.startswith("_") and not name.startswith("__"):
            self.found.add(f"{holder}.{name}")


def test_the_reader() -> None:
    source = """
import _thread, os as system
from threading import _active as active
_any: Any = _thread
_any._local, system._exit.__doc__, self._mine, getattr(_thread, "_count", 0), system.path.join
"""
    assert _Reader(source).found == {
        "_thread._local",
        "os._exit",
        "threading._active",
        "_thread._count",
    }


def test_the_table_has_all_that_the_source_names() -> None:
    package = Path(greenify.__file__).parent
    found: set[str] = set()
    for path in package.rglob("*.py"):
        if "_vendor" not in path.parts:
            found |= _Reader(path.read_text(encoding="utf-8")).found
    assert len(found) > 30
    assert found - TABLE.keys() == set()


class _Attributes(ast.NodeVisitor):
    """Which private names a source gives to anything, and which it asks anything for."""

    def __init__(self) -> None:
        self.given: set[str] = set()
        self.asked: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.given.add(node.name)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.given.add(node.name)
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        # What it is that is imported, `_Reader` knows.
        self.given.add(node.asname or node.name)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.given.add(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(each, ast.Name) and each.id == "__slots__" for each in node.targets):
            constants = [each for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
            self.given |= {str(each.value) for each in constants}
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        mine = isinstance(node.value, ast.Name) and node.value.id == "self"
        (self.given if mine and isinstance(node.ctx, ast.Store) else self.asked).add(node.attr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr", "setattr"):
            asked = node.args[1]
            if isinstance(asked, ast.Constant):
                self.asked.add(str(asked.value))
        self.generic_visit(node)


def test_the_tables_have_every_attribute_that_is_not_our_own() -> None:
    found = _Attributes()
    for path in Path(greenify.__file__).parent.rglob("*.py"):
        if "_vendor" not in path.parts:
            found.visit(ast.parse(path.read_text(encoding="utf-8")))
    foreign = {name for name in found.asked - found.given if name[0] == "_" and name[:2] != "__"}
    known = {name.rpartition(".")[2] for name in TABLE}.union(*OF_OBJECTS.values(), OF_OTHERS)
    assert "_fd_to_key" in foreign
    assert foreign - known == set()
