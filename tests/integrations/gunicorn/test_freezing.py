"""What the application has loaded is frozen for the garbage collector; what its requests leave is not."""

from __future__ import annotations

from pathlib import Path

from tests.integrations.gunicorn.servers import GREENIFY, needs_gunicorn, serving

pytestmark = needs_gunicorn

PROGRAM = """
import gc, os, weakref

class Ring:
    def __init__(self):
        self.ring = self

class Last(Ring):
    def __del__(self, write=os.write):
        write(2, b"the ring has gone")

made, last = [Ring()], Last()

def stays(things):
    # Taken from a list: up to CPython 3.10 a caller keeps what it has handed over.
    thing = weakref.ref(things.pop())
    gc.collect()
    return thing() is not None

def answer(path):
    if path == "/of-a-request":
        return stays([Ring()])
    if path == "/of-the-program":
        return stays(made)
    return gc.get_freeze_count() > 5000

def app(environ, start_response):
    body = str(answer(environ["PATH_INFO"])).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_the_program_is_frozen_until_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, "-k", GREENIFY, program=PROGRAM) as server:
        assert server.ask("/") == "True"
        assert server.ask("/of-a-request") == "False"
        assert server.ask("/of-the-program") == "True"
        server.stop()
        server.until("the ring has gone")


def test_a_hook_can_undo_it(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(
        "def post_worker_init(worker):\n    import gc\n\n    gc.unfreeze()\n"
    )
    with serving(tmp_path, "-k", GREENIFY, "-c", "conf.py", program=PROGRAM) as server:
        assert server.ask("/") == "False"
        assert server.ask("/of-the-program") == "False"
