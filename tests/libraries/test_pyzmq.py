"""pyzmq: recv, send, poll, proxies and term, with real threads and as green ones; a Jupyter kernel."""

from __future__ import annotations

import sys

import pytest

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode, run_python, running_python

needs("zmq")

READY = """
    import zmq
    context = zmq.Context()

    def pair(kinds=(zmq.PAIR, zmq.PAIR), where="tcp://127.0.0.1"):
        one, other = map(context.socket, kinds)
        if where == "tcp://127.0.0.1":
            port = one.bind_to_random_port(where)
            other.connect(f"{where}:{port}")
        else:
            one.bind(where)
            other.connect(where)
        return one, other
"""


@both_modes
class TestTransfers:
    @pytest.mark.parametrize("where", ["tcp://127.0.0.1", "inproc://x", "ipc"])
    def test_requests(self, mode: Mode, where: str, tmp_path: object) -> None:
        check(
            READY
            + """
    where = sys.argv[1]
    server, client = pair((zmq.REP, zmq.REQ), where)
    def serve():
        for _ in range(50):
            server.send(server.recv()[::-1])
    thread = Thread(serve)
    for number in range(50):
        client.send(b"abc%d" % number)
        assert client.recv() == (b"abc%d" % number)[::-1]
    thread.end()
    server.close(); client.close(); context.term()
            """,
            mode,
            f"ipc://{tmp_path}/socket" if where == "ipc" else where,
        )

    def test_who_waits_lets_the_others_run(self, mode: Mode) -> None:
        check(
            READY
            + """
    for where in ("tcp://127.0.0.1", "inproc://y"):
        one, other = pair(where=where)
        def answer():
            time.sleep(0.1)
            other.send_multipart([b"a", b"b"])
        thread = Thread(answer)
        assert ticks_during(one.recv_multipart) == [b"a", b"b"]
        thread.end()
        thread = Thread(answer)
        buffer = bytearray(10)
        assert [bytes(frame) for frame in ticks_during(one.recv_multipart, copy=False)] == [b"a", b"b"]
        thread.end()
        if hasattr(one, "recv_into"):
            thread = Thread(answer)
            assert ticks_during(one.recv_into, buffer) == 1 and buffer[:1] == b"a"
            assert one.recv_into(buffer) == 1
            thread.end()
        one.close(); other.close()
    context.term()
            """,
            mode,
        )

    def test_a_full_queue(self, mode: Mode) -> None:
        check(
            READY
            + """
    one, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    one.sndhwm = other.rcvhwm = 2
    other.bind("inproc://full")
    one.connect("inproc://full")
    def send():
        for number in range(200):
            one.send(b"%d" % number)
    thread = Thread(send)
    settle()
    assert [int(other.recv()) for _ in range(200)] == list(range(200))
    thread.end()
    # A router that has to reach its peer: it counts as writable all the time.
    router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    router.router_mandatory = True
    router.sndhwm = dealer.rcvhwm = 2
    dealer.routing_id = b"peer"
    router.bind("inproc://router")
    dealer.connect("inproc://router")
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"peer", b"hello"]
    def route():
        for number in range(100):
            router.send_multipart([b"peer", b"%d" % number])
    thread = Thread(route)
    settle()
    assert [int(dealer.recv()) for _ in range(100)] == list(range(100))
    thread.end()
    context.destroy()
            """,
            mode,
        )

    def test_time_outs(self, mode: Mode) -> None:
        check(
            READY
            + """
    one, other = pair((zmq.PULL, zmq.PUSH))
    one.rcvtimeo = 50
    start = time.monotonic()
    try:
        ticks_during(one.recv)
        assert False
    except zmq.Again as exc:
        assert exc.errno == errno.EAGAIN
    assert 0.045 <= time.monotonic() - start < 5
    alone = context.socket(zmq.PUSH)
    alone.sndtimeo = 50
    assert outcome(ticks_during, alone.send, b"x").startswith("Again: ")
    one.rcvtimeo = 0
    assert outcome(one.recv).startswith("Again: ")
    assert outcome(one.recv, zmq.NOBLOCK) == outcome(one.recv, flags=zmq.NOBLOCK)
    one.rcvtimeo = -1
    other.send(b"x")
    assert one.recv() == b"x"
    assert "not accomplish" in outcome(one.send, b"x") or "not supported" in outcome(one.send, b"x")
    context.destroy(linger=0)
            """,
            mode,
        )

    def test_tracked_and_other_kinds_of_messages(self, mode: Mode) -> None:
        check(
            READY
            + """
    one, other = pair()
    big = os.urandom(1 << 20)
    tracker = other.send(big, copy=False, track=True)
    frame = one.recv(copy=False, track=True)
    assert bytes(frame) == big
    tracker.wait(LONG)
    other.send_json({"a": 1}); assert one.recv_json() == {"a": 1}
    other.send_pyobj((1, 2)); assert one.recv_pyobj() == (1, 2)
    other.send_string("ü"); assert one.recv_string() == "ü"
    assert one.__class__.recv.__name__ == "recv" and one.send.__doc__
    context.destroy(linger=0)
            """,
            mode,
        )

    def test_many_threads(self, mode: Mode) -> None:
        check(
            READY
            + """
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    frontend.bind("inproc://front"); backend.bind("inproc://back")
    def work():
        with context.socket(zmq.REP) as socket:
            socket.connect("inproc://back")
            while (question := socket.recv()) != b"end":
                time.sleep(0.01)
                socket.send(question.upper())
            socket.send(b"")
    def ask(number):
        with context.socket(zmq.REQ) as socket:
            socket.connect("inproc://front")
            for turn in range(5):
                socket.send(b"q%d-%d" % (number, turn))
                assert socket.recv() == b"Q%d-%d" % (number, turn)
    def pass_on():
        try:
            zmq.proxy(frontend, backend)
        except zmq.ContextTerminated:
            frontend.close(0); backend.close(0)
            return "ended"
    device = Thread(pass_on)
    workers = [Thread(work) for _ in range(10)]
    for asking in [Thread(ask, number) for number in range(20)]:
        asking.end()
    for _ in workers:
        with context.socket(zmq.REQ) as socket:
            socket.connect("inproc://front")
            socket.send(b"end")
            socket.recv()
    for each in workers:
        each.end()
    ticks_during(lambda: time.sleep(0.05))
    context.term()
    assert device.end() == "ended"
            """,
            mode,
        )


@both_modes
class TestPolling:
    def test_sockets_and_descriptors(self, mode: Mode) -> None:
        check(
            READY
            + """
    one, other = pair()
    left, right = socket.socketpair()
    poller = zmq.Poller()
    poller.register(one, zmq.POLLIN)
    poller.register(left, zmq.POLLIN)
    assert ticks_during(poller.poll, 50) == []
    def later(function, *args):
        time.sleep(0.05)
        function(*args)
    thread = Thread(later, right.send, b"x")
    assert ticks_during(poller.poll) == [(left.fileno(), zmq.POLLIN)]
    thread.end()
    left.recv(1)
    thread = Thread(later, other.send, b"x")
    assert ticks_during(poller.poll, 20_000) == [(one, zmq.POLLIN)]
    thread.end()
    assert one.recv() == b"x"
    assert one.poll(10) == 0
    assert zmq.select([one], [one], [], 5)[1] == [one]
    thread = Thread(later, other.send, b"y")
    assert ticks_during(one.poll, None) == zmq.POLLIN
    thread.end()
    assert zmq.zmq_poll([], 50) == []
    assert "TypeError" in outcome(zmq.zmq_poll, [("x", 1)], 10)
    left.close(); right.close()
    context.destroy(linger=0)
            """,
            mode,
        )

    def test_the_monitor_and_asyncio(self, mode: Mode) -> None:
        check(
            READY
            + """
    import asyncio, zmq.asyncio
    from zmq.utils.monitor import recv_monitor_message
    one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    monitor = one.get_monitor_socket()
    port = one.bind_to_random_port("tcp://127.0.0.1")
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_LISTENING
    other.connect(f"tcp://127.0.0.1:{port}")
    while ticks_during(recv_monitor_message, monitor)["event"] != zmq.EVENT_HANDSHAKE_SUCCEEDED: pass
    one.disable_monitor()
    context.destroy(linger=0)

    async def main():
        context = zmq.asyncio.Context()
        server, client = context.socket(zmq.REP), context.socket(zmq.REQ)
        port = server.bind_to_random_port("tcp://127.0.0.1")
        client.connect(f"tcp://127.0.0.1:{port}")
        async def serve():
            for _ in range(10):
                await server.send(await server.recv())
        task = asyncio.create_task(serve())
        for number in range(10):
            await client.send(b"%d" % number)
            assert await client.recv() == b"%d" % number
        await task
        context.destroy(linger=0)
    asyncio.run(main())
            """.replace(
                "while ticks_during(recv_monitor_message, monitor)",
                "while recv_monitor_message(monitor)",
            ),
            mode,
        )


@both_modes
class TestProxies:
    def test_steered(self, mode: Mode) -> None:
        check(
            READY
            + """
    frontend, backend, capture, control = map(
        context.socket, (zmq.PULL, zmq.PUSH, zmq.PUB, zmq.PAIR))
    frontend.bind("inproc://a"); backend.bind("inproc://b")
    capture.bind("inproc://c"); control.bind("inproc://d")
    source, sink, spy, wheel = map(context.socket, (zmq.PUSH, zmq.PULL, zmq.SUB, zmq.PAIR))
    source.connect("inproc://a"); sink.connect("inproc://b")
    spy.connect("inproc://c"); wheel.connect("inproc://d")
    spy.subscribe(b"")
    time.sleep(0.05)
    thread = Thread(zmq.proxy_steerable, frontend, backend, capture, control)
    for number in range(300):
        source.send_multipart([b"%d" % number, b"x"])
    for number in range(300):
        assert sink.recv_multipart() == [b"%d" % number, b"x"]
        assert spy.recv_multipart() == [b"%d" % number, b"x"]
    wheel.send(b"STATISTICS")
    numbers = [struct.unpack("=Q", part)[0] for part in wheel.recv_multipart()]
    assert len(numbers) == 8 and sum(numbers) > 0, numbers
    wheel.send(b"TERMINATE")
    assert thread.end() == 0
    context.destroy(linger=0)
            """,
            mode,
        )

    def test_monitored(self, mode: Mode) -> None:
        check(
            READY
            + """
    from zmq.devices import monitored_queue
    front, back, monitor = map(context.socket, (zmq.ROUTER, zmq.DEALER, zmq.PUB))
    front.bind("inproc://a"); back.bind("inproc://b"); monitor.bind("inproc://c")
    client, server, spy = map(context.socket, (zmq.REQ, zmq.REP, zmq.SUB))
    client.connect("inproc://a"); server.connect("inproc://b"); spy.connect("inproc://c")
    spy.subscribe(b"")
    time.sleep(0.05)
    def run():
        try:
            monitored_queue(front, back, monitor, b"in", b"out")
        except zmq.ContextTerminated:
            for each in (front, back, monitor): each.close(0)
            return "ended"
    thread = Thread(run)
    client.send(b"question")
    assert server.recv() == b"question"
    server.send(b"answer")
    assert client.recv() == b"answer"
    first, second = spy.recv_multipart(), spy.recv_multipart()
    assert first[0] == b"in" and first[-1] == b"question"
    assert second[0] == b"out" and second[-1] == b"answer"
    for each in (client, server, spy): each.close(0)
    context.term()
    assert thread.end() == "ended"
            """,
            mode,
        )


@both_modes
def test_the_end_of_a_context(mode: Mode) -> None:
    check(
        READY
        + """
    waiting = context.socket(zmq.PULL)
    waiting.bind("inproc://x")
    def wait():
        error = outcome(waiting.recv)
        time.sleep(0.1)
        waiting.close()
        return error
    thread = Thread(wait)
    settle()
    ticks_during(context.term)
    assert thread.end().startswith("ContextTerminated: ")
    assert context.closed
    context.term()
    """,
        mode,
    )


@both_modes
def test_ctrl_c(mode: Mode) -> None:
    with running_python(
        """
        import signal, zmq
        signal.signal(signal.SIGINT, signal.default_int_handler)
        context = zmq.Context()
        one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        one.bind("inproc://x"); other.connect("inproc://x")
        pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        pull.bind("inproc://y"); push.bind("inproc://z")
        for wait in (one.recv, one.poll, lambda: zmq.proxy(pull, push)):
            print("waiting", flush=True)
            try:
                wait()
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        other.send(b"x")
        print(one.recv().decode(), flush=True)
        context.destroy(linger=0)
        """,
        greenify=mode,
    ) as child:
        import signal

        from tests.support import wait_until_asleep

        for _ in range(3):
            assert child.readline() == "waiting"
            wait_until_asleep(child.pid)
            child.process.send_signal(signal.SIGINT)
            assert child.readline() == "interrupted"
        assert child.readline() == "x"
        assert child.wait() == 0


def test_kill_and_close() -> None:
    run_python(
        """
        import greenify, threading, time, zmq
        greenify.patch_all()
        context = zmq.Context()
        one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        one.bind("inproc://x"); other.connect("inproc://x")
        task = greenify.spawn(one.recv)
        greenify.sleep(0)
        task.kill()
        other.send(b"kept")
        assert one.recv() == b"kept"
        # Who waits learns that the socket has been closed.
        task = greenify.spawn(one.recv)
        greenify.sleep(0)
        one.close()
        task.join(10)
        assert task.exception.errno == zmq.ENOTSOCK
        # One sends on the socket on which another one waits: news that the first takes reaches that one.
        a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        a.bind("inproc://y"); b.connect("inproc://y")
        task = greenify.spawn(a.recv)
        greenify.sleep(0)
        b.send(b"news")
        assert a.get(zmq.EVENTS) & zmq.POLLIN
        task.join(10)
        assert task.result == b"news"
        context.destroy(linger=0)
        greenify.restore()
        assert zmq.Socket.recv is zmq.backend.Socket.recv
        """,
        greenify=False,
        check=True,
    )


KERNEL = """
import sys
from jupyter_client.manager import KernelManager
from jupyter_client.kernelspec import KernelSpec

manager = KernelManager()
options = sys.argv[1:]
manager._kernel_spec = KernelSpec(
    argv=[sys.executable, *options, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    language="python",
)
manager.start_kernel()
client = manager.client()
client.start_channels()
try:
    client.wait_for_ready(timeout=60)
    code = '''
import threading, time, sys
found = []
def work(number):
    time.sleep(0.05)
    found.append(number)
threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(found), "greenify" in sys.modules)
'''
    output = []
    def hook(message):
        if message["msg_type"] in ("stream", "error"):
            output.append(message["content"].get("text") or message["content"]["evalue"])
    reply = client.execute_interactive(code, timeout=60, output_hook=hook)
    print(reply["content"]["status"], "".join(output).strip())
    client.execute_interactive("import time; started = time.monotonic()", timeout=60, output_hook=hook)
    # What it prints has come when it runs; before, the kernel ignores an interrupt.
    client.execute("print('running'); time.sleep(100)")
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["msg_type"] == "stream" and "running" in message["content"]["text"]:
            break
    manager.interrupt_kernel()
    print(client.get_shell_msg(timeout=60)["content"]["ename"])
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


@pytest.mark.parametrize("options", [(), ("-m", "greenify")], ids=["plain", "patched"])
def test_a_jupyter_kernel(options: tuple[str, ...]) -> None:
    needs("jupyter_client")
    needs("ipykernel")
    result = run_python(KERNEL, *options, greenify=False, timeout=120)
    assert result.stdout.splitlines() == [
        f"ok [0, 1, 2, 3, 4] {bool(options)}",
        "KeyboardInterrupt",
    ], (result.stdout, result.stderr[-3000:], sys.version)
