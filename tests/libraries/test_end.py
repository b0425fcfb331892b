"""The interpreter's end with clients that are open and wait, and children of processes that have some.

With real threads a daemon that waits in C simply ends with the process.
"""

from __future__ import annotations

import pytest

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode

needs("confluent_kafka")
needs("grpc")
needs("OpenSSL")
needs("zmq")

SILENT = """
    warnings.simplefilter("ignore", ResourceWarning)
"""
END = """
    print("end")
"""

ZMQ = """
    import zmq
    context = zmq.Context()
    sockets = [context.socket(kind) for kind in (zmq.PULL, zmq.PUSH, zmq.REP)]
    for number, socket_ in enumerate(sockets):
        socket_.linger = 0
        socket_.bind(f"inproc://{number}")
    Thread(sockets[0].recv)
    Thread(sockets[2].poll)
    poller = zmq.Poller()
    poller.register(sockets[2], zmq.POLLIN)
    settle()
"""

GRPC = """
    os.environ["GRPC_VERBOSITY"] = "ERROR"  # it tells of every fork
    import grpc
    from concurrent import futures
    identity = lambda data: data
    begun = queue.Queue()
    class Handlers(grpc.GenericRpcHandler):
        def service(self, details):
            name = details.method.rpartition("/")[2]
            if name == "echo":
                return grpc.unary_unary_rpc_method_handler(lambda request, _: request)
            return grpc.unary_stream_rpc_method_handler(self.for_ever)
        def for_ever(self, request, context):
            begun.put(request)
            while context.is_active():
                time.sleep(0.05)
                yield request
    def serve():
        server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Handlers()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, f"127.0.0.1:{port}"
    def echo(channel, data):
        return channel.unary_unary("/service/echo")(data, timeout=LONG)
"""

OPENSSL = """
    from OpenSSL import SSL
    ours, theirs = socket.socketpair()
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), ours)
    connection.set_connect_state()
    Thread(connection.do_handshake)
    assert theirs.recv(1)  # it waits for the answer
"""

KAFKA = """
    import confluent_kafka
    settings = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    consumer = confluent_kafka.Consumer({**settings, "group.id": "group"})
    consumer.subscribe(["topic"])
    producer = confluent_kafka.Producer(settings)
    producer.produce("topic", b"for nobody")
    polled = threading.Event()
    def poll():
        while True:
            consumer.poll(0.05)
            polled.set()
    Thread(poll)
    assert polled.wait(LONG)
"""

OPEN = {
    "zmq": ZMQ,
    "grpc": GRPC
    + """
    import subprocess, textwrap
    CLIENT = '''
    import grpc, sys, threading
    channel = grpc.insecure_channel(sys.argv[1])
    stream = channel.unary_stream("/service/stream")(b"y")
    assert next(stream) == b"y"
    got = threading.Event()
    def follow():
        for _ in stream:
            got.set()
    threading.Thread(target=follow, daemon=True).start()
    assert got.wait(20)
    print("client")
    '''
    launcher = ["-m", "greenify"] if PATCHED else []
    server, address = serve()
    command = [sys.executable, *launcher, "-c", textwrap.dedent(CLIENT), address]
    assert subprocess.run(command, stdout=-1, timeout=LONG).stdout == b"client\\n"
    """,
    "openssl": OPENSSL,
    "kafka": KAFKA,
}


@both_modes
@pytest.mark.parametrize("name", OPEN)
def test_the_end_with_open_clients(mode: Mode, name: str) -> None:
    assert check(SILENT + OPEN[name] + END, mode).endswith("end\n")


@both_modes
def test_fork_with_zmq(mode: Mode) -> None:
    """The child makes a context of its own; the parent's goes on."""
    check(
        ZMQ
        + """
    def exchange():
        with zmq.Context() as mine:
            with mine.socket(zmq.REP) as server, mine.socket(zmq.REQ) as client:
                server.bind("inproc://x")
                client.connect("inproc://x")
                answering = Thread(lambda: server.send(server.recv()[::-1]))
                client.send(b"abc")
                assert client.recv() == b"cba"
                answering.end()
    pid = os.fork()
    if not pid:
        try:
            exchange()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    exchange()
    client = context.socket(zmq.PUSH)
    client.connect("inproc://0")
    client.send(b"to the thread that waits")
    client.close(0)
        """,
        mode,
    )


@both_modes
def test_fork_with_grpc(mode: Mode) -> None:
    """The child runs another program, as `subprocess` has it; the parent's channel and server go on."""
    check(
        GRPC
        + """
    import subprocess
    server, address = serve()
    channel = grpc.insecure_channel(address)
    assert echo(channel, b"x") == b"x"
    code = f"import grpc; print(grpc.insecure_channel({address!r}).unary_unary('/service/echo')(b'child'))"
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    for child in children:
        assert child.communicate()[0] == b"b'child'\\n"
    assert echo(channel, b"y") == b"y"
    pid = os.fork()
    if not pid:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert echo(channel, b"z") == b"z"
    channel.close()
    server.stop(None).wait()
        """,
        mode,
    )
