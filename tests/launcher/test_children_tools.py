"""``--children`` and programs that start themselves anew."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import child_env

TIMEOUT = 60.0

both = pytest.mark.parametrize("options", [(), ("--children",)], ids=["without", "with"])


def until(found: str, path: Path) -> str:
    """The text of a file as soon as `found` stands in it."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        text = path.read_text() if path.exists() else ""
        if found in text:
            return text
        assert time.monotonic() < deadline, f"no {found!r} in {text!r}"
        time.sleep(0.05)


def start(here: Path, *args: str) -> subprocess.Popen[bytes]:
    with (here / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "greenify", *args],
            cwd=here,
            env=child_env(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(find_spec("gunicorn") is None, reason="needs gunicorn: pip install gunicorn")
@both
def test_the_new_master_of_gunicorn(tmp_path: Path, options: tuple[str, ...]) -> None:
    # Each worker says what it is.
    (tmp_path / "program.py").write_text(
        "import greenify, os\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [f'patched={greenify.is_patched(\"thread\")}'.encode()]\n"
    )
    args = ("-m", "gunicorn", "--bind", "unix:socket", "--pid", "pid", "program:application")
    process = start(tmp_path, *options, *args)
    log = tmp_path / "log"
    try:
        until("Booting worker", log)
        assert ask(tmp_path / "socket") == "patched=True"
        process.send_signal(signal.SIGUSR2)
        # Of the old master and the new one only the new one is to answer.
        deadline = time.monotonic() + TIMEOUT
        while log.read_text().count("Booting worker") < 2:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
        assert ask(tmp_path / "socket") == f"patched={bool(options)}"
    finally:
        end(process)


def ask(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    return answer.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.skipif(find_spec("django") is None, reason="needs Django: pip install django")
@both
def test_the_autoreloader_of_django(tmp_path: Path, options: tuple[str, ...]) -> None:
    # The settings are loaded by the reloader, and again by the process that serves.
    (tmp_path / "program.py").write_text(
        "import greenify, os\n"
        "where = 'server' if os.environ.get('RUN_MAIN') else 'reloader'\n"
        "print(where, greenify.is_patched('thread'), flush=True)\n"
        "SECRET_KEY, DEBUG, ROOT_URLCONF, USE_TZ = 'x', True, 'program', True\n"
        "urlpatterns = []\n"
    )
    (tmp_path / "manage.py").write_text(
        "import os, sys\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'program'\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(sys.argv)\n"
    )
    process = start(tmp_path, *options, "manage.py", "runserver", "127.0.0.1:0")
    try:
        assert "reloader True\n" in until(f"server {bool(options)}\n", tmp_path / "log")
    finally:
        end(process)
