"""The files of the page about deploying, started as by systemd: with its socket, and told when ready."""

from __future__ import annotations

import re
import signal
import socket
import sys
from pathlib import Path

from tests.integrations.gunicorn.servers import Server, all_of, needs_gunicorn
from tests.integrations.running import TIMEOUT, started
from tests.support import ROOT

pytestmark = needs_gunicorn

PAGE = (ROOT / "docs" / "howto" / "deploy.md").read_text()

#: Between fork and exec, as systemd does: the process's own number, and the socket as descriptor 3.
ACTIVATE = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.dup2(0, 3)
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "app:app"])
"""


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_by_systemd(tmp_path: Path) -> None:
    for name in ("gunicorn.conf.py", "app.py"):
        found = re.search(
            rf"<!-- test: file {re.escape(name)} -->\n```python\n(.*?)```", PAGE, re.S
        )
        assert found is not None
        (tmp_path / name).write_text(found[1])
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        address = listener.getsockname()
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT)
        env = {
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "HOME": str(tmp_path),
            "WEB_CONCURRENCY": "2",
        }
        for number in (1, 2):  # the second is the service that is started anew
            with (
                # It comes while there is no service, and is not refused.
                socket.create_connection(address, TIMEOUT) as early,
                started(
                    [sys.executable, "-c", ACTIVATE], tmp_path, env, stdin=listener.fileno()
                ) as process,
            ):
                server = Server(tmp_path, process)
                early.sendall(REQUEST)
                assert manager.recv(4096).startswith(b"READY=1")
                assert all_of(early).endswith(b"\r\n\r\nhello\n")
                process.send_signal(signal.SIGHUP)  # systemctl reload
                server.until("Hang up: Master", number)
                with socket.create_connection(address, TIMEOUT) as client:
                    client.sendall(REQUEST)
                    assert all_of(client).endswith(b"\r\n\r\nhello\n")
                assert server.stop() == 0
        assert server.log.count("Using worker: greenify.integrations.gunicorn.GreenifyWorker") == 2
