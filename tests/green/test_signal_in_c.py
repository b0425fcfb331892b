"""Signals while a green thread sits in C code: main gets them, as with threads."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.green.programs import both_modes
from tests.support import Mode, RunningPython, run_python, running_python, wait_until_asleep

# How a thread sits in C, for ever.  Each is interrupted by a signal, has Python look at it, and goes on.
WAITS = {
    "zmq": "import zmq; s = zmq.Context().socket(zmq.PULL); s.bind('inproc://x'); enter(); s.recv()",
    "libc sleep": "enter()\n    while True: libc.sleep(1000)",
    "libc pause": "enter()\n    while True: libc.pause()",
    "native sleep": "enter(); native.sleep(1000)",
    "native lock": "lock = native_thread.allocate_lock(); lock.acquire(); enter(); lock.acquire()",
    "native select": "enter(); native_select.select([], [], [])",
    "raw greenlet": "import greenlet; enter(); greenlet.greenlet(native.sleep).switch(1000)",
}
in_c = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)

PROGRAM = """
import ctypes, os, signal, sys, threading, time
import greenify
libc = ctypes.CDLL(None)
native, native_thread = greenify.original("time"), greenify.original("_thread")
native_select = greenify.original("select")
def enter():
    print("in C", flush=True)
def sit():
    {wait}
thread = threading.Thread(target=sit, daemon=True)
"""


@pytest.mark.smoke
@both_modes
@in_c
def test_interrupt_reaches_main(wait: str, mode: Mode) -> None:
    code = (
        PROGRAM.format(wait=wait)
        + """
ended = threading.Event()
try:
    thread.start()
    ended.wait(60)
except KeyboardInterrupt:
    print("main is interrupted", threading.current_thread() is threading.main_thread(), flush=True)
print(thread.is_alive())
"""
    )
    with running_python(code, greenify=mode) as child:
        assert child.readline() == "in C"
        wait_until_asleep(child.pid)
        child.send_signal(signal.SIGINT)
        assert child.readline() == "main is interrupted True"
        assert child.readline() == "True"
        # zmq's context waits for its sockets, which nobody closes, at the end of a plain Python, too.
        if "zmq" not in wait:
            assert child.wait() == 0
            assert child.stderr == ""


@both_modes
@in_c
def test_handlers_run_in_main_and_the_call_goes_on(wait: str, mode: Mode) -> None:
    code = (
        PROGRAM.format(wait=wait)
        + """
def handler(number, frame):
    print(signal.Signals(number).name, threading.current_thread().name, flush=True)
signal.signal(signal.SIGUSR1, handler)
thread.start()
threading.Event().wait(60)
"""
    )
    with running_python(code, greenify=mode) as child:
        assert child.readline() == "in C"
        for _ in range(3):
            wait_until_asleep(child.pid)
            child.send_signal(signal.SIGUSR1)
            assert child.readline() == "SIGUSR1 MainThread"
        wait_until_asleep(child.pid)
        # Its default is the kernel's, and asks nobody.
        child.send_signal(signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
        assert child.stderr == ""


@both_modes
def test_uncaught_it_ends_the_process(mode: Mode) -> None:
    code = (
        PROGRAM.format(wait=WAITS["native sleep"]) + "thread.start(); threading.Event().wait(60)\n"
    )
    with running_python(code, greenify=mode) as child:
        assert child.readline() == "in C"
        wait_until_asleep(child.pid)
        child.send_signal(signal.SIGINT)
        assert child.wait() == -signal.SIGINT
        assert child.stderr.endswith("\nKeyboardInterrupt\n")


class TestHeadStart:
    """Who sits in C stands back while main deals with the exception of a handler."""

    PROGRAM = """
import ctypes, os, signal, threading, time
import greenify
from greenify.core import signals, slices
start_native = greenify.original("_thread").start_new_thread
sleep_natively = greenify.original("time").sleep
libc = ctypes.CDLL(None)
reader, writer = os.pipe()
buffer = ctypes.create_string_buffer(1)
go, gone, has_read = threading.Event(), threading.Event(), threading.Event()
{settings}
def interrupt():
    # When it has been in C for so long that its slice should have ended.
    hub = signals.holding()
    while hub and not slices.sits_in_c(hub):
        sleep_natively(0.001)
    os.kill(os.getpid(), signal.SIGINT)
def sit():
    start_native(interrupt, ())
    while libc.read(reader, buffer, 1) != 1:
        pass
    has_read.set()
def help():
    go.wait()
    gone.set()
def compute(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
try:
    threading.Thread(target=help, daemon=True).start()
    threading.Thread(target=sit, daemon=True).start()
    for _ in range(600):
        # A signal that comes just before a wait does not end it, with threads.
        threading.Event().wait(0.1)
except KeyboardInterrupt:
    {then}
"""

    def run(self, mode: Mode, then: str, settings: str = "") -> None:
        code = self.PROGRAM.format(then=then, settings=settings)
        ran = run_python(code, greenify=mode, check=True)
        assert ran.stdout == "done\n"
        assert ran.stderr == ""

    @both_modes
    def test_main_computes(self, mode: Mode) -> None:
        self.run(mode, "compute(0.1); print('done', flush=True)")

    @both_modes
    def test_main_computes_for_longer(self, mode: Mode) -> None:
        short = "signals._HEAD_START = 0.001; signals._AGAIN = 10**6"
        self.run(mode, "compute(0.1); print('done', flush=True)", short)

    @both_modes
    def test_main_waits_for_another_thread(self, mode: Mode) -> None:
        endless = "signals._HEAD_START = 1000"
        self.run(mode, "go.set(); gone.wait(); print('done', flush=True)", endless)

    @both_modes
    def test_it_goes_on_by_itself(self, mode: Mode) -> None:
        short = "signals._HEAD_START = 0.001"
        self.run(mode, "os.write(writer, b'x'); has_read.wait(); print('done')", short)

    @both_modes
    def test_it_goes_on_at_once_if_the_handler_returns(self, mode: Mode) -> None:
        endless = """
signals._HEAD_START = 1000
def write(number, frame):
    os.write(writer, b"x")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=lambda: (has_read.wait(), os.kill(os.getpid(), signal.SIGINT))).start()
signal.signal(signal.SIGINT, write)
"""
        self.run(mode, "print('done')", endless)


def test_the_sibling_that_computes() -> None:
    # No time slices: the program has taken their signal.  The handler lets main run all the same.
    code = """
import os, signal, threading, time
signal.signal(signal.SIGVTALRM, signal.SIG_IGN)
def compute():
    os.kill(os.getpid(), signal.SIGINT)
    while True: pass
try:
    threading.Thread(target=compute, daemon=True).start()
    threading.Event().wait(60)
except KeyboardInterrupt:
    print("main is interrupted", flush=True)
"""
    assert run_python(code, check=True).stdout == "main is interrupted\n"


def test_one_that_has_come_at_the_wrong_moment_follows_the_next() -> None:
    # A thread in the middle of greenify's own code does not step aside, and may go from there into C.
    code = """
import os, signal, threading, time
import greenify
from greenify.core import registry as core, slices
native = greenify.original("time")
def sit():
    with slices.held():
        os.kill(os.getpid(), signal.SIGINT)
    print("in C", flush=True)
    native.sleep(1000)
try:
    threading.Thread(target=sit, daemon=True).start()
    threading.Event().wait(60)
except KeyboardInterrupt:
    # Once: two that come before the first is handled are one.
    os.kill(os.getpid(), 0)
    print("main is interrupted", [hub.interrupts for hub in core.hubs], flush=True)
"""
    with running_python(code) as child:
        assert child.readline() == "in C"
        wait_until_asleep(child.pid)
        child.send_signal(signal.SIGINT)
        assert child.readline() == "main is interrupted [deque([])]"
        assert child.wait() == 0, child.stderr
        assert child.stderr == ""


class TestWhatCannotStepAside:
    """A callback of the hub, a finaliser in it: until it ends nobody else runs, main neither."""

    CALLBACK = """
import signal, sys, threading, time
import greenify
from greenify.core import signals
signals.PATIENCE = {patience}
native = greenify.original("time").sleep
def callback():
    while True:
        try:
            print("in C", flush=True)
            native(1000)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            if {ends}:
                break
def handler(number, frame):
    signal.default_int_handler(number, frame)
signal.signal(signal.SIGINT, handler)
greenify.call_soon(callback)
try:
    threading.Event().wait(60)
except KeyboardInterrupt:
    print("main is interrupted", flush=True)
"""

    def test_the_second_interrupts_it(self) -> None:
        with running_python(self.CALLBACK.format(patience=0.0, ends=True)) as child:
            assert child.readline() == "in C"
            for _ in range(2):
                wait_until_asleep(child.pid)
                child.send_signal(signal.SIGINT)
            assert child.readline() == "interrupted"
            # The first one arrives as soon as it can.
            assert child.readline() == "main is interrupted"
            assert child.wait() == 0
        first, *rest = child.stderr.splitlines()
        assert first.startswith("greenify: SIGINT has not reached the main thread for 0.")
        assert "a callback or a finaliser" in first
        # Before CPython 3.13 the lines of -c code are not shown.
        places = [line for line in rest if line.startswith("  File ")]
        assert places[-1].endswith(", in callback")

    def test_not_if_the_two_come_at_once(self) -> None:
        with running_python(self.CALLBACK.format(patience=1000.0, ends=True)) as child:
            assert child.readline() == "in C"
            for _ in range(3):
                wait_until_asleep(child.pid)
                child.send_signal(signal.SIGINT)
            wait_until_asleep(child.pid)
            child.send_signal(signal.SIGTERM)
            assert child.wait() == -signal.SIGTERM
            assert child.stdout == "in C\n"
            assert child.stderr == ""

    def test_a_delivered_one_is_forgotten(self) -> None:
        run_python(
            """
            import os, signal, threading
            from greenify.core import signals
            signals.PATIENCE = 0.0
            got = []
            signal.signal(signal.SIGUSR1, lambda number, frame: got.append(threading.current_thread().name))
            def send():
                for count in range(1, 4):
                    os.kill(os.getpid(), signal.SIGUSR1)
                    while len(got) < count: threading.Event().wait(0.001)
            thread = threading.Thread(target=send); thread.start(); thread.join()
            assert got == ["MainThread"] * 3, got
            assert not signals.undelivered
            """,
            check=True,
        )

    def test_a_child_knows_nothing_of_it(self) -> None:
        run_python(
            """
            import os, signal
            from greenify.core import signals
            signals.undelivered[signal.SIGINT] = 0.0
            pid = os.fork()
            if not pid:
                os._exit(bool(signals.undelivered))
            assert os.waitpid(pid, 0)[1] == 0
            """,
            check=True,
        )


class TestCodeThatNeverLooks:
    """C code that takes its system call up again after a signal: nothing of Python runs in this OS thread."""

    PROGRAM = """
import ctypes, os, signal, sys, threading
from greenify.core import signals
signals.PATIENCE = {patience}
reader, writer = os.pipe()
libc = ctypes.CDLL(None)
buffer = ctypes.create_string_buffer(1)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
    signal.siginterrupt(number, False)
def sit():
    print("in C", writer, flush=True)
    libc.read(reader, buffer, 1)
    print("has returned", flush=True)
try:
    if {in_main}:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        sit()
    threading.Thread(target=sit, daemon=True, name="the culprit").start()
    threading.Event().wait(60)
except KeyboardInterrupt:
    print("main is interrupted", flush=True)
"""

    @staticmethod
    def send(child: RunningPython, *numbers: int) -> None:
        for number in numbers:
            wait_until_asleep(child.pid)
            child.send_signal(number)
        wait_until_asleep(child.pid)

    @staticmethod
    def let_return(child: RunningPython, writer: str) -> None:
        fd = os.open(f"/proc/{child.pid}/fd/{writer}", os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_second_ends_it(self, number: int) -> None:
        with running_python(self.PROGRAM.format(patience=0.0, in_main=False)) as child:
            assert child.readline().startswith("in C")
            self.send(child, number)
            assert child.process.poll() is None
            child.send_signal(number)
            assert child.wait() == -number
            assert child.stdout.count("\n") == 1
        first, *rest = child.stderr.splitlines()
        name = signal.Signals(number).name
        assert first.startswith(f"greenify: {name} has come again, and the first has not reached")
        assert (
            "because the thread 'the culprit' is in C code that does not look at signals" in first
        )
        # Which function it is the code objects know from CPython 3.11 on.
        assert (", read(). The process ends:" in first) == (sys.version_info >= (3, 11))
        places = [line for line in rest if line.startswith("  File ")]
        assert places[-1].endswith(", in sit")

    def test_the_first_arrives_when_it_returns(self) -> None:
        # Two that come at once are one: a shell and a supervisor may both pass one on.
        with running_python(self.PROGRAM.format(patience=1000.0, in_main=False)) as child:
            writer = child.readline().split()[-1]
            self.send(child, *[signal.SIGINT] * 3)
            assert child.stdout.count("\n") == 1
            self.let_return(child, writer)
            assert child.wait() == 0
            # The thread is a daemon, and may not get so far.
            printed = child.stdout.replace("has returned\n", "")
            assert printed == f"in C {writer}\nmain is interrupted\n"
            assert child.stderr == ""

    @both_modes
    def test_the_main_thread_itself(self, mode: Mode) -> None:
        code = self.PROGRAM.format(patience=0.0, in_main=True)
        if not mode:
            code = code.replace("from greenify.core import signals\nsignals.PATIENCE", "PATIENCE")
        with running_python(code, greenify=mode) as child:
            writer = child.readline().split()[-1]
            self.send(child, *[signal.SIGINT] * 3)
            self.let_return(child, writer)
            assert child.wait() == 0
            assert child.stdout == f"in C {writer}\nmain is interrupted\n"
            assert child.stderr == ""

    @both_modes
    @pytest.mark.parametrize("in_main", [False, True], ids=["a thread", "main"])
    def test_that_keeps_the_interpreter_lock(self, in_main: bool, mode: Mode) -> None:
        """A limit, with threads as well: nobody else runs, not even who would end the process."""
        code = self.PROGRAM.format(patience=1000.0, in_main=in_main)
        code = code.replace("ctypes.CDLL(None)", "ctypes.PyDLL(None)")
        assert "PyDLL" in code
        if not mode:
            code = code.replace("from greenify.core import signals\nsignals.PATIENCE", "PATIENCE")
        with running_python(code, greenify=mode) as child:
            writer = child.readline().split()[-1]
            own = mode or in_main  # whether it is the main thread of the operating system
            threads = [int(each) for each in os.listdir(f"/proc/{child.pid}/task")]
            wait_until_asleep(child.pid if own else max(threads))
            for _ in range(3):
                child.send_signal(signal.SIGINT)
                self.wait_until_taken(child.pid, signal.SIGINT)
            assert child.process.poll() is None
            assert child.stdout.count("\n") == 1
            self.let_return(child, writer)
            assert child.wait() == 0
            # The thread is a daemon: it may not get to printing, or print between the others' pieces.
            assert child.stdout.count("main is interrupted") == 1, child.stdout
            assert child.stderr == ""

    @staticmethod
    def wait_until_taken(pid: int, number: int) -> None:
        """Wait until no thread has the signal still before it."""
        while True:
            status = Path(f"/proc/{pid}/status").read_text()
            waiting = int(status.split("\nShdPnd:")[1].split()[0], 16)
            if not waiting & (1 << (number - 1)):
                return
            time.sleep(0.01)

    def test_what_has_been_handled_is_forgotten(self) -> None:
        # Handlers that have run in between count for nothing, however long a call has taken.
        run_python(
            """
            import os, signal, threading
            import greenify
            from greenify.core import registry as core, signals, undelivered
            signals.PATIENCE = 0.0
            signal.signal(signal.SIGINT, lambda number, frame: None)
            hub = core.home_hub()
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(2):
                    undelivered.look(hub)
                assert not signals.lying and not signals.repeated
            """,
            check=True,
        )

    def test_the_users_descriptor_is_told_at_once(self) -> None:
        code = """
import ctypes, os, signal, threading
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.signal(signal.SIGUSR1, lambda number, frame: None)
signal.siginterrupt(signal.SIGUSR1, False)
signal.set_wakeup_fd(writer)
libc = ctypes.CDLL(None)
buffer = ctypes.create_string_buffer(1)
def sit():
    print("in C", flush=True)
    libc.read(reader, buffer, 1)
    print(signal.Signals(buffer.raw[0]).name)
thread = threading.Thread(target=sit)
thread.start()
thread.join()
"""
        with running_python(code) as child:
            assert child.readline() == "in C"
            self.send(child, signal.SIGUSR1)
            assert child.readline() == "SIGUSR1"
            assert child.wait() == 0, child.stderr
