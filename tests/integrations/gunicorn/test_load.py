"""The worker under wrk's load, with slow clients beside it, and the memory of idle connections."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integrations.gunicorn.servers import GREENIFY, all_of, needs_gunicorn, serving

pytestmark = needs_gunicorn

PROGRAM = """
import os
def app(environ, start_response):
    body = b"x" * (3_000_000 if environ["PATH_INFO"] == "/large" else 200)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
REQUEST = b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: apt-get install wrk")
def test_wrk_and_slow_clients(tmp_path: Path) -> None:
    """All that wrk asks is answered while 30 clients send byte by byte, and 10 do not read their answers."""
    port = free_port()
    bind = f"127.0.0.1:{port}"
    options = ("-k", GREENIFY, "--keep-alive", "60", "--worker-connections", "200")
    over = threading.Event()
    answers: list[bytes] = []

    def slow(client: socket.socket) -> None:
        # The last byte comes when wrk has ended; the others while it is at work.
        for byte in REQUEST[:-1]:
            client.sendall(bytes([byte]))
            over.wait(0.01)
        over.wait()
        client.sendall(REQUEST[-1:])
        answers.append(all_of(client))

    with serving(tmp_path, *options, program=PROGRAM, bind=bind) as server, ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            for _ in range(40)
        ]
        for client in clients[30:]:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        threads = [threading.Thread(target=slow, args=(client,)) for client in clients[:30]]
        for thread in threads:
            thread.start()
        done = subprocess.run(
            ["wrk", "-t1", "-c50", "-d2s", "--timeout", "60s", f"http://{bind}/"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        over.set()
        for thread in threads:
            thread.join()
        assert done.returncode == 0, done.stderr
        assert int(re.findall(r"(\d+) requests in", done.stdout)[0]) > 50, done.stdout
        assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
        assert len(answers) == 30
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        # Those who have not read find everything.
        assert {len(all_of(client).partition(b"\r\n\r\n")[2]) for client in clients[30:]} == {
            3_000_000
        }
        assert server.stop() == 0


def test_the_memory_of_idle_connections(tmp_path: Path) -> None:
    """One that is still waited for in a thread costs 14 KiB; 500 of them may not cost three times that."""
    options = ("-k", GREENIFY, "--keep-alive", "600", "--worker-connections", "1010")
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with serving(tmp_path, *options, program=PROGRAM) as server, ExitStack() as stack:
        children = f"/proc/{server.process.pid}/task/{server.process.pid}/children"
        (worker,) = Path(children).read_text().split()

        def memory() -> int:
            found = re.search(r"Pss:\s+(\d+) kB", Path(f"/proc/{worker}/smaps_rollup").read_text())
            assert found is not None
            return int(found[1])

        def connect(number: int) -> None:
            for _ in range(number):
                client = stack.enter_context(server.connect())
                client.sendall(get)
                data = b""
                while not data.endswith(b"x" * 200):
                    data += client.recv(4096)

        connect(100)
        before = memory()
        connect(500)
        each = (memory() - before) / 500
        assert each < 42, f"{each:.0f} KiB for each connection"
        assert server.stop() == 0
