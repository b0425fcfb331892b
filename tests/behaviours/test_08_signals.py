"""8. Signals: they end or interrupt every wait of the main thread, and their handlers may do anything."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.behaviours.scenario import ALL, BOTH, check, talking
from tests.support import Mode

# What the main thread is in when Ctrl-C comes; each would wait for ever.
WAITS = {
    "sleep": "time.sleep(1000)",
    "join": "helper.join()",
    "lock": "taken.acquire()",
    "lock-timeout": "taken.acquire(timeout=1000)",
    "condition": "\n    with condition:\n        condition.wait()",
    "event": "threading.Event().wait()",
    "queue": "queue.Queue().get()",
    "queue-timeout": "queue.Queue().get(timeout=1000)",
    "simple-queue": "queue.SimpleQueue().get()",
    "recv": "one.recv(1)",
    "accept": "listener.accept()",
    "select": "select.select([one], [], [])",
    "poll": "poll.poll()",
    "selector": "selector.select()",
    "read": "os.read(pipe[0], 1)",
    "stdin": "sys.stdin.readline()",
    "child": "os.waitpid(cat.pid, 0)",
}
SET_UP = """
import os, queue, select, selectors, signal, socket, subprocess, sys, threading, time
one, other = socket.socketpair()
listener = socket.create_server(("127.0.0.1", 0))
taken = threading.Lock()
taken.acquire()
condition = threading.Condition()
helper = threading.Thread(target=threading.Event().wait, daemon=True)
helper.start()
poll = select.poll()
poll.register(one, select.POLLIN)
selector = selectors.DefaultSelector()
selector.register(one, selectors.EVENT_READ)
pipe = os.pipe()
# Ends when this process ends.
cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
"""


class TestInterrupt:
    @pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
    @BOTH
    def test_ctrl_c(self, wait: str, mode: Mode) -> None:
        """SIGINT raises KeyboardInterrupt where the main thread waits, and it can wait again afterwards."""
        code = f"""
def interrupt():
    # When the main thread sleeps, as the kernel sees it; or in its next wait: no difference to the outcome.
    os.kill(os.getpid(), signal.SIGINT)
sender = threading.Timer(0.05, interrupt)
sender.start()
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted")
sender.join()
done = threading.Event()
again = threading.Thread(target=done.set)
again.start()
assert done.wait(30)
again.join()
for thing in (one, other, listener, selector):
    thing.close()
os._exit(0) if sys.stdout.flush() is None else None
"""
        with talking(SET_UP + code, mode) as child:
            assert child.stdout and child.stderr
            assert child.stdout.readline() == "interrupted\n"
            assert child.wait(30) == 0
            assert child.stderr.read() == ""

    @BOTH
    def test_uncaught(self, mode: Mode) -> None:
        """Ctrl-C from outside ends the program as it ends every Python program."""
        code = """
        import sys, time
        print("waiting", flush=True)
        threading.Event().wait()
        """
        with talking(code, mode) as child:
            assert child.stdout and child.stderr
            assert child.stdout.readline() == "waiting\n"
            child.send_signal(signal.SIGINT)
            assert child.wait(30) == -signal.SIGINT
            assert child.stderr.read().endswith("\nKeyboardInterrupt\n")


class TestHandlers:
    @ALL
    def test_sigterm_sets_the_event_that_main_waits_for(self, mode: Mode) -> None:
        """With no other thread alive there is nobody but the signal who could wake anybody."""
        code = """
        import signal
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        print("waiting", flush=True)
        assert stop.wait()
        print("stopped", flush=True)
        """
        with talking(code, mode) as child:
            assert child.stdout
            assert child.stdout.readline() == "waiting\n"
            child.terminate()
            assert child.stdout.readline() == "stopped\n"
            assert child.wait(30) == 0

    @BOTH
    def test_setitimer(self, mode: Mode) -> None:
        code = """
        import signal, time
        for which, number in ((signal.ITIMER_REAL, signal.SIGALRM), (signal.ITIMER_PROF, signal.SIGPROF)):
            ticks, enough = [], threading.Event()
            def tick(number, frame):
                assert threading.current_thread() is threading.main_thread()
                ticks.append(number)
                # On a busy machine one more may be on its way by now.
                if len(ticks) >= 5:
                    signal.setitimer(which, 0)
                    enough.set()
            signal.signal(number, tick)
            signal.setitimer(which, 0.01, 0.01)
            if which == signal.ITIMER_REAL:
                enough.wait()
            else:
                while not enough.is_set():
                    sum(range(1000))
            assert len(ticks) >= 5 and set(ticks) == {number}
            assert signal.getitimer(which) == (0, 0)
        signal.signal(signal.SIGALRM, lambda number, frame: 1 / 0)
        signal.alarm(1)
        try:
            threading.Event().wait()
        except ZeroDivisionError:
            print("raised from the wait")
        """
        assert check(code, mode) == "raised from the wait\n"

    @BOTH
    def test_handler_that_blocks(self, mode: Mode) -> None:
        """It may wait for other threads, on anything; the wait that it has interrupted goes on after it."""
        code = """
        import os, queue, signal, socket, time
        one, other = socket.socketpair()
        requests, answers = queue.Queue(), queue.Queue()
        def serve():
            for request in iter(requests.get, None):
                answers.put(request * 2)
                other.sendall(b"x")
        server = Call(serve)
        handled = []
        def handler(number, frame):
            requests.put(number)
            handled.append(answers.get())
            assert one.recv(1) == b"x"
            time.sleep(0.01)
            with threading.Lock():
                inner = Call(lambda: "from a new thread")
                assert inner.result() == "from a new thread"
        signal.signal(signal.SIGUSR1, handler)
        def send():
            os.kill(os.getpid(), signal.SIGUSR1)
        wake = threading.Event()
        def later():
            send()
            requests.put(0)
            assert answers.get(timeout=30) is not None
            other.recv
            wake.set()
        send()
        assert handled == [2 * signal.SIGUSR1]
        sender = Call(send)
        while len(handled) < 2:
            wake.wait(0.01)
        sender.result()
        assert handled == [2 * signal.SIGUSR1] * 2
        requests.put(None)
        server.result()
        one.close(), other.close()
        """
        check(code, mode)

    @BOTH
    def test_always_in_the_main_thread(self, mode: Mode) -> None:
        code = """
        import os, signal
        ran_in, ran = [], threading.Event()
        def handler(number, frame):
            ran_in.append(threading.current_thread())
            ran.set()
        signal.signal(signal.SIGUSR1, handler)
        def send():
            os.kill(os.getpid(), signal.SIGUSR1)
            ran.wait()
            return ran_in == [threading.main_thread()]
        assert Call(send).result()
        """
        check(code, mode)

    @BOTH
    def test_raising_handler_leaves_locks_usable(self, mode: Mode) -> None:
        code = """
        import os, queue, signal
        class Stop(Exception):
            pass
        def handler(number, frame):
            raise Stop
        signal.signal(signal.SIGUSR1, handler)
        jobs, lock, condition = queue.Queue(), threading.Lock(), threading.Condition()
        lock.acquire()
        def in_condition():
            with condition:
                condition.wait()
        for wait in (jobs.get, lock.acquire, in_condition):
            sender = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
            sender.start()
            try:
                wait()
            except Stop:
                print("stopped")
            sender.join()
        lock.release()
        with lock, condition:
            jobs.put(1)
        assert Call(jobs.get).result() == 1
        """
        assert check(code, mode) == "stopped\n" * 3


class TestWaitingForSignals:
    @BOTH
    def test_sigwait_and_its_kin(self, mode: Mode) -> None:
        code = """
        import os, signal, time
        wanted = {signal.SIGUSR1, signal.SIGUSR2}
        signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        about_to = threading.Event()
        def wait(function, *args):
            about_to.set()
            return function(wanted, *args)
        for function, args in (
            (signal.sigwait, ()), (signal.sigwaitinfo, ()), (signal.sigtimedwait, (30,)),
        ):
            about_to.clear()
            waiting = Call(wait, function, *args)
            about_to.wait()
            os.kill(os.getpid(), signal.SIGUSR1)
            found = waiting.result()
            assert getattr(found, "si_signo", found) == signal.SIGUSR1
        assert signal.sigtimedwait(wanted, 0.01) is None
        sender = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR2))
        sender.start()
        assert signal.sigwait(wanted) == signal.SIGUSR2
        sender.join()
        """
        check(code, mode)

    @BOTH
    def test_pause(self, mode: Mode) -> None:
        code = """
        import os, signal
        signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", flush=True))
        sender = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        sender.start()
        signal.pause()
        sender.join()
        """
        assert check(code, mode) == "handled\n"

    @ALL
    def test_wakeup_descriptor_of_the_users(self, mode: Mode) -> None:
        """A select loop that is woken by it gets every signal's number, and keeps its own setting."""
        code = """
        import os, select, signal, socket
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        assert signal.set_wakeup_fd(writer.fileno()) == -1
        handled = []
        signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
        sender = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
        sender.start()
        ready, _, _ = select.select([reader], [], [])
        assert reader.recv(10) == bytes([signal.SIGUSR1])
        sender.join()
        assert handled == [signal.SIGUSR1]
        assert signal.set_wakeup_fd(-1) == writer.fileno()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert select.select([reader], [], [], 0.05) == ([], [], [])
        assert handled == [signal.SIGUSR1] * 2
        reader.close(), writer.close()
        """
        check(code, mode)


_keeps_locks = pytest.mark.skipif(
    sys.version_info[:2] == (3, 14),
    reason="with threads a handler may run between the taking of the lock and the block, on CPython 3.14",
)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        pytest.param("Lock", False, marks=_keeps_locks),
        ("Lock", True),
        pytest.param("RLock", False, marks=_keeps_locks),
        ("RLock", True),
        ("Queue", True),  # with threads, a queue's mutex may stay taken
    ],
)
def test_an_exception_of_a_handler_leaves_no_lock_behind(kind: str, mode: Mode) -> None:
    """Wherever in a ``with lock:``, or in a queue's methods, it comes."""
    code = """
    import queue, signal, sys, time
    jobs = queue.Queue()
    lock = jobs.mutex if sys.argv[1] == "Queue" else getattr(threading, sys.argv[1])()
    class Stop(Exception):
        pass
    def stop(*args):
        raise Stop
    signal.signal(signal.SIGALRM, stop)
    def go_on():
        while True:
            if sys.argv[1] == "Queue":
                jobs.put(1)
                jobs.get()
            else:
                with lock:
                    pass
    def free():
        if lock.acquire(False):
            lock.release()
            return True
        return False
    stops, end = 0, time.monotonic() + 1
    while time.monotonic() < end or not stops:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            go_on()
        except Stop:
            stops += 1
        assert Call(free).result()
    """
    check(code, mode, kind)
