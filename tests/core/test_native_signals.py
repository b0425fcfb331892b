"""Signals that the kernel may give to any thread: greenify's own native threads take none from the program's."""

from __future__ import annotations

import sys

import pytest

from tests.support import Mode, run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the masks")

#: What starts a native thread that a program with real threads does not have.
STARTED_BY = {
    "a name look-up": "socket.getaddrinfo('localhost', 80)",
    "hashing": "hashlib.sha256().update(bytes(10_000_000))",
    "a watchdog": "faulthandler.dump_traceback_later(1000)",
    "the watch": "greenify.watch(100); threading.Thread(target=time.sleep, args=(100,), daemon=True).start()",
    "inspection": "greenify.inspect.listen()",
    "the trace": "trace = greenify.trace('trace.pftrace'); trace.__enter__()",
    "run_in_thread": "greenify.run_in_thread(lambda: None)",
    "offload": "greenify.offload(lambda: None)()",
    "an object's own thread": "own_thread(pool := threading.Event()).call(lambda: None)",
}

# Where faulthandler's own watchdog is set, too.
IN_C = ("a watchdog", "the watch")

CODE = """
import faulthandler, hashlib, os, pathlib, signal, socket, subprocess, sys, threading, time
import greenify, greenify.inspect
from greenify.green._foreign import own_thread

def masks():
    for number in os.listdir('/proc/self/task'):
        if int(number) != os.getpid():
            try:
                text = pathlib.Path(f'/proc/self/task/{number}/status').read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(text.partition('SigBlk:')[2].split()[0], 16)

def blocked(mask, number):
    return bool(mask >> (number - 1) & 1)
"""


@pytest.mark.parametrize("kind", STARTED_BY)
def test_sigwait_gets_what_another_thread_could_take(kind: str, tmp_path: object) -> None:
    """With the default action it would end the process."""
    code = f"""
{STARTED_BY[kind]}
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
# SIGSEGV is faulthandler's business wherever it is.  But its watchdog, a thread of C, blocks that, too, as
# does any thread that has just been made, until it begins.
until = time.monotonic() + 30
while True:
    seen = list(masks())
    assert all(blocked(mask, signal.SIGUSR1) for mask in seen)
    if seen and ({kind in IN_C} or not any(blocked(mask, signal.SIGSEGV) for mask in seen)):
        break
    assert time.monotonic() < until, [hex(mask) for mask in seen]
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigwait({{signal.SIGUSR1}}) == signal.SIGUSR1)
"""
    assert run_python(CODE + code, cwd=str(tmp_path), check=True).stdout == "True\n"


@pytest.mark.parametrize("mode", [True, False], ids=["greenify", "threads"])
def test_the_programs_own_functions_have_the_callers_mask(mode: Mode) -> None:
    """So have the processes that they start, which could not be ended by SIGTERM otherwise."""
    code = """
def mask():
    return sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))

child = [sys.executable, '-c', 'import signal; print(sorted(map(int, signal.pthread_sigmask(0, ()))))']

def ask_child():
    return eval(subprocess.run(child, capture_output=True, check=True).stdout)

owner = threading.Event()
for _ in range(2):
    for ask in mask, ask_child:
        print(greenify.run_in_thread(ask), greenify.offload(ask)(), own_thread(owner).call(ask), ask())
    # And when they have begun otherwise.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
"""
    out = run_python(CODE + code, greenify=mode, check=True).stdout
    assert out.splitlines() == ["[] [] [] []"] * 2 + ["[10] [10] [10] [10]"] * 2
