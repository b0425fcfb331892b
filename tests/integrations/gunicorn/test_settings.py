"""Where gunicorn finds its settings, its hooks and logs: with our worker as with its own."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integrations.gunicorn.servers import (
    GREENIFY,
    needs_gunicorn,
    serving,
)

pytestmark = needs_gunicorn

OURS = ("-k", GREENIFY)

#: The hooks that gunicorn has in a worker or about one.
HOOKS = {
    "on_starting": "server",
    "when_ready": "server",
    "on_reload": "server",
    "pre_fork": "server, worker",
    "post_fork": "server, worker",
    "post_worker_init": "worker",
    "pre_request": "worker, request",
    "post_request": "worker, request, environ, response",
    "worker_int": "worker",
    "worker_abort": "worker",
    "worker_exit": "server, worker",
    "child_exit": "server, worker",
    "on_exit": "server",
}


def write_hooks(here: Path) -> None:
    lines = ["def say(name):", "    print('hook', name, flush=True)"]
    for name, arguments in HOOKS.items():
        lines += [f"def {name}({arguments}):", f"    say({name!r})"]
    (here / "gunicorn.conf.py").write_text("\n".join(lines))


class TestHooks:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
    def test_in_their_order(self, tmp_path: Path, number: int) -> None:
        write_hooks(tmp_path)
        with serving(tmp_path, *OURS) as server:
            server.ask("/")
            server.until("hook post_request")
            assert server.stop(number) == 0
            expected = [*HOOKS]
            expected.remove("on_reload")
            expected.remove("worker_abort")
            if number == signal.SIGTERM:
                expected.remove("worker_int")
            assert re.findall(r"hook (\w+)", server.log) == expected

    def test_of_a_worker_that_is_killed(self, tmp_path: Path) -> None:
        """The master's SIGABRT comes first, and finds a call in C that lets others run."""
        write_hooks(tmp_path)
        with serving(tmp_path, *OURS, "--timeout", "2") as server, server.connect() as client:
            client.sendall(b"GET /block-politely HTTP/1.1\r\nHost: a\r\n\r\n")
            server.until("hook post_worker_init", 2)
            told = server.log.partition("WORKER TIMEOUT")[2]
            found = re.findall(r"hook (worker_abort|worker_exit|child_exit)", told)
            assert found == ["worker_abort", "worker_exit", "child_exit"]

    def test_of_a_reload(self, tmp_path: Path) -> None:
        write_hooks(tmp_path)
        with serving(tmp_path, *OURS) as server:
            server.process.send_signal(signal.SIGHUP)
            server.until("hook post_worker_init", 2)
            server.until("hook child_exit")
            assert server.log.count("hook on_reload") == 1


SUBCLASS = """
class Worker(GreenifyWorker):
    def handle_request(self, *args):
        print("a worker of our own", flush=True)
        return super().handle_request(*args)
"""


@pytest.mark.parametrize("where", ["the environment", "a name", "a class", "a subclass"])
def test_the_worker_is_named_in(tmp_path: Path, where: str) -> None:
    env = {}
    conf = tmp_path / "gunicorn.conf.py"
    if where == "the environment":
        env = {"GUNICORN_CMD_ARGS": f"-k {GREENIFY}", "WEB_CONCURRENCY": "2"}
    elif where == "a name":
        conf.write_text(f"worker_class = {GREENIFY!r}\nraw_env = ['SET=there']\n")
    else:
        conf.write_text(
            "from greenify.integrations.gunicorn import GreenifyWorker\n"
            + (SUBCLASS if where == "a subclass" else "")
            + f"worker_class = {'Worker' if where == 'a subclass' else 'GreenifyWorker'}\n"
        )
    with serving(tmp_path, env=env) as server:
        assert server.ask("/patched") == "True"
        assert server.log.count("a worker of our own") == (where == "a subclass")
        if env:
            server.until("Booting worker", 2)


EARLY = """
import os, signal
from greenify.integrations.gunicorn import GreenifyWorker
class Worker(GreenifyWorker):
    def _patch(self):
        super()._patch()
        if not os.path.exists("sent"):
            open("sent", "w").close()
            os.kill(os.getpid(), signal.SIGTERM)
worker_class = Worker
"""


def test_an_order_that_comes_while_the_worker_starts_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(EARLY)
    with serving(tmp_path) as server:
        server.until("Booting worker", 2)
        assert server.log.count("Worker exiting") == 1
        assert server.ask("/patched") == "True"
        assert server.stop() == 0


def test_logs_are_opened_anew(tmp_path: Path) -> None:
    options = ("--access-logfile", "access", "--error-logfile", "errors", "--log-level", "debug")
    (tmp_path / "gunicorn.conf.py").write_text(
        "def post_fork(server, worker):\n    print('Booting worker')\n"
    )
    with serving(tmp_path, *OURS, *options) as server:
        server.ask("/first")
        assert server.ask("/say") == server.ask("/say") == "said"
        for name in ("access", "errors"):
            (tmp_path / name).rename(tmp_path / f"{name}.1")
        server.process.send_signal(signal.SIGUSR1)
        # Each process opens them when it gets the signal, and the worker gets its own from the master.
        pid = server.ask("/pid")
        while not all((tmp_path / name).exists() for name in ("access", "errors")):
            assert server.process.poll() is None
        number = 0
        while f"/again/{number}" not in (tmp_path / "access").read_text():
            number += 1
            server.ask(f"/again/{number}")
        assert "/first" in (tmp_path / "access.1").read_text()
        server.ask("/say")
        assert (tmp_path / "errors.1").read_text().count("said\n") == 2
        assert (tmp_path / "errors").read_text().count("said\n") == 1
        assert server.ask("/pid") == pid


@pytest.mark.parametrize(
    "options",
    [OURS, (*OURS, "--preload"), ("-k", "gthread", "--threads", "20")],
    ids=["greenify", "preloaded", "gthread"],
)
def test_by_the_launcher(tmp_path: Path, options: tuple[str, ...]) -> None:
    """``python -m greenify -m gunicorn``: the master is patched, and so is what it imports."""
    with (
        serving(tmp_path, *options, launcher=("-m", "greenify")) as server,
        ThreadPoolExecutor(20) as pool,
    ):
        assert server.ask("/patched") == "True"
        assert set(pool.map(server.ask, ["/meet"] * 20)) == {"met"}
        assert server.stop() == 0
        assert "greenify:" not in server.log
