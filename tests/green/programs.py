"""Programs that use threads and blocking calls, run with real threads and under the patch.

What a program asserts or prints has to be the same both ways: the plain run checks the program itself.
"""

from __future__ import annotations

import difflib
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import Mode, run_python

MODES: list[Mode] = [False, "patch_all"]
both_modes = pytest.mark.parametrize("mode", MODES, ids=["plain", "patched"])

# What most of them share.
PRELUDE = """
    import errno, gc, os, queue, select, socket, struct, sys, threading, time, traceback, warnings

    PATCHED = "greenify" in sys.modules
    LONG = 20.0

    class Thread(threading.Thread):
        '''Joining gives the result of the function, or raises its error.'''

        def __init__(self, function, *args, **kwargs):
            super().__init__(daemon=True)
            self.call = function, args, kwargs
            self.start()

        def run(self):
            function, args, kwargs = self.call
            try:
                self.result = function(*args, **kwargs)
                self.error = None
            except BaseException as exc:
                self.result, self.error = None, exc
            del self.call

        def end(self, timeout=LONG):
            self.join(timeout)
            assert not self.is_alive(), "it has not ended"
            try:
                if self.error is not None:
                    raise self.error
                return self.result
            finally:
                self.error = None

    def taken(lock):
        lock.acquire()
        return lock

    def taken_elsewhere(lock):
        Thread(lock.acquire).end()
        return lock

    def outcome(function, *args, **kwargs):
        '''What a call gives: its result, or its error in words.'''
        try:
            return function(*args, **kwargs)
        except Exception as exc:
            return f"{type(exc).__name__}: {exc}"

    def settle():
        '''Let the other threads come to where they wait.'''
        for _ in range(10):
            time.sleep(0 if PATCHED else 0.001)

    def tcp_pair():
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            connection, _ = server.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client, connection

    def pairs():
        yield "tcp", tcp_pair()
        yield "unix", socket.socketpair()
"""


def run(code: str, mode: Mode, *args: object, timeout: float = 60) -> str:
    """Run a program, which has to succeed and to print nothing on standard error; returns its output."""
    with TemporaryDirectory() as folder:
        # From a file, so that tracebacks show its lines.
        script = Path(folder, "program.py")
        script.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(code))
        try:
            result = run_python(script, *args, greenify=mode, timeout=timeout)
        except AssertionError as exc:
            pytest.fail(str(exc), pytrace=False)
    if result.returncode or result.stderr:
        told = f"exit code {result.returncode}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"
        pytest.fail(told, pytrace=False)
    return result.stdout


def same_output(code: str, *args: object, timeout: float = 60) -> str:
    """Run a program both ways; what it prints has to be the same."""
    plain, patched = (run(code, mode, *args, timeout=timeout) for mode in MODES)
    assert plain
    difference = "\n".join(
        line
        for line in difflib.unified_diff(
            plain.splitlines(), patched.splitlines(), "plain", "patched", n=0, lineterm=""
        )
        if not line.startswith("@@")
    )
    if difference:
        pytest.fail(difference, pytrace=False)
    return patched
