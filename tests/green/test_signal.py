"""`signal` under greenify.  Each scenario is checked with real threads first."""

from __future__ import annotations

import signal
import statistics
import time
from textwrap import dedent

import pytest

from tests.green.test_os import BOTH, PRELUDE, check
from tests.support import run_python, running_python, switches, wait_until_asleep

# How the main thread of a child waits for ever, in the program's own terms.
WAITS = {
    "sleep": "time.sleep(1000)",
    "join": "hanging_thread().join()",
    "join with a time-out": "hanging_thread().join(1000)",
    "lock": "held_lock().acquire()",
    "condition": "wait_for_notice()",
    "event": "threading.Event().wait()",
    "queue": "queue.Queue().get()",
    "simple queue": "queue.SimpleQueue().get()",
    "recv": "connected[0].recv(1)",
    "accept": "socket.create_server(('127.0.0.1', 0)).accept()",
    "select": "select.select([os.pipe()[0]], [], [])",
    "poll": "poll_a_pipe()",
    "os.read": "os.read(os.pipe()[0], 1)",
    "os.write": "os.write(full_pipe(), b'x')",
    "os.waitpid": "os.waitpid(idle, 0)",
    "os.wait": "os.wait()",
    "Popen.wait": "subprocess.Popen(['sleep', '1000'], stdout=-3, stderr=-3).wait()",
    "communicate": "talk()",
    "readline": "os.fdopen(os.pipe()[0]).readline()",
    "sigwaitinfo": "signal.sigwaitinfo([signal.SIGUSR2])",
}
SETTING = (
    PRELUDE
    + """
import queue, select, subprocess, warnings
warnings.simplefilter("ignore")

def say(what):
    # Not by print: a handler may come before its lock is free again.
    os.write(1, f"{what}\\n".encode())

def hanging_thread():
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread

def held_lock():
    lock = threading.Lock()
    lock.acquire()
    return lock

def wait_for_notice():
    with (condition := threading.Condition()):
        condition.wait()

def poll_a_pipe():
    poll = select.poll()
    poll.register(os.pipe()[0], select.POLLIN)
    poll.poll()

def full_pipe():
    _, w = os.pipe()
    os.set_blocking(w, False)
    os.write(w, bytes(1 << 20))
    os.set_blocking(w, True)
    return w

def talk():
    subprocess.Popen(["sleep", "1000"], stdout=-1, stderr=-1).communicate()

connected = socket.socketpair()
idle = child(signal.pause)

# The other threads of the program are idle, too.
for _ in range(3):
    hanging_thread()
"""
)


class TestHandlers:
    @BOTH
    @pytest.mark.parametrize("wait", WAITS)
    def test_run_at_once_in_the_main_thread(self, wait: str, mode: bool | str) -> None:
        code = f"""{SETTING}
def handler(number, frame):
    assert threading.current_thread() is threading.main_thread()
    say(time.monotonic())
signal.signal(signal.SIGUSR1, handler)
try:
    say("ready")
    {WAITS[wait]}
except KeyboardInterrupt:
    say("interrupted")
time.sleep(0.001)
assert Call(lambda: 3).result() == 3
os.kill(idle, signal.SIGKILL)
os._exit(7)
"""
        with running_python(code, greenify=mode) as process:  # type: ignore[arg-type]
            assert process.readline() == "ready"
            delays = []
            for _ in range(7):
                wait_until_asleep(process.pid)
                sent = time.monotonic()
                process.send_signal(signal.SIGUSR1)
                delays.append(float(process.readline()) - sent)
            wait_until_asleep(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.readline() == "interrupted"
            assert process.wait() == 7
        # One that is late is the machine's: a tick, or a handler that starves, would delay them all.
        assert statistics.median(delays) < 0.05, delays

    @BOTH
    def test_while_another_thread_runs(self, mode: bool | str) -> None:
        check(
            """
            seen = []
            def handler(number, frame):
                seen.append(threading.current_thread())
                arrived.set()
            arrived = threading.Event()
            signal.signal(signal.SIGUSR1, handler)
            def send():
                os.kill(os.getpid(), signal.SIGUSR1)
                arrived.wait(30)
                return list(seen)
            assert Call(send).result() == [threading.main_thread()]
            """,
            mode,
        )

    @BOTH
    def test_handler_that_waits(self, mode: bool | str) -> None:
        check(
            """
            log = []
            step = threading.Event()
            def handler(number, frame):
                log.append("handler")
                assert step.wait(30)
                log.append("end of handler")
            signal.signal(signal.SIGUSR1, handler)
            def other():
                os.kill(os.getpid(), signal.SIGUSR1)
                while "handler" not in log:
                    time.sleep(0.001)
                log.append("thread")
                step.set()
            thread = Call(other)
            thread.result()
            while "end of handler" not in log:
                time.sleep(0.001)
            assert log == ["handler", "thread", "end of handler"]
            """,
            mode,
        )

    @BOTH
    def test_handler_that_starts_a_thread(self, mode: bool | str) -> None:
        check(
            """
            done = threading.Event()
            signal.signal(signal.SIGALRM, lambda *args: Call(done.set))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            assert done.wait(30)
            """,
            mode,
        )

    @BOTH
    def test_timer(self, mode: bool | str) -> None:
        check(
            """
            ticks = []
            signal.signal(signal.SIGALRM, lambda *args: ticks.append(1))
            signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
            while len(ticks) < 10:
                signal.pause()
            signal.setitimer(signal.ITIMER_REAL, 0)
            class Late(Exception):
                pass
            def raise_late(*args):
                raise Late
            signal.signal(signal.SIGALRM, raise_late)
            signal.alarm(1)
            try:
                os.read(os.pipe()[0], 1)
            except Late:
                pass
            """,
            mode,
        )

    @BOTH
    def test_interrupt_main(self, mode: bool | str) -> None:
        check(
            """
            import _thread
            go = threading.Event()
            Call(lambda: (go.wait(), _thread.interrupt_main()))
            try:
                go.set()
                while True:
                    time.sleep(0.001)  # no system call is interrupted, natively
            except KeyboardInterrupt:
                pass
            """,
            mode,
        )

    @BOTH
    def test_end_of_a_server(self, mode: bool | str) -> None:
        # Nothing but the signal can end this wait.
        code = f"""{PRELUDE}
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *args: stop.set())
print("ready", flush=True)
stop.wait()
print("stopped", flush=True)
"""
        with running_python(code, greenify=mode) as process:  # type: ignore[arg-type]
            assert process.readline() == "ready"
            process.send_signal(signal.SIGTERM)
            assert process.readline() == "stopped"
            assert process.wait() == 0

    @BOTH
    def test_uncaught_interrupt(self, mode: bool | str) -> None:
        # A signal that comes just before the native call sleeps does not end that one.
        wait = "time.sleep(1000)" if mode else "while True: time.sleep(0.01)"
        code = f"{PRELUDE}\nprint('ready', flush=True)\n{wait}"
        with running_python(code, greenify=mode) as process:  # type: ignore[arg-type]
            assert process.readline() == "ready"
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
            assert process.stderr.endswith("KeyboardInterrupt\n")


class TestInstalling:
    @BOTH
    def test_what_was_given_comes_back(self, mode: bool | str) -> None:
        check(
            """
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert isinstance(signal.getsignal(signal.SIGTERM), signal.Handlers)
            class Handler:
                def __call__(self, number, frame):
                    pass
            one, two = Handler(), Handler()
            assert signal.signal(signal.SIGTERM, one) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGTERM) is one
            assert signal.signal(int(signal.SIGTERM), two) is one
            assert signal.signal(signal.SIGTERM, signal.SIG_IGN) is two
            assert signal.signal(signal.SIGTERM, signal.SIG_DFL) is signal.SIG_IGN
            assert signal.signal(signal.SIGINT, signal.SIG_DFL) is signal.default_int_handler
            for call in (
                lambda: signal.signal(signal.SIGTERM, None),
                lambda: signal.signal(signal.SIGTERM, "x"),
                lambda: signal.signal("x", one),
            ):
                try:
                    call()
                except TypeError:
                    pass
                else:
                    raise AssertionError("accepted")
            for call in (
                lambda: signal.signal(4242, one),
                lambda: signal.getsignal(4242),
            ):
                try:
                    call()
                except ValueError:
                    pass
                else:
                    raise AssertionError("accepted")
            """,
            mode,
        )

    @BOTH
    def test_only_in_the_main_thread(self, mode: bool | str) -> None:
        output = check(
            """
            def attempt(function, *args):
                try:
                    function(*args)
                except ValueError as exc:
                    print(exc)
            Call(attempt, signal.signal, signal.SIGTERM, signal.SIG_IGN).result()
            Call(attempt, signal.set_wakeup_fd, -1).result()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.set_wakeup_fd(-1)
            """,
            mode,
        )
        assert output == (
            "signal only works in main thread of the main interpreter\n"
            "set_wakeup_fd only works in main thread of the main interpreter\n"
        )

    def test_restored(self) -> None:
        check(
            """
            import _signal, greenify
            def before(*args):
                pass
            def meanwhile(*args):
                pass
            signal.signal(signal.SIGTERM, before)
            greenify.patch_all()
            assert signal.getsignal(signal.SIGTERM) is before
            assert signal.signal(signal.SIGUSR2, meanwhile) is not meanwhile
            time.sleep(0.001)
            greenify.restore()
            assert _signal.getsignal(signal.SIGTERM) is before
            assert _signal.getsignal(signal.SIGUSR2) is meanwhile
            assert _signal.getsignal(signal.SIGINT) is signal.default_int_handler
            """,
            False,
        )


class TestWakeupDescriptor:
    @BOTH
    @pytest.mark.parametrize("hub", ["there is a hub", "there is no hub yet"])
    def test_gets_every_number(self, hub: str, mode: bool | str) -> None:
        check(
            f"""
            if {hub!r} == "there is a hub":
                time.sleep(0.001)
            r, w = os.pipe()
            os.set_blocking(r, False)
            os.set_blocking(w, False)
            assert signal.set_wakeup_fd(w) == -1
            handled = []
            for number in (signal.SIGUSR1, signal.SIGALRM):
                signal.signal(number, lambda number, frame: handled.append(number))
            # At once, and not only when somebody waits.
            signal.raise_signal(signal.SIGUSR1)
            assert handled == [signal.SIGUSR1]
            assert os.read(r, 10) == bytes([signal.SIGUSR1])
            os.set_blocking(r, True)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            assert os.read(r, 10) == bytes([signal.SIGALRM])
            while len(handled) < 2:
                time.sleep(0.001)
            r2, w2 = os.pipe()
            os.set_blocking(w2, False)
            assert signal.set_wakeup_fd(w2, warn_on_full_buffer=False) == w
            signal.raise_signal(signal.SIGUSR1)
            assert os.read(r2, 10) == bytes([signal.SIGUSR1])
            assert signal.set_wakeup_fd(-1) == w2
            assert signal.set_wakeup_fd(-1) == -1
            signal.raise_signal(signal.SIGUSR1)
            for fd in (r, r2):
                os.set_blocking(fd, False)
                try:
                    os.read(fd, 1)
                except BlockingIOError:
                    pass
                else:
                    raise AssertionError("a number for somebody else")
            # Handlers still run while everything waits.
            arrived = threading.Event()
            signal.signal(signal.SIGALRM, lambda *args: arrived.set())
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            assert arrived.wait(30)
            """,
            mode,
        )

    @BOTH
    def test_bad_descriptors(self, mode: bool | str) -> None:
        check(
            """
            for _ in range(2):
                r, w = os.pipe()
                try:
                    signal.set_wakeup_fd(w)
                except ValueError as exc:
                    assert str(exc) == f"the fd {w} must be in non-blocking mode"
                else:
                    raise AssertionError("accepted")
                try:
                    signal.set_wakeup_fd(1000)
                except (OSError, ValueError):
                    pass
                else:
                    raise AssertionError("accepted")
                assert signal.set_wakeup_fd(-1) == -1
                time.sleep(0.001)
            """,
            mode,
        )

    @BOTH
    @pytest.mark.parametrize("warn", [True, False])
    def test_full_pipe(self, warn: bool, mode: bool | str) -> None:
        output = check(
            f"""
            import io
            time.sleep(0.001)
            r, w = os.pipe()
            os.set_blocking(w, False)
            try:
                while True:
                    os.write(w, bytes(65536))
            except BlockingIOError:
                pass
            signal.signal(signal.SIGUSR1, lambda *args: None)
            signal.set_wakeup_fd(w, warn_on_full_buffer={warn})
            sys.stderr = io.StringIO()
            signal.raise_signal(signal.SIGUSR1)
            time.sleep(0.001)
            said, sys.stderr = sys.stderr.getvalue(), sys.__stderr__
            signal.set_wakeup_fd(-1)
            print("wakeup fd" in said, "BlockingIOError" in said)
            """,
            mode,
        )
        assert output == f"{warn} {warn}\n"

    @BOTH
    def test_in_the_child_of_a_fork(self, mode: bool | str) -> None:
        # The hub's pair is closed there: its number may belong to a file of the program by now.
        check(
            """
            import tempfile
            time.sleep(0.001)
            r, w = os.pipe()
            os.set_blocking(w, False)
            signal.set_wakeup_fd(w)
            signal.signal(signal.SIGUSR1, lambda *args: None)
            def code():
                files = [tempfile.TemporaryFile() for _ in range(20)]
                signal.raise_signal(signal.SIGUSR1)
                sizes = {os.fstat(file.fileno()).st_size for file in files}
                for file in files:
                    file.close()
                return sizes != {0} or os.read(r, 10) != bytes([signal.SIGUSR1])
            assert os.waitpid(child(code), 0)[1] == 0
            assert os.waitpid(child(lambda: signal.set_wakeup_fd(-1) != w), 0)[1] == 0
            assert signal.set_wakeup_fd(-1) == w
            assert os.waitpid(child(lambda: signal.set_wakeup_fd(-1) != -1), 0)[1] == 0
            """,
            mode,
        )

    @BOTH
    def test_asyncio(self, mode: bool | str) -> None:
        check(
            """
            import asyncio
            async def main():
                loop = asyncio.get_running_loop()
                arrived = asyncio.Event()
                loop.add_signal_handler(signal.SIGUSR1, arrived.set)
                os.kill(os.getpid(), signal.SIGUSR1)
                await asyncio.wait_for(arrived.wait(), 30)
                arrived.clear()
                Call(os.kill, os.getpid(), signal.SIGUSR1)
                await asyncio.wait_for(arrived.wait(), 30)
                assert loop.remove_signal_handler(signal.SIGUSR1)
            asyncio.run(main())
            assert signal.set_wakeup_fd(-1) == -1
            """,
            mode,
        )


class TestWaiting:
    @BOTH
    @pytest.mark.parametrize(
        "wait",
        [
            "signal.sigwait([signal.SIGUSR1])",
            "signal.sigwaitinfo({signal.SIGUSR1}).si_signo",
            "signal.sigtimedwait(iter([signal.SIGUSR1]), 30).si_signo",
        ],
    )
    @pytest.mark.parametrize(
        "send",
        [
            "os.kill(os.getpid(), signal.SIGUSR1)",
            "signal.pthread_kill(waiter.ident, signal.SIGUSR1)",
            "signal.setitimer(signal.ITIMER_REAL, 0.01)",
        ],
    )
    def test_siblings_run_meanwhile(self, send: str, wait: str, mode: bool | str) -> None:
        if "itimer" in send:
            wait = wait.replace("SIGUSR1", "SIGALRM")
        number = signal.SIGALRM if "itimer" in send else signal.SIGUSR1
        check(
            f"""
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGALRM])
            waiter = Call(lambda: {wait})
            answer = Call(time.monotonic).result()
            {send}
            assert waiter.result() == {int(number)}
            assert signal.sigpending() == set()
            """,
            mode,
        )

    @BOTH
    def test_details(self, mode: bool | str) -> None:
        check(
            """
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
            assert signal.sigtimedwait([signal.SIGUSR1], 0) is None
            began = time.monotonic()
            assert signal.sigtimedwait([signal.SIGUSR1], 0.02) is None
            assert time.monotonic() - began >= 0.02
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR1)
            info = signal.sigwaitinfo([signal.SIGUSR1])
            assert info.si_pid == os.getpid() and info.si_uid == os.getuid()
            assert signal.sigpending() == {signal.SIGUSR2}
            found = signal.sigwait([signal.SIGUSR1, signal.SIGUSR2])
            assert found is signal.SIGUSR2
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            assert before == {signal.SIGUSR1, signal.SIGUSR2}
            for call in (
                lambda: signal.sigtimedwait([signal.SIGUSR1], -1),
                lambda: signal.sigwait([4242]),
            ):
                try:
                    call()
                except ValueError:
                    pass
                else:
                    raise AssertionError("accepted")
            for call in (lambda: signal.sigwait(), lambda: signal.sigtimedwait([signal.SIGUSR1], "x")):
                try:
                    call()
                except TypeError:
                    pass
                else:
                    raise AssertionError("accepted")
            """,
            mode,
        )

    @BOTH
    def test_handlers_of_other_signals_run(self, mode: bool | str) -> None:
        check(
            """
            ticks = []
            def tick(*args):
                ticks.append(1)
                if len(ticks) == 3:
                    os.kill(os.getpid(), signal.SIGUSR1)
            signal.signal(signal.SIGALRM, tick)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
            assert signal.sigwaitinfo([signal.SIGUSR1]).si_signo == signal.SIGUSR1
            assert len(ticks) >= 3
            signal.setitimer(signal.ITIMER_REAL, 0)
            """,
            mode,
        )

    def test_signal_that_is_not_blocked(self) -> None:
        # It is taken, not handled, as by a thread of its own that has blocked it.
        check(
            """
            signal.signal(signal.SIGUSR1, lambda *args: print("handled", flush=True))
            waiter = Call(signal.sigwait, [signal.SIGUSR1])
            time.sleep(0)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert waiter.result() == signal.SIGUSR1
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
            """,
            "patch_all",
        )

    def test_without_ctypes(self) -> None:
        check(
            """
            sys.modules["ctypes"] = None
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            waiter = Call(signal.sigwait, [signal.SIGUSR1])
            time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert waiter.result() == signal.SIGUSR1
            assert signal.sigtimedwait([signal.SIGUSR1], 0.01) is None
            """,
            "patch_all",
        )

    @BOTH
    def test_pause(self, mode: bool | str) -> None:
        check(
            """
            handled = []
            signal.signal(signal.SIGUSR1, lambda *args: handled.append("old"))
            signal.signal(signal.SIGALRM, lambda *args: handled.append("new"))
            time.sleep(0.001)
            signal.raise_signal(signal.SIGUSR1)
            # The one before does not count.  (Natively, one that comes just before the system call does not
            # count either, so there are several.)
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            signal.pause()
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert handled[:2] == ["old", "new"]
            """,
            mode,
        )

    @BOTH
    def test_pause_ended_by_an_exception(self, mode: bool | str) -> None:
        check(
            """
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.05, 1)
                signal.pause()
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
            else:
                raise AssertionError("no exception")
            """,
            mode,
        )


class TestSending:
    @BOTH
    def test_to_the_main_thread(self, mode: bool | str) -> None:
        check(
            """
            handled = threading.Event()
            signal.signal(signal.SIGUSR1, lambda *args: handled.set())
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            assert handled.is_set()
            handled.clear()
            Call(signal.pthread_kill, threading.main_thread().ident, signal.SIGUSR1)
            assert handled.wait(30)
            """,
            mode,
        )

    def test_to_a_thread_that_has_ended(self) -> None:
        # For the C library that is a wild pointer.
        check(
            """
            thread = Call(int)
            assert thread.result() == 0
            try:
                signal.pthread_kill(thread.ident, 0)
            except ProcessLookupError:
                pass
            else:
                raise AssertionError("it was found")
            """,
            "patch_all",
        )


@pytest.mark.parametrize("wait", WAITS)
def test_nothing_happens_while_everything_waits(wait: str) -> None:
    code = f"""{SETTING}
def announce():
    time.sleep(0.05)
    print("ready", flush=True)
threading.Thread(target=announce, daemon=True).start()
{WAITS[wait]}
"""
    with running_python(dedent(code), greenify="patch_all") as process:
        assert process.readline() == "ready"
        before = wait_until_asleep(process.pid)
        time.sleep(0.3)
        assert switches(process.pid) == before


class TestMask:
    @BOTH
    def test_all_signals_blocked(self, mode: bool) -> None:
        """As servers do that take theirs with `sigwait`: threads that compute let the others run."""
        code = """
import signal
before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
def mask():
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())
assert mask() == signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}

def compute(done):
    while not done:
        pass

def takes_turns():
    done = []
    threads = [threading.Thread(target=compute, args=(done,)) for _ in range(2)]
    threads.append(threading.Thread(target=done.append, args=(1,)))
    for each in threads:
        each.start()
    for each in threads:
        each.join()

takes_turns()

# While the main thread waits for all of them, too.
def send():
    takes_turns()
    os.kill(os.getpid(), signal.SIGUSR1)
thread = threading.Thread(target=send)
thread.start()
assert signal.sigwait(signal.valid_signals()) == signal.SIGUSR1
thread.join()
assert signal.pthread_sigmask(signal.SIG_SETMASK, before) == signal.valid_signals() - {9, signal.SIGSTOP}
assert mask() == before == set()

for wrong in ((99, ()), (signal.SIG_BLOCK, [999])):
    try:
        signal.pthread_sigmask(*wrong)
    except (OSError, ValueError) as exc:
        print(exc)
takes_turns()
"""
        assert check(dedent(code), mode) == check(dedent(code), False)

    @BOTH
    def test_the_signal_of_the_time_slices(self, mode: bool) -> None:
        """It can be blocked, waited for and handled like any other."""
        code = """
import signal
number = signal.SIGVTALRM
thread = threading.Thread(target=int)
thread.start()
thread.join()
def mask():
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())
signal.pthread_sigmask(signal.SIG_BLOCK, {number})
assert mask() == {number}
signal.pthread_kill(threading.get_ident(), number)
assert signal.sigwait({number}) == number and mask() == {number}
seen = []
signal.signal(number, lambda *args: seen.append(1))
signal.pthread_kill(threading.get_ident(), number)
assert signal.sigpending() == {number} and not seen
signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
assert seen == [1] and mask() == set()
"""
        check(dedent(code), mode)

    def test_blocked_before_the_patch(self) -> None:
        code = """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM, signal.SIGUSR1})
def mask():
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())
import greenify
greenify.patch_all()
assert mask() == {signal.SIGVTALRM, signal.SIGUSR1}
done = []
def compute():
    while not done:
        pass
threads = [threading.Thread(target=compute), threading.Thread(target=done.append, args=(1,))]
for each in threads:
    each.start()
for each in threads:
    each.join()
greenify.restore()
assert mask() == {signal.SIGVTALRM, signal.SIGUSR1}
"""
        run_python(code, greenify=False, check=True)


@pytest.mark.parametrize("mode", [False, "patch_all"], ids=["plain", "patched"])
def test_a_thread_begins_with_its_starters_mask(mode: bool | str) -> None:
    run_python(
        """
        import signal, threading
        def mask():
            return signal.pthread_sigmask(signal.SIG_BLOCK, [])
        def ask(after=None):
            if after is not None:
                after.wait()
            found.append(mask())
        def block():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
            run(ask)
        def run(function):
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()
        found = []
        changed = threading.Event()
        early = threading.Thread(target=ask, args=(changed,))
        early.start()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        changed.set()
        early.join()
        run(block)
        run(ask)
        assert found == [set(), {signal.SIGUSR1, signal.SIGUSR2}, {signal.SIGUSR1}], found
        assert mask() == {signal.SIGUSR1}
        """,
        greenify=mode,
        check=True,
    )
