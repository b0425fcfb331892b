"""What somebody waits for, told by looking at him: each kind of wait is made, and read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import run_python

# Starts each function as a thread, lets all of them come to rest, and prints what they wait for.
FRAME = """
import json, sys, threading
import greenify
from greenify.core import get_hub
from greenify.inspect import user_frame, wait_of

def report(waiting):
    found = {}
    hub = get_hub()
    for thread in waiting:
        while True:
            greenlets = [g for g in hub.tasks if getattr(g, "ident", None) == thread.ident]
            wait = wait_of(greenlets[0]) if greenlets else None
            if wait is not None and wait.kind != "start" and greenlets[0] not in hub.ready:
                break
            greenify.sleep(0.001)
        found[thread.name] = {
            "kind": wait.kind,
            "text": wait.text,
            "until": wait.until,
            "line": wait.place and wait.place.function,
            "facts": {key: str(value) for key, value in wait.facts.items()},
        }
    print(json.dumps(found), flush=True)

def threads(*functions):
    made = [threading.Thread(target=f, name=f.__name__, daemon=True) for f in functions]
    for thread in made:
        thread.start()
    return made
"""


def waits(program: str, **options: Any) -> dict[str, dict[str, Any]]:
    result = run_python(FRAME + program, check=True, **options)
    found: dict[str, dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])
    return found


THREADS = """
import concurrent.futures, multiprocessing, queue, time
lock, rlock, condition = threading.Lock(), threading.RLock(), threading.Condition()
event, semaphore, items = threading.Event(), threading.Semaphore(0), queue.Queue()
full, simple, barrier = queue.Queue(1), queue.SimpleQueue(), threading.Barrier(2)
full.put(1); future = concurrent.futures.Future()
held = threading.Event()
def holder():
    with lock, rlock:
        held.set()
        event.wait()
[first] = threads(holder)
held.wait()
def in_lock(): lock.acquire()
def in_lock_until(): lock.acquire(timeout=50)
def in_rlock():
    with rlock: pass
def in_condition():
    with condition: condition.wait()
def in_condition_until():
    with condition: condition.wait(50)
def in_event(): event.wait()
def in_event_until(): event.wait(50)
def in_semaphore(): semaphore.acquire()
def in_get(): items.get()
def in_get_until(): items.get(timeout=50)
def in_put(): full.put(2)
def in_queue_join(): full.join()
def in_simple(): simple.get()
def in_barrier(): barrier.wait()
def in_sleep(): time.sleep(50)
def in_join(): first.join()
def in_future(): future.result()
def in_pool():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(event.wait).result()
report(threads(in_lock, in_lock_until, in_rlock, in_condition, in_condition_until, in_event,
    in_event_until, in_semaphore, in_get, in_get_until, in_put, in_queue_join, in_simple, in_barrier,
    in_sleep, in_join, in_future, in_pool))
import os
os._exit(0)  # a pool is waited for at the end
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return waits(THREADS)


class TestThreads:
    @pytest.mark.parametrize(
        ("name", "kind", "begins"),
        [
            ("in_lock", "Lock", "Lock of <string>:"),
            ("in_lock_until", "Lock", "Lock of <string>:"),
            ("in_rlock", "RLock", "RLock of <string>:"),
            ("in_condition", "Condition", "Condition.wait <string>:"),
            ("in_condition_until", "Condition", "Condition.wait <string>:"),
            ("in_event", "Event", "Event.wait <string>:"),
            ("in_event_until", "Event", "Event.wait <string>:"),
            ("in_semaphore", "Semaphore", "Semaphore.acquire <string>:"),
            ("in_get", "Queue", "Queue.get <string>:"),
            ("in_get_until", "Queue", "Queue.get <string>:"),
            ("in_put", "Queue", "Queue.put <string>:"),
            ("in_queue_join", "Queue", "Queue.join <string>:"),
            ("in_simple", "Queue", "SimpleQueue.get <string>:"),
            ("in_barrier", "Barrier", "Barrier.wait <string>:"),
            ("in_join", "join", "join holder"),
            ("in_future", "Future", "Future.result <string>:"),
            ("in_pool", "Future", "Future.result <string>:"),
        ],
    )
    def test_kind(
        self, found: dict[str, dict[str, Any]], name: str, kind: str, begins: str
    ) -> None:
        assert found[name]["kind"] == kind
        assert found[name]["text"].startswith(begins)
        assert found[name]["line"] == name
        assert (found[name]["until"] is not None) == name.endswith("_until")

    def test_owner_of_an_rlock_is_named(self, found: dict[str, dict[str, Any]]) -> None:
        assert found["in_rlock"]["text"].endswith(", held by holder")
        assert found["in_rlock"]["facts"]["owner"] == "holder"

    def test_sleep_tells_what_remains(self, found: dict[str, dict[str, Any]]) -> None:
        words = found["in_sleep"]["text"].split()
        assert (words[0], words[2:]) == ("sleep", ["s", "more"])
        assert 0 < float(words[1]) <= 50


DESCRIPTORS = """
import os, select, selectors, signal, socket, subprocess, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
ours, theirs = socket.socketpair()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); datagrams.bind(("127.0.0.1", 0))
reader, writer = os.pipe()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
def in_recv(): client.recv(10)
def in_recv_until():
    server.settimeout(50); server.recv_into(bytearray(10))
def in_send():
    while True: ours.send(bytes(100_000))
def in_accept(): listener.accept()
def in_recvfrom(): datagrams.recvfrom(10)
def in_read(): os.read(reader, 1)
def in_select(): select.select([reader, client], [], [])
def in_select_one(): select.select([reader], [], [])
def in_poll():
    poll = select.poll(); poll.register(reader, select.POLLIN); poll.register(client, select.POLLIN)
    poll.poll(50_000)
def in_poll_one():
    poll = select.poll(); poll.register(client, select.POLLIN); poll.poll()
def in_selector():
    selector = selectors.DefaultSelector(); selector.register(reader, selectors.EVENT_READ)
    selector.select()
def in_child(): child.wait()
def in_waitpid(): os.waitpid(child.pid, 0)
report(threads(in_recv, in_recv_until, in_send, in_accept, in_recvfrom, in_read, in_select, in_select_one,
    in_poll, in_poll_one, in_selector, in_child, in_waitpid))
print(json.dumps({"client": client.fileno(), "server": server.fileno(), "reader": reader,
    "port": listener.getsockname()[1], "from": client.getsockname()[1], "child": child.pid,
    "listener": listener.fileno(), "ours": ours.fileno(), "udp": datagrams.getsockname()[1]}))
child.kill()
"""


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, Any], dict[str, Any]]:
    result = run_python(FRAME + DESCRIPTORS, check=True)
    found, numbers = (json.loads(line) for line in result.stdout.splitlines())
    return found, numbers


class TestDescriptors:
    def test_texts(self, made: tuple[dict[str, Any], dict[str, Any]]) -> None:
        found, n = made
        texts = {name: wait["text"] for name, wait in found.items()}
        both = f"fd {n['reader']}, fd {n['client']}"
        selector = texts.pop("in_selector")
        assert texts == {
            "in_recv": f"recv 127.0.0.1:{n['port']} (fd {n['client']})",
            "in_recv_until": f"recv 127.0.0.1:{n['from']} (fd {n['server']})",
            "in_send": f"send local socket (fd {n['ours']})",
            "in_accept": f"accept 127.0.0.1:{n['port']} (fd {n['listener']})",
            "in_recvfrom": texts["in_recvfrom"],
            "in_read": f"read pipe (fd {n['reader']})",
            "in_select": f"select of {both}",
            "in_select_one": f"select of fd {n['reader']}",
            "in_poll": f"poll of {both}",
            "in_poll_one": f"poll 127.0.0.1:{n['port']} (fd {n['client']})",
            "in_child": f"child {n['child']}",
            "in_waitpid": f"child {n['child']}",
        }
        assert texts["in_recvfrom"].startswith(f"recv 127.0.0.1:{n['udp']} (fd ")
        assert selector == f"select of fd {n['reader']}"

    def test_deadlines(self, made: tuple[dict[str, Any], dict[str, Any]]) -> None:
        limited = {name for name, wait in made[0].items() if wait["until"] is not None}
        # A local socket's writers look again now and then.
        assert limited == {"in_recv_until", "in_poll", "in_send"}

    def test_places(self, made: tuple[dict[str, Any], dict[str, Any]]) -> None:
        assert {name: wait["line"] for name, wait in made[0].items()} == {
            name: name for name in made[0]
        }


NATIVE = """
import _thread, ctypes, os, socket, ssl, time
from greenify.green._sockets import dns
door = greenify.original("threading").Event()
def slow(*args):
    door.wait()
    raise OSError("no such host")
dns._native_getaddrinfo = slow
dns._socket.getaddrinfo = slow
@greenify.offload
def query(): door.wait()
def in_look_up():
    try: socket.getaddrinfo("db.example.com", 80)
    except OSError: pass
def in_connect():
    try: socket.create_connection(("db.example.com", 80))
    except OSError: pass
def in_datagram():
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("db.example.com", 80))
    except OSError: pass
def in_query(): query()
reader, writer = os.pipe()
def in_c(): greenify.run_in_thread(ctypes.CDLL(None).read, reader, ctypes.create_string_buffer(1), 1)
made = threads(in_look_up, in_connect, in_datagram, in_query, in_c)
report(made)
door.set()
os.write(writer, b"x")
for thread in made: thread.join()
"""


def test_calls_on_native_threads() -> None:
    found = waits(NATIVE)
    assert {name: wait["text"] for name, wait in found.items()} == {
        "in_look_up": "name look-up db.example.com",
        "in_connect": "name look-up db.example.com",
        "in_datagram": "name look-up db.example.com",
        "in_query": "native call __main__.query",
        "in_c": "native call ctypes.read",
    }


MODEL = """
from greenify import aio
import asyncio, greenify.io, socket
made = []
def task(function, *args):
    made.append(greenify.spawn(function, *args)); made[-1].name = function.__name__
channel, other = greenify.Channel(), greenify.Channel()
items, event, lock = greenify.Queue(), greenify.Event(), greenify.Lock()
lock.acquire()
server = greenify.io.TCPServer(("127.0.0.1", 0))
def sleeper(): greenify.sleep(50)
def in_channel(): channel.receive()
def in_channels(): greenify.select_channels(channel, (other, 1), timeout=50)
def in_queue(): items.get()
def in_event(): event.wait()
def in_lock(): lock.acquire()
def in_task(): made[0].join()
def in_group():
    with greenify.TaskGroup() as group:
        group.spawn(event.wait); group.spawn(event.wait)
def in_stream():
    stream = greenify.io.TCPClient(server.address)
    stream.read()
def in_coroutine(): aio.run(forever())
async def forever(): await asyncio.sleep(50)
for function in (sleeper, in_channel, in_channels, in_queue, in_event, in_lock, in_task, in_group,
                 in_stream, in_coroutine):
    task(function)
stream = server.accept()
while True:
    greenify.sleep(0.001)
    waits = {task.name: wait_of(task._greenlet) for task in made}
    if all(waits.values()) and waits["in_stream"].kind == "stream":
        break
print(json.dumps({name: {"kind": wait.kind, "text": wait.text, "until": wait.until,
    "line": wait.place.function} for name, wait in waits.items()}))
import os
sys.stdout.flush()
os._exit(0)
"""


def test_programming_model() -> None:
    found = waits(MODEL, greenify=False)
    kinds = {name: wait["kind"] for name, wait in found.items()}
    assert kinds == {
        "sleeper": "sleep",
        "in_channel": "Channel",
        "in_channels": "Channel",
        "in_queue": "Queue",
        "in_event": "Event",
        "in_lock": "Lock",
        "in_task": "join",
        "in_group": "TaskGroup",
        "in_stream": "stream",
        "in_coroutine": "coroutine",
    }
    assert {name: wait["line"] for name, wait in found.items()} == {name: name for name in found}
    assert found["in_task"]["text"] == "join sleeper"
    assert found["in_channel"]["text"].startswith("Channel.receive <string>:")
    assert found["in_channels"]["text"].startswith("select_channels of 2 <string>:")
    assert found["in_group"]["text"].endswith(" (2 tasks)")
    assert found["in_coroutine"]["text"] == "coroutine forever"


def test_who_runs_waits_for_nothing() -> None:
    found = run_python(
        """
        from greenlet import getcurrent
        from greenify.core import get_hub
        from greenify.inspect import wait_of
        print(wait_of(get_hub().main), wait_of(getcurrent()))
        """,
        check=True,
    )
    assert found.stdout.split() == ["None", "None"]


def test_every_describer_names_a_function_that_is_there() -> None:
    found = run_python(
        """
        import importlib, inspect
        from greenify.inspect.record import TABLE

        def names(code):
            yield code.co_name
            for constant in code.co_consts:
                if inspect.iscode(constant):
                    yield from names(constant)

        known = {}
        for module, name in TABLE:
            if module not in known:
                try:
                    source = inspect.getsource(importlib.import_module(module))
                except ImportError as exc:
                    assert exc.name == "exceptiongroup", exc
                    continue
                known[module] = set(names(compile(source, module, "exec")))
            if name not in known[module]:
                print(module, name)
        """,
        check=True,
        greenify=False,
    )
    assert found.stdout.splitlines() == []
