"""The private names of CPython that greenify relies on, each with the versions that have it: one table.

A new version of CPython that drops one fails here by name; so does one that has again what was gone.
"""

from __future__ import annotations

import json
import sys

from tests.support import run_python

Versions = tuple[tuple[int, int], tuple[int, int]]

ALWAYS: Versions = ((3, 10), (99, 0))


def since(minor: int) -> Versions:
    return (3, minor), (99, 0)


def until(minor: int) -> Versions:
    return (3, 10), (3, minor)


# Where it is, and the first and the last version that has it.
TABLE: dict[str, Versions] = {
    "_thread._count": ALWAYS,
    "_thread._get_name": since(14),
    "_thread._local": ALWAYS,
    "_thread._make_thread_handle": since(13),
    "_thread._set_sentinel": until(12),
    "_thread._shutdown": since(13),
    "_thread._ThreadHandle": since(13),
    "asyncio.events._c__get_running_loop": ALWAYS,
    "asyncio.events._c__set_running_loop": ALWAYS,
    "asyncio.events._get_running_loop": ALWAYS,
    "asyncio.events._set_running_loop": ALWAYS,
    "asyncio.selector_events.BaseSelectorEventLoop._write_to_self": ALWAYS,
    "_asyncio._swap_current_task": since(12),
    "os._exit": ALWAYS,
    "os._wrap_close": ALWAYS,
    "socket._GiveupOnSendfile": ALWAYS,
    "socket.socket._check_sendfile_params": ALWAYS,
    "ssl.SSLSocket._checkClosed": ALWAYS,
    "ssl.SSLSocket._check_connected": ALWAYS,
    "subprocess.Popen._check_timeout": ALWAYS,
    "subprocess.Popen._execute_child": ALWAYS,
    "subprocess.Popen._handle_exitstatus": ALWAYS,
    "subprocess.Popen._save_input": ALWAYS,
    "subprocess.Popen._translate_newlines": ALWAYS,
    "subprocess.Popen._try_wait": ALWAYS,
    "subprocess.Popen._wait": ALWAYS,
    "sys._current_frames": ALWAYS,
    "sys._getframe": ALWAYS,
    "threading._CRLock": ALWAYS,
    "threading._DummyThread": ALWAYS,
    "threading._active": ALWAYS,
    "threading._active_limbo_lock": ALWAYS,
    "threading._dangling": ALWAYS,
    "threading._main_thread": ALWAYS,
    "threading._profile_hook": ALWAYS,
    "threading._register_atexit": ALWAYS,
    "threading._shutdown": ALWAYS,
    "threading._start_joinable_thread": since(13),
    "threading._start_new_thread": until(12),
    "threading._trace_hook": ALWAYS,
}

PROGRAM = """
import json, pkgutil, sys

def exists(name):
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return False
    return True

print(json.dumps({name: exists(name) for name in json.loads(sys.stdin.read())}))
"""


def test_each_version_has_what_the_table_says() -> None:
    done = run_python(PROGRAM, greenify=False, check=True, input=json.dumps(list(TABLE)))
    expected = {
        name: first <= sys.version_info[:2] <= last for name, (first, last) in TABLE.items()
    }
    assert json.loads(done.stdout) == expected
