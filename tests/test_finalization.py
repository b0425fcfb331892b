"""Code that runs while the interpreter is finalised, when greenlet tells nobody apart any more."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.support import Mode, run_python

CODE = """
    import logging, queue, sys, threading

    logging.basicConfig(format="%(threadName)s: %(message)s")

    class Finalised:
        def __init__(self):
            self.lock = threading.RLock()
            self.condition = threading.Condition()
            self.event = threading.Event()
            self.queue = queue.Queue()
            self.simple = queue.SimpleQueue()
            self.local = threading.local()
            self.local.name = "mine"
            self.ident = threading.get_ident()
            # They are gone from their modules by then.
            self.get_ident, self.current, self.log = (
                threading.get_ident, threading.current_thread, logging.warning
            )

        def __del__(self):
            print("finalising")
            with self.lock, self.lock:
                print("lock")
            with self.condition:
                self.condition.notify_all()
            self.event.set()
            print("event", self.event.wait(1))
            for each in (self.queue, self.simple):
                each.put("item")
                print("queue", each.get())
            print("local", self.local.name)
            print("ident", self.get_ident() == self.ident, self.current().name)
            self.log("logged")

    kept = Finalised()
    print("end of main")
"""


@pytest.mark.parametrize("mode", [False, True, "patch_all"])
def test_locks_queues_and_identity(mode: Mode) -> None:
    done = run_python(CODE, greenify=mode, check=True)
    assert done.stderr == "MainThread: logged\n"
    assert done.stdout.splitlines() == [
        "end of main",
        "finalising",
        "lock",
        "event True",
        "queue item",
        "queue item",
        "local mine",
        "ident True MainThread",
    ]


@pytest.mark.parametrize("mode", [False, True])
def test_logging_handler_that_outlives_the_modules(mode: Mode) -> None:
    """The logging module takes its lock in a callback of a weak reference to the handler."""
    done = run_python("import logging; kept = logging.StreamHandler()", greenify=mode, check=True)
    assert done.stderr == ""


WAITING = """
    import builtins, os, queue, socket, subprocess, threading, time
    import greenify  # the control run has it imported, too

    class Waits:
        def __init__(self, hub):
            self.lock = threading.Lock()
            self.condition = threading.Condition()
            self.event = threading.Event()
            self.queue = queue.SimpleQueue()
            self.left, self.right = socket.socketpair()
            self.left.settimeout(0.01)
            self.sleep, self.clock = time.sleep, time.monotonic
            self.empty = queue.Empty
            if hub:
                time.sleep(0.001)

        def say(self, what, function):
            try:
                print(what, function())
            except self.empty:
                print(what, "empty")
            except TimeoutError:
                print(what, "time-out")
            except RuntimeError as exc:
                print(what, type(exc).__name__, exc)

        def __del__(self):
            start = self.clock()
            self.sleep(0.02)
            self.sleep(0)
            print("slept", self.clock() - start >= 0.02)
            self.lock.acquire()
            self.say("lock", lambda: self.lock.acquire(timeout=0.01))
            with self.condition:
                self.say("condition", lambda: self.condition.wait(0.01))
            self.say("event", lambda: self.event.wait(0.01))
            self.say("queue", lambda: self.queue.get(timeout=0.01))
            self.say("socket", lambda: self.left.recv(1))
            self.left.close()
            self.right.close()

    builtins.kept = Waits({hub})
    print("end of main")
"""


@pytest.mark.parametrize("hub", [False, True], ids=["without a hub", "with a hub"])
@pytest.mark.parametrize("mode", [False, True, "patch_all"])
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_waiting(mode: Mode, hub: bool, unbuffered: str) -> None:
    """Nobody else runs any more: who waits blocks, as without the patch; for locks CPython 3.15 refuses."""
    env = {"PYTHONUNBUFFERED": unbuffered}
    done = run_python(WAITING.format(hub=hub), greenify=mode, check=True, env=env)
    assert done.stderr == ""
    told = "PythonFinalizationError cannot acquire lock at interpreter finalization"
    tells = sys.version_info >= (3, 15)
    assert done.stdout.splitlines() == [
        "end of main",
        "slept True",
        f"lock {told if tells else False}",
        f"condition {told if tells else False}",
        f"event {told if tells else False}",
        "queue empty",
        "socket time-out",
    ]


DAEMONS = """
    import builtins, queue, sys, threading, time, _thread

    class Pool:
        '''As pools of clients are: its daemon thread is joined by a finaliser.'''

        def __init__(self, where):
            self.where = where
            self.queue = queue.Queue()
            self.worker = threading.Thread(target=self.queue.get, daemon=True, name="worker")
            self.worker.start()
            self.timer = threading.Timer(1000, print)
            self.timer.daemon = True
            self.timer.start()
            self.ended = threading.Thread(target=int)
            self.ended.start()
            self.ended.join()
            self.new = threading.Thread(target=int, daemon=True)
            self.main = threading.current_thread()
            self.enumerate, self.clock = threading.enumerate, time.monotonic
            self.version = sys.version_info

        def __del__(
            self, print=print, repr=repr, sorted=sorted, Exception=Exception, str=str, type=type
        ):
            def say(what, function):
                start = self.clock()
                try:
                    result = function()
                except Exception as exc:
                    result = type(exc).__name__ + ": " + str(exc)
                print(self.where, what, result, self.clock() - start >= 0.1)

            say("put", lambda: self.queue.put(None))
            for thread in (self.worker, self.timer, self.ended, self.main, self.new):
                say("alive", thread.is_alive)
                say("join", lambda: thread.join(0.1))
                say("join(0)", lambda: thread.join(0))
                if self.version[:2] != (3, 13):  # there, a join without a time-out never returns
                    say("join()", thread.join)
                say("alive", thread.is_alive)
                say("repr", lambda: repr(thread).replace(repr(thread.ident), "N"))
            say("enumerate", lambda: sorted(thread.name for thread in self.enumerate()))
            if self.version >= (3, 12):  # before, the interpreter hangs
                say("start", self.new.start)

    pools = [Pool("module")]
    builtins.pool = Pool("builtins")
    cycle = Pool("cycle")
    cycle.me = cycle
    print("end of main")
"""


def test_daemon_threads() -> None:
    """Finalisers see daemon threads as ended up to CPython 3.12, later as alive; 3.13 waits for them."""
    modes: list[Mode] = [False, True, "patch_all"]
    plain, patched, late = (run_python(DAEMONS, greenify=mode, check=True) for mode in modes)
    assert plain.stdout == patched.stdout == late.stdout
    assert plain.stderr == patched.stderr == late.stderr == ""
    lines = plain.stdout.splitlines()
    alive = sys.version_info >= (3, 13)
    join = f"None {alive}"
    if sys.version_info >= (3, 14):
        join = "PythonFinalizationError: cannot join thread at interpreter shutdown False"
    for where in ("module", "builtins", "cycle"):
        # Of the worker, the first thread.
        assert lines.index(f"{where} put None False") + 1 == lines.index(
            f"{where} alive {alive} False"
        )
        assert f"{where} join {join}" in lines


def test_daemon_thread_that_is_joined_without_a_time_out() -> None:
    """It never runs again: the join returns at once (up to CPython 3.12), never does (3.13), or raises."""
    if sys.version_info[:2] == (3, 13):
        pytest.skip("with real threads, too, CPython 3.13 hangs there")
    code = """
        import queue, threading

        class Pool:
            def __init__(self):
                self.queue = queue.Queue()
                self.worker = threading.Thread(target=self.queue.get, daemon=True)
                self.worker.start()

            def __del__(self, print=print, RuntimeError=RuntimeError, type=type):
                self.queue.put(None)
                try:
                    self.worker.join()
                except RuntimeError as exc:
                    print(type(exc).__name__)
                else:
                    print("joined")

        pool = Pool()
    """
    modes: list[Mode] = [False, True, "patch_all"]
    told = "PythonFinalizationError\n" if sys.version_info >= (3, 14) else "joined\n"
    for mode in modes:
        assert run_python(code, greenify=mode, check=True, timeout=30).stdout == told


LEFT_OPEN = """
    import warnings
    warnings.simplefilter("ignore")
    import asyncio, concurrent.futures, logging, os, queue, select, selectors, signal, socket, ssl
    import subprocess, sys, threading, time

    def leave():
        process = subprocess.Popen(["echo", "hi"], stdout=subprocess.PIPE)
        text = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        text.stdin.write("unsent")
        command = os.popen("echo hi")
        reader, writer = os.pipe()
        pipe, end = os.fdopen(reader, "rb"), open(writer, "w")
        end.write("unsent")
        left, right = socket.socketpair()
        made = left.makefile("rw"), right.makefile("rb")
        server = socket.create_server(("127.0.0.1", 0))
        poll, selector = select.poll(), selectors.DefaultSelector()
        poll.register(left)
        selector.register(right, selectors.EVENT_READ)
        selector.select(0)
        tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x")
        lock, rlock, condition = threading.Lock(), threading.RLock(), threading.Condition()
        lock.acquire()
        rlock.acquire()
        condition.acquire()
        items = queue.Queue(), queue.SimpleQueue(), threading.Semaphore(0), threading.Barrier(2)
        local = threading.local()
        local.value = pipe
        pool = concurrent.futures.ThreadPoolExecutor(2)
        future = pool.submit(time.sleep, 0)
        timer = threading.Timer(100, print)
        timer.daemon = True
        timer.start()
        waiting = [
            threading.Thread(target=target, args=args, daemon=True)
            for target, args in (
                (time.sleep, (100,)),
                (items[0].get, ()),
                (threading.Event().wait, ()),
                (server.accept, ()),
                (os.read, (os.pipe()[0], 1)),
                (select.select, ([left], [], [])),
                (selector.select, ()),
                (right.recv, (1,)),
            )
        ]
        for thread in waiting:
            thread.start()
        loop = asyncio.new_event_loop()
        loop.call_later(100, print)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        logging.getLogger("x").addHandler(logging.StreamHandler(end))
        time.sleep(0.01)
        return locals()
"""

ENDS = {
    "end": "kept = leave()",
    "exit": "kept = leave(); sys.exit(0)",
    "exit in a function": """
    def main():
        kept = leave()
        sys.exit(0)
    main()
    """,
    "cycle": "kept = leave(); kept['kept'] = kept; sys.kept = kept; sys.exit(0)",
}


@pytest.mark.parametrize("mode", [False, True, "patch_all"], ids=["plain", "launcher", "patch_all"])
@pytest.mark.parametrize("end", ENDS)
def test_what_is_left_open_is_finalised_in_silence(end: str, mode: Mode) -> None:
    code = textwrap.dedent(LEFT_OPEN) + textwrap.dedent(ENDS[end])
    done = run_python(code, greenify=mode, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("mode", [True, "patch_all"])
def test_engine_works_in_atexit_after_its_own_end(mode: Mode) -> None:
    # What was registered before greenify is called after it.
    code = """
        import atexit, os, sys, threading, time
        assert "greenify" in sys.modules

        def late():
            thread = threading.Thread(target=time.sleep, args=(0.001,))
            event = threading.Event()
            assert not event.wait(0.001)
            reader, writer = os.pipe()
            os.write(writer, b"x")
            print(os.read(reader, 1), time.sleep(0.001))
            from greenify.core.stacks import describe
            import greenify.core
            print(bool(describe(greenify.core.get_hub())))

        callbacks = []
        atexit.register(late)
    """
    moved = (
        code
        + """
        # As if it had been registered first.
        from greenify.core.lasting import _keep
        atexit.unregister(_keep)
        atexit.register(_keep)
    """
    )
    for each in (code, moved):
        done = run_python(textwrap.dedent(each), greenify=mode, check=True)
        assert (done.stdout, done.stderr) == ("b'x' None\nTrue\n", "")


def test_what_a_late_patch_has_adapted_is_finalised() -> None:
    done = run_python(
        textwrap.dedent("""
        import os, queue, threading
        import greenify

        class Owner:
            def __init__(self):
                self.queue, self.lock = queue.SimpleQueue(), threading.Lock()
                self.itself = self
            def __del__(self, write=os.write):
                write(1, b"gone")

        owner = Owner()
        greenify.patch_all()
        assert any(change.owner is owner for change in greenify.changes())
        """),
        greenify=False,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("gone", "")
