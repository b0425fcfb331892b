"""The worker's own part: when it patches, how many connections it has, how long, and how it ends."""

from __future__ import annotations

import importlib.metadata
import re
import resource
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from greenify.inspect.asking import ask
from greenify.inspect.report import records
from tests.integrations.gunicorn.servers import (
    GREENIFY,
    PROGRAM,
    TIMEOUT,
    all_of,
    needs_gunicorn,
    one_answer,
    serving,
)

pytestmark = needs_gunicorn

OURS = ("-k", GREENIFY)
GET = b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n"


class TestPatch:
    def test_before_the_application_is_imported(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS) as server:
            assert server.ask("/patched") == "True"
            assert "greenify:" not in server.log

    @pytest.mark.skipif(
        not importlib.metadata.entry_points(group="gunicorn.workers", name="greenify"),
        reason="greenify was installed before it had this entry point: pip install --editable .",
    )
    def test_by_its_entry_point(self, tmp_path: Path) -> None:
        with serving(tmp_path, "-k", "egg:greenify#greenify") as server:
            assert server.ask("/patched") == "True"

    @pytest.mark.parametrize("frozen", [False, True])
    def test_preload_says_that_it_was_late(self, tmp_path: Path, frozen: bool) -> None:
        # Some freeze in the master, for memory that its workers share.
        (tmp_path / "gunicorn.conf.py").write_text(
            "def when_ready(server):\n    import gc; gc.freeze()\n" if frozen else ""
        )
        program = PROGRAM + "\nfrom time import sleep\n"
        with serving(tmp_path, *OURS, "--preload", program=program) as server:
            assert server.ask("/patched") == "False"
            (count,) = server.until(r"--preload has imported .*; (\d+) references")
            assert int(count) > 0
            with ThreadPoolExecutor(20) as pool:
                assert set(pool.map(server.ask, ["/meet"] * 20)) == {"met"}

    def test_preload_names_what_is_out_of_reach(self, tmp_path: Path) -> None:
        # Only C code holds the function.
        program = PROGRAM + "\npauses = map(time.sleep, [1])\n"
        with serving(tmp_path, *OURS, "--preload", program=program) as server:
            (line,) = server.until(r"\[WARNING\] greenify: .*")
            assert "stay native" in line
            assert "leave --preload out" in line
            assert "time.sleep, inside <builtins.map" in line

    def test_a_program_that_has_patched_is_in_time(self, tmp_path: Path) -> None:
        conf = tmp_path / "gunicorn.conf.py"
        conf.write_text("import greenify\ngreenify.patch_all()\n")
        with serving(tmp_path, *OURS, "--preload") as server:
            assert server.ask("/patched") == "True"
            assert "--preload has" not in server.log


def test_the_environment_has_it_watched_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where its socket lies, too.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    env = {"GREENIFY_WATCH": "0.1", "GREENIFY_INSPECT": "1"}
    with serving(tmp_path, *OURS, env=env) as server:
        pid = int(server.ask("/pid"))
        with server.connect() as client:
            client.sendall(GET.replace(b"/pid", b"/block-politely"))
            ((thread, place),) = server.until(
                r"(\S+) \(_serve\) has kept the loop .*, at (\S+) in "
            )
            assert place.startswith(str(tmp_path / "program.py"))
            # The loop is blocked, and the process answers.
            rows = records(ask(pid, "snapshot"))
            (row,) = [row for row in rows if row["name"] == f"{thread} (_serve)"]
            assert row["what"].endswith("(block_politely)")


class TestThreads:
    def test_each_connection_has_one(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS) as server, ThreadPoolExecutor(20) as pool:
            assert set(pool.map(server.ask, ["/meet"] * 20)) == {"met"}

    def test_one_that_computes_lets_the_others_run(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS) as server, ThreadPoolExecutor(1) as pool:
            computed = pool.submit(server.ask, "/compute")
            server.until("somebody computes")
            assert server.ask("/open") == "opened"
            assert computed.result() == "computed"

    def test_worker_connections_is_the_bound(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--worker-connections", "3") as server:
            with ThreadPoolExecutor(12) as pool:
                list(pool.map(server.ask, ["/count"] * 12))
            assert server.ask("/count") == "3"

    def test_the_bound_is_one_for_all_listeners(self, tmp_path: Path) -> None:
        options = ("--bind", "unix:other", "--worker-connections", "1", "--keep-alive", "600")
        with serving(tmp_path, *OURS, *options) as server:
            for path in ("socket", "other", "socket", "other"):
                with server.connect(path) as client:
                    client.sendall(GET)
                    assert one_answer(client)[1].isdigit()

    def test_an_error_is_the_request_s_own(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS) as server:
            assert "Internal Server Error" in server.ask("/fail")
            server.until("ValueError: on purpose")
            assert server.ask("/still") == "/still"


@pytest.mark.skipif(
    find_spec("simple_websocket") is None,
    reason="needs simple-websocket: pip install simple-websocket",
)
def test_web_sockets(tmp_path: Path) -> None:
    import simple_websocket

    program = """
import threading
from simple_websocket import Server
barrier = threading.Barrier(10)

def app(environ, start_response):
    server = Server(environ)
    text = server.receive()
    barrier.wait(60)
    server.send(text * 2)
    server.close()
    raise StopIteration  # as Flask-Sock does: the connection is not HTTP's any more
"""
    with (
        serving(tmp_path, *OURS, program=program, bind="127.0.0.1:0") as server,
        ExitStack() as stack,
    ):
        (port,) = server.until(r"http://127\.0\.0\.1:(\d+)")
        clients = [simple_websocket.Client(f"ws://127.0.0.1:{port}/") for _ in range(10)]
        for client in clients:
            stack.callback(client.sock.close)
        for number, client in enumerate(clients):
            client.send(f"{number} ")
        assert [client.receive(TIMEOUT) for client in clients] == [f"{n} {n} " for n in range(10)]
        assert server.stop() == 0


class TestKeepAlive:
    def test_a_connection_serves_several_requests_and_is_closed(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--keep-alive", "1") as server, server.connect() as client:
            for _ in range(3):
                client.sendall(GET)
                assert one_answer(client)[1].isdigit()
            assert client.recv(1) == b""

    def test_none(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--keep-alive", "0") as server, server.connect() as client:
            client.sendall(GET)
            assert b"Connection: close" in all_of(client)

    def test_a_thousand_idle_connections(self, tmp_path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 1200:
            pytest.skip(f"needs 1200 descriptors, the limit is {hard}: ulimit -n 1200")
        wanted = soft if soft == resource.RLIM_INFINITY else max(soft, 1200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        try:
            options = ("--keep-alive", "600", "--worker-connections", "1010")
            with serving(tmp_path, *OURS, *options) as server, ExitStack() as stack:
                clients = [stack.enter_context(server.connect()) for _ in range(1000)]
                for client in clients:
                    client.sendall(GET)
                pids = {one_answer(client)[1] for client in clients}
                assert len(pids) == 1
                assert server.ask("/one-more") == "/one-more"
                # All of them are still there.
                for client in clients:
                    client.sendall(GET)
                assert {one_answer(client)[1] for client in clients} == pids
                assert server.stop() == 0
                assert [client.recv(1) for client in clients] == [b""] * 1000
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class TestSlowClients:
    def test_one_that_sends_a_byte_at_a_time(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--keep-alive", "1") as server, server.connect() as client:
            for byte in GET:
                client.sendall(bytes([byte]))
                time.sleep(0.05)  # longer than keep-alive in all
            assert one_answer(client)[1].isdigit()

    @pytest.mark.parametrize("kind", [b"Content-Length: 6", b"Transfer-Encoding: chunked"])
    def test_one_that_takes_longer_for_a_body_than_the_time_out(
        self, tmp_path: Path, kind: bytes
    ) -> None:
        body = b"abcdef" if kind.startswith(b"C") else b"6\r\nabcdef\r\n0\r\n\r\n"
        options = ("--timeout", "1", "--keep-alive", "1")
        with serving(tmp_path, *OURS, *options) as server, server.connect() as client:
            client.sendall(b"POST /read HTTP/1.1\r\nHost: a\r\n" + kind + b"\r\n\r\n")
            for byte in body:
                client.sendall(bytes([byte]))
                time.sleep(2.4 / len(body))
            assert one_answer(client)[1] == b"b'abcdef'"
            assert "WORKER TIMEOUT" not in server.log

    def test_one_that_says_nothing_is_closed(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--timeout", "2") as server, server.connect() as client:
            client.sendall(b"GET / HT")
            assert client.recv(1) == b""
            assert server.ask("/others") == "/others"
            assert "WORKER TIMEOUT" not in server.log

    def test_one_that_never_reads(self, tmp_path: Path) -> None:
        with (
            serving(tmp_path, *OURS, "--graceful-timeout", "1") as server,
            server.connect() as client,
        ):
            client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1, socket.MSG_PEEK)
            assert server.ask("/others") == "/others"
            # By the worker itself or by the master, which has the same patience.
            assert server.stop() == 0


class TestTimeout:
    def test_a_worker_that_is_blocked_is_killed_and_says_by_whom(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--timeout", "4") as server:
            with server.connect() as client:
                client.sendall(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
                server.until("WORKER TIMEOUT")
                told = server.log.partition("WORKER TIMEOUT")[0]
                assert re.search(r'File ".*program.py", line \d+ in block_all', told)
                server.until("Booting worker", 2)
            assert server.ask("/again") == "/again"

    def test_who_keeps_it_is_told_before(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--timeout", "2") as server, server.connect() as client:
            client.sendall(b"GET /block-politely HTTP/1.1\r\nHost: a\r\n\r\n")
            server.until("WORKER TIMEOUT")
            told = server.log.partition("WORKER TIMEOUT")[0]
            assert "greenify: the master will kill this worker (pid:" in told
            assert re.search(r"has kept the loop for .* and goes on, at .* in block_politely", told)
            assert "What to do: " in told

    def test_one_that_waits_or_computes_is_not(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--timeout", "2") as server, ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(server.ask, path) for path in ("/wait", "/compute")]
            server.until("somebody waits")
            server.until("somebody computes")
            time.sleep(3)
            assert server.ask("/open") == "opened"
            assert [answer.result() for answer in answers] == ["went on", "computed"]
            assert "WORKER TIMEOUT" not in server.log


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
    def test_requests_that_run_are_answered(self, tmp_path: Path, number: int) -> None:
        with serving(tmp_path, *OURS) as server, ThreadPoolExecutor(1) as pool:
            pid = server.ask("/pid")
            with server.connect() as client, server.connect() as idle:
                idle.sendall(GET)
                one_answer(idle)
                client.sendall(b"GET /read HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
                client.sendall(b"c")
                answer = pool.submit(one_answer, client)
                server.process.send_signal(number)
                assert idle.recv(1) == b""
                client.sendall(b"d")
                body = answer.result()[1]
                assert body == b"b'abcd'"
                assert client.recv(1) == b""
            if number == signal.SIGTERM:
                assert server.process.wait(TIMEOUT) == 0
            else:
                server.until("Booting worker", 2)
                assert server.ask("/pid") != pid

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["INT", "QUIT"])
    def test_at_once(self, tmp_path: Path, number: int) -> None:
        with serving(tmp_path, *OURS) as server, server.connect() as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            server.until("somebody waits")
            assert server.stop(number) == 0
            assert all_of(client) == b""

    def test_max_requests(self, tmp_path: Path) -> None:
        options = ("--max-requests", "3", "--max-requests-jitter", "2")
        with serving(tmp_path, *OURS, *options) as server:
            pids = [server.ask("/pid") for _ in range(20)]
            served = [pids.count(pid) for pid in dict.fromkeys(pids)]
            # The last one has not come to its end, and one that ends may accept a request more.
            assert len(served) >= 3
            assert all(count >= 3 for count in served[:-1])

    def test_a_new_master(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS) as server:
            pid = server.ask("/pid")
            server.process.send_signal(signal.SIGUSR2)
            server.until("Booting worker", 2)
            assert server.stop() == 0
            deadline = time.monotonic() + TIMEOUT
            while (now := server.ask("/pid")) == pid:
                assert time.monotonic() < deadline
            assert now.isdigit()
            assert server.ask("/patched") == "True"

    def test_reload(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS, "--reload") as server:
            assert server.ask("/new") == "/new"
            program = PROGRAM.replace("return path", "return 'changed'")
            (tmp_path / "program.py").write_text(program)
            server.until("Booting worker", 2)
            assert server.ask("/new") == "changed"

    def test_of_the_master_ends_the_workers(self, tmp_path: Path) -> None:
        with serving(tmp_path, *OURS) as server:
            pid = server.ask("/pid")
            server.process.kill()
            server.process.wait()
            server.until("Parent changed, shutting down")
            deadline = time.monotonic() + TIMEOUT
            while (
                Path("/proc", pid, "cmdline").exists()
                and Path("/proc", pid, "cmdline").read_bytes()
            ):
                assert time.monotonic() < deadline
                time.sleep(0.02)
