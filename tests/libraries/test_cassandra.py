"""cassandra-driver, whose default event loop is libev's, in C.

Debian has no Cassandra: the server is a few messages of its protocol (version 4), enough for a session.
"""

from __future__ import annotations

import pytest

from tests.libraries.programs import check, needs
from tests.support import Mode

needs("cassandra")

READY = r"""
    import logging, uuid
    # The driver imports it where it is installed, and it warns then.
    sys.modules["eventlet"] = None
    from cassandra import OperationTimedOut
    from cassandra.cluster import Cluster, NoHostAvailable
    logging.disable(logging.CRITICAL)

    def text(value):
        data = value.encode()
        return struct.pack(">H", len(data)) + data

    def rows(columns, number=1):
        '''A RESULT of one row, or none: name -> (type, value).'''
        out = struct.pack(">iii", 2, 1, len(columns)) + text("system") + text("local")
        for name, (kind, _) in columns.items():
            out += text(name) + kind
        out += struct.pack(">i", number)
        for _, value in list(columns.values()) * number:
            out += struct.pack(">i", len(value)) + value
        return out

    VARCHAR, UUID, INET = b"\0\x0d", b"\0\x0c", b"\0\x10"
    NODE = {
        "key": (VARCHAR, b"local"), "cluster_name": (VARCHAR, b"test"), "data_center": (VARCHAR, b"dc"),
        "rack": (VARCHAR, b"rack"), "release_version": (VARCHAR, b"4.0.0"), "partitioner": (VARCHAR, b"none"),
        "host_id": (UUID, uuid.uuid4().bytes), "schema_version": (UUID, uuid.uuid4().bytes),
        "rpc_address": (INET, b"\x7f\0\0\1"), "broadcast_address": (INET, b"\x7f\0\0\1"),
    }
    asked = queue.Queue()
    go_on = threading.Event()

    def serve(sock):
        def answer(stream, opcode, body=b""):
            sock.sendall(struct.pack(">BBhBi", 0x84, 0, stream, opcode, len(body)) + body)
        def query(stream, statement):
            if "system.local" in statement:
                answer(stream, 8, rows(NODE))
            elif "system.peers" in statement:
                answer(stream, 8, rows(NODE, 0))
            elif statement == "wait":
                asked.put(stream)
                assert go_on.wait(LONG)
                answer(stream, 8, rows({"x": (VARCHAR, b"waited")}))
            elif statement == "never":
                asked.put(stream)
            else:
                answer(stream, 8, struct.pack(">i", 1))
        file = sock.makefile("rb")
        def header():
            try:
                return file.read(9)
            except ConnectionError:
                return b""
        while begin := header():
            _, _, stream, opcode, size = struct.unpack(">BBhBi", begin)
            body = file.read(size)
            if opcode == 5:
                supported = {"CQL_VERSION": ["3.4.5"], "COMPRESSION": []}
                lists = [
                    text(name) + struct.pack(">H", len(values)) + b"".join(map(text, values))
                    for name, values in supported.items()
                ]
                answer(stream, 6, struct.pack(">H", len(lists)) + b"".join(lists))
            elif opcode == 7:
                size = struct.unpack(">i", body[:4])[0]
                Thread(query, stream, body[4:4 + size].decode())
            else:
                answer(stream, 2)
        file.close()
        sock.close()

    def accept():
        while True:
            Thread(serve, server.accept()[0])

    server = socket.create_server(("127.0.0.1", 0))
    Thread(accept)
    if sys.argv[1] == "libev":
        from cassandra.io.libevreactor import LibevConnection as kind
    else:
        from cassandra.io.asyncioreactor import AsyncioConnection as kind

    def cluster(port, **more):
        return Cluster(
            ["127.0.0.1"], port=port, protocol_version=4, connection_class=kind,
            schema_metadata_enabled=False, token_metadata_enabled=False, **more,
        )
"""
END = """
    # Sockets are left to the collector.
    sys.stdout.flush()
    os._exit(0)
"""

every_way = pytest.mark.parametrize(
    ("mode", "reactor"),
    [
        pytest.param(mode, reactor, id=f"{reactor}-{'patched' if mode else 'plain'}")
        for reactor in ("libev", "asyncio")
        for mode in (False, "patch_all")
    ],
)


@every_way
def test_a_session(mode: Mode, reactor: str) -> None:
    check(
        READY
        + """
    made = cluster(server.getsockname()[1])
    session = made.connect()
    threads = [Thread(lambda: session.execute("wait").one().x) for _ in range(20)]
    for _ in threads:
        asked.get(timeout=LONG)
    go_on.set()
    assert [thread.end() for thread in threads] == ["waited"] * 20
    found = queue.Queue()
    session.execute_async("wait").add_callbacks(found.put, found.put)
    assert found.get(timeout=LONG)[0].x == "waited"
    def never():
        try:
            session.execute("never", timeout=0.2)
        except OperationTimedOut:
            return True
    assert ticks_during(never)
    made.shutdown()
        """
        + END,
        mode,
        reactor,
    )


@every_way
def test_a_server_that_says_nothing(mode: Mode, reactor: str) -> None:
    check(
        READY
        + """
    silent = socket.create_server(("127.0.0.1", 0))
    made = cluster(silent.getsockname()[1], connect_timeout=0.3, control_connection_timeout=0.3)
    assert ticks_during(outcome, made.connect).startswith("NoHostAvailable")
    made.shutdown()
        """
        + END,
        mode,
        reactor,
    )
