"""Time-outs of any size: what threads accept is waited for, cooperatively, and what they refuse is refused.

The kernel's and the interpreter's own limits differ from call to call (milliseconds in an int, nanoseconds in
63 bits, the last moment that a clock can tell), so each call is compared with what it does with real threads.
"""

from __future__ import annotations

import pytest

from tests.green.programs import same_output

_CALLS = {
    "clocks": """
        "sleep": time.sleep,
        "sigtimedwait": lambda t: signal.sigtimedwait([signal.SIGUSR1], t),
    """,
    "selecting": """
        "select": lambda t: select.select([reader], [], [], t),
        "select of two": lambda t: select.select([reader], [], [other], t),
        "poll": lambda t: polling(select.poll()).poll(t),
        "epoll": lambda t: polling(select.epoll()).poll(t),
        "SelectSelector": lambda t: polling(selectors.SelectSelector()).select(t),
        "PollSelector": lambda t: polling(selectors.PollSelector()).select(t),
        "EpollSelector": lambda t: polling(selectors.EpollSelector()).select(t),
    """,
    "locks": """
        "lock": lambda t: taken(threading.Lock()).acquire(timeout=t),
        "rlock": lambda t: taken_elsewhere(threading.RLock()).acquire(timeout=t),
        "semaphore": lambda t: threading.Semaphore(0).acquire(timeout=t),
        "event": lambda t: threading.Event().wait(t),
        "condition": lambda t: taken(threading.Condition()).wait(t),
        "wait_for": lambda t: taken(threading.Condition()).wait_for(lambda: False, t),
        "barrier": lambda t: threading.Barrier(2).wait(t),
        "join": lambda t: sleeper.join(t),
    """,
    "queues": """
        "get": lambda t: queue.Queue().get(timeout=t),
        "put": lambda t: full(queue.Queue(1)).put(1, timeout=t),
        "simple": lambda t: _queue.SimpleQueue().get(timeout=t),
        "result": lambda t: futures.Future().result(t),
        "futures": lambda t: bool(futures.wait([futures.Future()], t)),
    """,
    "sockets": """
        "recv": lambda t: limited(t).recv(1),
        "recv_into": lambda t: limited(t).recv_into(bytearray(1)),
        "recvmsg": lambda t: limited(t).recvmsg(1),
        "accept": lambda t: limited(t, listener).accept(),
        "sendall": lambda t: limited(t).sendall(bytes(2**24)),
    """,
    "processes": """
        "child": lambda t: child.wait(t),
        "connection": lambda t: connection.poll(t),
        "semaphore": lambda t: multiprocessing.Semaphore(0).acquire(True, t),
        "lock": lambda t: taken(multiprocessing.Lock()).acquire(True, t),
        "event": lambda t: multiprocessing.Event().wait(t),
    """,
}

_PROGRAM = """
    import _queue, concurrent.futures as futures, math, multiprocessing, selectors, signal, subprocess

    MAX = threading.TIMEOUT_MAX
    EDGE = 9223372036.854774  # the next float is refused
    # They calculate deadlines: what comes out near the edge is chance, and NaN lets them try again for ever.
    LOOPS = ("get", "put", "wait_for", "barrier", "semaphore")
    TIMES = [2**32 + 1, 1e9, MAX - 10**8, MAX, MAX + 0.5, EDGE, MAX + 1, int(MAX) + 1]
    TIMES += [2147483.647, 2147483.6471, 1e19, 1e30, 2**63, 2**64, float("inf"), float("nan")]
    TIMES += [-0.5, -1e30, -1e-10, 0]

    def polling(poller):
        poller.register(reader, select.POLLIN if hasattr(poller, "poll") else selectors.EVENT_READ)
        return poller

    def full(queue):
        queue.put(1)
        return queue

    def limited(timeout, sock=None):
        sock = sock or left
        sock.settimeout(timeout)
        return sock

    reader, writer = os.pipe()
    other, _ = os.pipe()
    left, right = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    connection, _far_end = multiprocessing.Pipe()
    child = subprocess.Popen(["sleep", "1000"])
    sleeper = Thread(threading.Event().wait)

    class Woken(Exception):
        pass

    interruptible = []

    def raise_woken(*_):
        if interruptible:
            interruptible.clear()
            raise Woken

    signal.signal(signal.SIGALRM, raise_woken)

    def interrupt(left):
        # It only runs if the main thread waits and lets it.  More than once: with threads, a signal may come
        # just before the call waits in the kernel, which it does not end then.
        while not left.wait(0.05):
            os.kill(os.getpid(), signal.SIGALRM)

    def waits(call, seconds):
        left = threading.Event()
        try:
            interruptible.append(True)
            interrupter = Thread(interrupt, left)
            try:
                result = call(seconds)
                return f"returns {result!r}"
            finally:
                interruptible.clear()
                left.set()
                interrupter.end()
        except Woken:
            return "waits"
        except Exception as exc:
            return f"{type(exc).__name__}: {exc}"

    for name, call in {CALLS}.items():
        for seconds in TIMES:
            if name in LOOPS and (math.isnan(seconds) or seconds == EDGE):
                continue
            print(name, seconds, waits(call, seconds), flush=True)
    child.kill()
    child.wait()
"""


@pytest.mark.parametrize("calls", _CALLS.values(), ids=list(_CALLS))
def test_any_size(calls: str) -> None:
    same_output(_PROGRAM.replace("CALLS", calls.strip()), timeout=120)
