"""WebSockets on threads: Flask-SocketIO and python-socketio (threading mode), and websockets' own servers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integrations.gunicorn.servers import GREENIFY
from tests.integrations.hosts.hosting import MANY, both_ways, hosting, needs
from tests.support import run_python

both_modes = pytest.mark.parametrize("mode", [False, True], ids=["threads", "greenify"])

FLASK_SOCKETIO = f"""
import os, threading
from flask import Flask
from flask_socketio import SocketIO, emit
app = Flask(__name__)
socketio = SocketIO(app, async_mode="threading")
barrier = threading.Barrier({MANY})

@socketio.on("meet")
def meet(number):
    # Each event has a thread; all clients' have to be under way at once.
    barrier.wait(60)
    emit("met", [number, os.readlink("/proc/thread-self")])
    return "done"

def tick():
    for number in range(3):
        socketio.emit("tick", number)
        socketio.sleep(0.01)

@socketio.on("start")
def start():
    socketio.start_background_task(tick)
"""

MAIN = """
if __name__ == "__main__":
    from werkzeug.serving import make_server
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
"""

PYTHON_SOCKETIO = f"""
import os, threading, socketio
sio = socketio.Server(async_mode="threading")
app = socketio.WSGIApp(sio)
barrier = threading.Barrier({MANY})

@sio.event
def meet(sid, number):
    barrier.wait(60)
    sio.emit("met", [number, os.readlink("/proc/thread-self")], to=sid)
    return "done"

def tick():
    for number in range(3):
        sio.emit("tick", number)
        sio.sleep(0.01)

@sio.event
def start(sid):
    sio.start_background_task(tick)
"""

#: 20 clients, each over a WebSocket; real threads or green ones.
CLIENT = """
import queue, sys, threading
import socketio
url, transport, many = sys.argv[1], sys.argv[2], int(sys.argv[3])
natives, lock = set(), threading.Lock()

def client(number):
    with socketio.SimpleClient() as sio:
        sio.connect(url, transports=[transport])
        assert sio.transport == transport
        # The answer of the handler, and what it emits, come in either order.
        sio.emit("meet", number)
        event, (same, native) = sio.receive(timeout=60)
        assert (event, same) == ("met", number)
        with lock:
            natives.add(native)
        if number == 0:
            sio.emit("start")
        assert [sio.receive(timeout=60) for _ in range(3)] == [["tick", n] for n in range(3)]

threads = [threading.Thread(target=client, args=(number,)) for number in range(many)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(natives))
"""


def check_clients(port: int, transport: str, launcher: Sequence[str]) -> None:
    done = run_python(
        CLIENT, f"http://127.0.0.1:{port}", transport, MANY, greenify=bool(launcher), check=True
    )
    natives = int(done.stdout)
    # Real threads may be one after the other, and then have the same number.
    assert natives == 1 if launcher else natives > 1


@both_ways
@pytest.mark.parametrize(
    ("program", "transport"),
    [(FLASK_SOCKETIO, "websocket"), (PYTHON_SOCKETIO, "polling")],
    ids=["flask", "python"],
)
def test_socketio(tmp_path: Path, launcher: Sequence[str], program: str, transport: str) -> None:
    needs("flask-socketio", "python-socketio", "simple-websocket", "websocket-client")
    with hosting(tmp_path, launcher, "program.py", program=program + MAIN) as host:
        check_clients(host.port, transport, launcher)


def test_flask_socketio_on_gunicorn(tmp_path: Path) -> None:
    needs("flask-socketio", "simple-websocket", "websocket-client", "gunicorn")
    command = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "-k", GREENIFY, "program:app")
    env = {"HOME": str(tmp_path)}
    with hosting(tmp_path, (), *command, program=FLASK_SOCKETIO, env=env) as host:
        check_clients(host.port, "websocket", ("greenify",))
        assert host.stop() == 0, host.log


FLASK_SOCK = f"""
import os, threading, time
from flask import Flask
from flask_sock import Sock
app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {{"ping_interval": 0.05}}
sock = Sock(app)
barrier = threading.Barrier({MANY})

@sock.route("/meet")
def meet(ws):
    while True:
        text = ws.receive()
        barrier.wait(60)
        time.sleep(0.15)  # pings meanwhile
        ws.send(text + " " + os.readlink("/proc/thread-self"))
        if text.startswith("last"):
            return  # which closes it

@app.get("/")
def index():
    return "index"
"""


def test_flask_sock_on_gunicorn(tmp_path: Path) -> None:
    needs("flask-sock", "simple-websocket", "gunicorn")
    import simple_websocket

    command = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "-k", GREENIFY, "program:app")
    options = ("--graceful-timeout", "1")
    env = {"HOME": str(tmp_path)}
    with (
        hosting(tmp_path, (), *command, *options, program=FLASK_SOCK, env=env) as host,
        ExitStack() as stack,
    ):
        url = f"ws://127.0.0.1:{host.port}/meet"
        clients = [simple_websocket.Client(url) for _ in range(MANY)]
        for client in clients:
            stack.callback(client.sock.close)
        natives = set()
        for word in ("first", "last"):
            for number, client in enumerate(clients):
                client.send(f"{word}-{number}")
            for number, client in enumerate(clients):
                text, native = client.receive(60).split()
                assert text == f"{word}-{number}"
                natives.add(native)
        assert len(natives) == 1
        for client in clients:
            with pytest.raises(simple_websocket.ConnectionClosed) as caught:
                client.receive(60)
            assert caught.value.reason == 1000
        # One that stays open does not keep a worker that ends beyond its time.
        idle = simple_websocket.Client(url)
        stack.callback(idle.sock.close)
        assert host.stop() == 0, host.log


WEBSOCKETS = """
import os, threading
from websockets.sync.client import connect
from websockets.sync.server import serve
MANY = 20
barrier, natives = threading.Barrier(MANY), set()

def answer(connection):
    for message in connection:
        barrier.wait(60)
        natives.add(os.readlink("/proc/thread-self"))
        connection.send(message.upper())

def ask(number):
    with connect(url) as connection:
        connection.send(f"a{number}")
        assert connection.recv(timeout=60) == f"A{number}"
        connection.ping().wait(60)
        big = "x" * 1_000_000
        connection.send(big)
        assert connection.recv(timeout=60) == big.upper()
        done.wait(60)  # all are open at once

done = threading.Barrier(MANY)
with serve(answer, "127.0.0.1", 0, max_size=2_000_000) as server:
    url = "ws://127.0.0.1:%d" % server.socket.getsockname()[1]
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    clients = [threading.Thread(target=ask, args=(number,)) for number in range(MANY)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    server.shutdown()
    serving.join()
print(len(natives))
"""


@both_modes
def test_websockets(mode: bool) -> None:
    needs("websockets")
    code = WEBSOCKETS.replace("connect(url)", "connect(url, max_size=2_000_000)")
    done = run_python(code, greenify=mode, check=True)
    assert done.stdout == ("1\n" if mode else f"{MANY}\n")
