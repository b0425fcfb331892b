"""What a time-out or a kill shows: the program's own frames, down to the call that waited."""

from __future__ import annotations

import re

from tests.support import run_python

CODE = """
    import logging, sys, traceback
    import greenify
    if sys.argv[1] == "patched":
        greenify.patch_all()
    import queue, socket, threading, time

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    events = greenify.Event(), greenify.Queue(), greenify.Lock()
    events[2].acquire()
    left, right = socket.socketpair()
    calls = [greenify.sleep, events[0].wait, events[1].get, events[2].acquire]
    if sys.argv[1] == "patched":
        lock = threading.Lock()
        lock.acquire()
        calls += [time.sleep, threading.Event().wait, queue.Queue().get, lock.acquire]
    arguments = {greenify.sleep: (100,), time.sleep: (100,)}

    def waits(call):
        call(*arguments.get(call, ()))

    def show(title):
        print(title)
        traceback.print_exc(file=sys.stdout)

    for call in calls:
        try:
            with greenify.Timeout(0.001):
                waits(call)
        except greenify.Timeout:
            show("with")
        try:
            with greenify.Timeout(0.001, KeyError("own")):
                waits(call)
        except KeyError:
            show("own exception")
        timeout = greenify.Timeout(0.001)
        timeout.start()
        try:
            try:
                waits(call)
            finally:
                timeout.cancel()
        except greenify.Timeout:
            show("start and cancel")
        for error in (greenify.TaskExit, ValueError("killed")):
            task = greenify.spawn(waits, call)
            greenify.sleep(0)
            task.kill(error)
            task.join()
            try:
                task.result
            except BaseException:
                show("task")
    left.close()
    right.close()
"""

OURS = re.compile(r'File ".*/greenify/(?:core|green|[a-z_]+\.py).*')


def shown(*args: str, options: tuple[str, ...] = ()) -> str:
    return run_python(CODE, *args, greenify=False, check=True, options=options).stdout


def test_ends_in_the_programs_code() -> None:
    for which, calls in (("unpatched", 4), ("patched", 8)):
        text = shown(which)
        assert text.count("in waits\n") == 6 * calls, text  # the log has one more of each kill
        ours = [line for line in OURS.findall(text) if not line.endswith("in result")]
        assert ours == []


def test_development_mode_shows_all() -> None:
    assert "hub.next().switch()" in shown("unpatched", options=("-X", "dev"))


def test_errors_of_the_programs_keep_theirs() -> None:
    # An error that has only happened within a time-out, or in a task, is shown whole below the program.
    code = """
        import traceback, sys, greenify

        def work():
            greenify.Channel(-1)

        def fails(call):
            try:
                call()
            except ValueError:
                traceback.print_exc(file=sys.stdout)

        def limited():
            with greenify.Timeout(10):
                work()

        fails(limited)
        task = greenify.spawn(work)
        task.join()
        fails(lambda: task.result)
    """
    done = run_python(code, greenify=False, check=True)
    assert done.stdout.count("channel.py") == 2, done.stdout


INSIDE = """
    import os, sys, traceback
    import greenify
    PATCHED = sys.argv[1] == "patched"
    if PATCHED:
        greenify.patch_all()
    import fcntl, io, queue, select, selectors, signal, socket, subprocess, tempfile, threading, time

    lock, reentrant, condition = threading.Lock(), threading.RLock(), threading.Condition()
    condition.acquire()
    lock.acquire()
    threading.Thread(target=reentrant.acquire).start()
    left, right = socket.socketpair()
    server = socket.create_server(("127.0.0.1", 0))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    reading, writing = os.pipe()
    other, _ = os.pipe()
    file = open(reading, "rb", closefd=False)
    raw = io.FileIO(reading, closefd=False)
    text = open(reading, "r", closefd=False)
    of_socket = left.makefile("rb")

    def fill(write, blocking):
        blocking(False)
        try:
            while True:
                write(bytes(1 << 16))
        except BlockingIOError:
            blocking(True)

    full, _full_peer = socket.socketpair()
    fill(full.send, full.setblocking)
    _full_reading, full_pipe = os.pipe()
    fill(lambda data: os.write(full_pipe, data), lambda flag: os.set_blocking(full_pipe, flag))
    one, two, epoll = select.poll(), select.poll(), select.epoll()
    for each in one, two, epoll:
        each.register(reading, select.POLLIN)
    two.register(other, select.POLLIN)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    locked = tempfile.NamedTemporaryFile()
    fcntl.flock(locked, fcntl.LOCK_EX)
    again = open(locked.name, "wb")

    # In C, natively.
    C = {
        "sleep": lambda: time.sleep(100),
        "sleep(0)": lambda: [time.sleep(0) for _ in iter(int, 1)],
        "greenify.sleep": lambda: greenify.sleep(100),
        "lock": lambda: lock.acquire(),
        "lock, limited": lambda: lock.acquire(timeout=100),
        "with lock": lambda: lock.__enter__(),
        "RLock": lambda: reentrant.acquire(),
        "RLock, limited": lambda: reentrant.acquire(timeout=100),
        "recv": lambda: left.recv(1),
        "recv again": lambda: left.recv(1),
        "recv of all": lambda: left.recv(9, socket.MSG_WAITALL),
        "recv_into": lambda: left.recv_into(bytearray(9)),
        "recvfrom": lambda: left.recvfrom(1),
        "recvfrom_into": lambda: left.recvfrom_into(bytearray(9)),
        "recvmsg": lambda: left.recvmsg(1),
        "recvmsg_into": lambda: left.recvmsg_into([bytearray(9)]),
        "recv of a datagram": lambda: datagrams.recv(1),
        "recvfrom of a datagram": lambda: datagrams.recvfrom(1),
        "send": lambda: full.send(bytes(9)),
        "sendall": lambda: full.sendall(bytes(9)),
        "sendmsg": lambda: full.sendmsg([bytes(9)]),
        "read": lambda: os.read(reading, 1),
        "readv": lambda: os.readv(reading, [bytearray(9)]),
        "write": lambda: os.write(full_pipe, bytes(9)),
        "writev": lambda: os.writev(full_pipe, [bytes(9)]),
        "file": lambda: file.read(1),
        "file without a buffer": lambda: raw.read(1),
        "file to the end": lambda: raw.readall(),
        "text": lambda: text.readline(),
        "select": lambda: select.select([reading], [], []),
        "select of two": lambda: select.select([reading, other], [], []),
        "select of none": lambda: select.select([], [], [], 100),
        "poll": lambda: one.poll(),
        "poll of two": lambda: two.poll(),
        "epoll": lambda: epoll.poll(),
        "waitpid": lambda: os.waitpid(child.pid, 0),
        "waitid": lambda: os.waitid(os.P_PID, child.pid, os.WEXITED),
        "wait": lambda: os.wait(),
        "flock": lambda: fcntl.flock(again, fcntl.LOCK_EX),
        "sigtimedwait": lambda: signal.sigtimedwait([signal.SIGUSR1], 100),
        "pause": lambda: signal.pause(),
    }
    PYTHON = {
        "Event": lambda: threading.Event().wait(),
        "Event, limited": lambda: threading.Event().wait(100),
        "Condition": lambda: condition.wait(),
        "Queue": lambda: queue.Queue().get(),
        "accept": lambda: server.accept(),
        "makefile": lambda: of_socket.readline(),
        "selector": lambda: selectors.DefaultSelector().select(100),
        "join": lambda: a_sleeper().join(),
    }
    def a_sleeper():
        # CPython 3.11 takes a thread for ended whose join has been interrupted.
        sleeper = threading.Thread(target=time.sleep, args=(100,), daemon=True)
        sleeper.start()
        return sleeper
    def inside(name, call):
        try:
            call()
        except BaseException as exc:
            print("==", name, type(exc).__name__)
            print("".join(traceback.format_exception(exc)))
    def limited(name, call):
        try:
            with greenify.Timeout(0.001):
                inside(name, call)
        except greenify.Timeout:
            pass

    for kind, calls in ("C", C), ("PYTHON", PYTHON):
        print("=====", kind, len(calls))
        for name, call in calls.items():
            task = greenify.spawn(inside, name, call)
            greenify.sleep(0.001)
            task.kill()
            task.join()
            task = greenify.spawn(limited, name, call)
            task.join()
    # What C raises without a frame.
    print("===== errors", 4)
    left.settimeout(0.001)
    inside("recv", lambda: left.recv(1))
    inside("recvfrom", lambda: left.recvfrom(1))
    full.settimeout(0.001)
    inside("sendall", lambda: full.sendall(bytes(9)))
    address = server.getsockname()
    server.close()
    inside("connect", lambda: socket.socket().connect(address))
    # A handler's frames are the program's.
    def handler(*args):
        raise KeyError("from the handler")
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    print("===== handler", 2)
    for call in (lambda: time.sleep(100), lambda: right.recv(1)):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            call()
        except KeyError:
            traceback.print_exc(file=sys.stdout)
    # The engine's own errors keep all frames.
    print("===== own", 1)
    from greenify.green._sockets import receiving
    receiving.register = None
    fresh, _peer = socket.socketpair()
    inside("recv", lambda: fresh.recv(1))
    sys.stdout.flush()
    child.kill()
    os._exit(0)
"""


def test_seen_from_inside() -> None:
    # By the code that is interrupted, before it has ended.
    text = run_python(INSIDE, "patched", greenify=False, check=True).stdout
    _, *parts = re.split(r"===== (\w+) (\d+)\n", text)
    shown = dict(zip(parts[::3], parts[2::3], strict=True))
    number = {kind: int(part) for kind, part in zip(parts[::3], parts[1::3], strict=True)}
    for kind in ("C", "PYTHON"):
        assert shown[kind].count("== ") == 2 * number[kind], shown[kind]
    assert number["C"] > 40
    assert OURS.findall(shown["C"]) == []
    assert "/greenify/core/" not in shown["PYTHON"]
    assert shown["errors"].count("== ") == 4, shown["errors"]
    assert OURS.findall(shown["errors"]) == []
    handler = shown["handler"]
    assert handler.count("in handler") == 2, handler
    assert "/greenify/core/waiters.py" not in handler and "/greenify/green/" not in handler
    assert "in recv\n" in shown["own"] and "TypeError" in shown["own"], shown["own"]

    shown_whole = run_python(
        INSIDE, "patched", greenify=False, check=True, options=["-X", "dev"]
    ).stdout
    assert "hub.next().switch()" in shown_whole


def test_keeps_no_exception() -> None:
    # What is done about its traceback counts its references by hand, on CPython 3.10.
    code = """
        import gc, sys, weakref
        import greenify
        greenify.patch_all()
        import socket, time

        class Own(Exception):
            pass

        left, right = socket.socketpair()
        calls = [lambda: time.sleep(100), lambda: left.recv(1)]

        def interrupted(call):
            error = Own()
            try:
                with greenify.Timeout(0.0001, error):
                    call()
            except Own:
                return weakref.ref(error)
            raise AssertionError("not interrupted")

        for call in calls:
            interrupted(call)
            before = sys.getrefcount(Own)
            ended = [interrupted(call) for _ in range(20)]
            gc.collect()
            # The last one may be remembered.
            kept = sum(each() is not None for each in ended)
            assert kept < 2, kept
            assert sys.getrefcount(Own) <= before + 1, (before, sys.getrefcount(Own))
    """
    run_python(code, greenify=False, check=True)
