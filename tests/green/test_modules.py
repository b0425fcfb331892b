"""``from greenify.green import ...``: modules that have all the standard ones have, with nothing patched."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pytest

from tests.support import run_python

TWINS = "io os queue select selectors signal socket ssl subprocess threading time _thread".split()

# A second task has to run while the call waits.
PROGRAM = """
    import greenify, warnings
    {imports}

    def call():
        {call}

    beats = 0
    def beat():
        global beats
        while True:
            greenify.sleep(0.002)
            beats += 1

    greenify.spawn(beat)
    task = greenify.spawn(call)
    task.join()
    task.result
    assert beats >= 5, beats
    assert not greenify.changes()
"""

CALLS = {
    "time.sleep": ("from greenify.green import time", "time.sleep(0.1)"),
    "select.select": (
        "from greenify.green import select, socket\na, b = socket.socketpair()",
        "assert select.select([a], [], [], 0.1) == ([], [], []); a.close(); b.close()",
    ),
    "selectors": (
        "from greenify.green import selectors, socket\na, b = socket.socketpair()",
        "s = selectors.DefaultSelector(); s.register(a, 1); assert s.select(0.1) == []; "
        "s.close(); a.close(); b.close()",
    ),
    "socket.create_server": (
        "from greenify.green import socket, time",
        """
        listener = socket.create_server(("127.0.0.1", 0))
        assert type(listener) is socket.socket
        def client():
            time.sleep(0.1)
            with socket.create_connection(listener.getsockname()) as sock:
                time.sleep(0.1)
                sock.sendall(b"x")
        greenify.spawn(client)
        with listener, listener.accept()[0] as connection:
            assert connection.makefile("rb").read() == b"x"
        """,
    ),
    "subprocess.run": (
        "from greenify.green import subprocess",
        "assert subprocess.check_output(['sh', '-c', 'sleep 0.1; echo x']) == b'x\\n'",
    ),
    "os.system": ("from greenify.green import os", "assert os.system('sleep 0.1') == 0"),
    "os.spawnlp": (
        "from greenify.green import os",
        "assert os.spawnlp(os.P_WAIT, 'sleep', 'sleep', '0.1') == 0",
    ),
    "os.read": (
        "from greenify.green import os, time\nr, w = os.pipe()",
        "greenify.spawn(lambda: (time.sleep(0.1), os.write(w, b'x'))); assert os.read(r, 9) == b'x'",
    ),
    "io.open": (
        "from greenify.green import io, os, time\nr, w = os.pipe()",
        "greenify.spawn(lambda: (time.sleep(0.1), os.write(w, b'x'), os.close(w)))\n"
        "        with io.open(r) as file: assert file.read() == 'x'",
    ),
    "queue.Queue": (
        "from greenify.green import queue, time\nq = queue.Queue()",
        "greenify.spawn(lambda: (time.sleep(0.1), q.put(1))); assert q.get() == 1",
    ),
    "threading.Thread": (
        "from greenify.green import threading, time\n"
        "started = threading.Thread(target=time.sleep, args=(0.1,))",
        "started.start(); assert started in threading.enumerate(); started.join()",
    ),
    "threading.Timer": (
        "from greenify.green import threading\nevent = threading.Event()",
        "threading.Timer(0.1, event.set).start(); assert event.wait()",
    ),
    "threading.Condition": (
        "from greenify.green import threading\nchanged = threading.Condition()",
        "with changed: assert not changed.wait(0.1)",
    ),
    "threading.Lock": (
        "from greenify.green import threading\nlock = threading.Lock()",
        "lock.acquire(); assert not lock.acquire(timeout=0.1)",
    ),
    "signal.sigtimedwait": (
        "from greenify.green import signal",
        "assert signal.sigtimedwait([signal.SIGUSR1], 0.1) is None",
    ),
}


@pytest.mark.parametrize("name", TWINS)
class TestNames:
    def test_everything_is_there(self, name: str) -> None:
        twin = importlib.import_module(f"greenify.green.{name}")
        stdlib = importlib.import_module(name)
        missing = [each for each in dir(stdlib) if not hasattr(twin, each)]
        assert missing == []
        assert set(dir(stdlib)) <= set(dir(twin))
        with pytest.raises(AttributeError):
            twin.spam  # noqa: B018

    def test_nothing_else_is_in_its_place(self, name: str) -> None:
        """A twin's own imports must not hide a name of the module."""
        twin = importlib.import_module(f"greenify.green.{name}")
        stdlib = importlib.import_module(name)
        for each in dir(stdlib):
            ours, theirs = getattr(twin, each), getattr(stdlib, each)
            if not each.startswith("_") and ours is not theirs:
                assert callable(ours) == callable(theirs), each
                assert isinstance(ours, ModuleType) == isinstance(theirs, ModuleType), each

    def test_star(self, name: str) -> None:
        ours: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        exec(f"from greenify.green.{name} import *", ours)
        exec(f"from {name} import *", theirs)
        assert theirs.keys() - ours.keys() <= {"__builtins__"}


@pytest.mark.parametrize("name", CALLS)
def test_others_run_meanwhile(name: str) -> None:
    imports, call = CALLS[name]
    lines = imports.replace("\n", "\n    ")
    run_python(PROGRAM.format(imports=lines, call=call), greenify=False, check=True, timeout=20)


def test_tls() -> None:
    run_python(
        """
        import greenify, trustme
        from greenify.green import socket, ssl

        ca = trustme.CA()
        certificate = ca.issue_cert("localhost")
        server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(server_side)
        client_side = ssl.create_default_context()
        ca.configure_trust(client_side)
        assert isinstance(client_side, ssl.SSLContext)
        assert client_side.verify_mode == ssl.CERT_REQUIRED and client_side.check_hostname
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            with listener, listener.accept()[0] as raw:
                with server_side.wrap_socket(raw, server_side=True) as connection:
                    connection.sendall(connection.recv(10))

        server = greenify.spawn(serve)
        with socket.create_connection(listener.getsockname()) as raw:
            with client_side.wrap_socket(raw, server_hostname="localhost") as sock:
                assert isinstance(sock, ssl.SSLSocket)
                sock.sendall(b"hello")
                assert sock.recv(10) == b"hello"
        server.join()
        server.result
        """,
        greenify=False,
        check=True,
        timeout=30,
    )


class TestThreading:
    def test_the_end_of_the_program_waits(self) -> None:
        done = run_python(
            """
            from greenify.green import threading, time

            def work():
                time.sleep(0.05)
                print("worked in", threading.current_thread().name, flush=True)

            threading.Thread(target=work, name="A").start()
            threading.Thread(target=lambda: time.sleep(100), daemon=True).start()
            print("main ends", flush=True)
            """,
            greenify=False,
            check=True,
            timeout=20,
        )
        assert done.stdout == "main ends\nworked in A\n"

    def test_the_original_knows_nothing_of_it(self) -> None:
        run_python(
            """
            import threading
            main = threading.main_thread()
            before = getattr(main, "_tstate_lock", None)
            from greenify.green import threading as green
            assert threading.current_thread() is main
            assert green.main_thread() is green.current_thread() is not main
            assert green.get_ident() == threading.get_ident()
            assert green.BrokenBarrierError is threading.BrokenBarrierError
            event = green.Event()
            thread = green.Thread(target=event.wait)
            thread.start()
            assert threading.enumerate() == [main]
            assert green.enumerate() == [green.main_thread(), thread]
            native = threading.Thread(target=event.set)
            native.start()
            thread.join()
            native.join()
            assert getattr(main, "_tstate_lock", None) is before
            """,
            greenify=False,
            check=True,
            timeout=20,
        )

    def test_imported_by_a_task_or_another_thread(self) -> None:
        for how in ("greenify.spawn", "native"):
            run_python(
                f"""
                import sys, threading, greenify
                def native(function):
                    thread = threading.Thread(target=function)
                    thread.start()
                    return thread
                def load():
                    from greenify.green import threading
                {how}(load).join()
                green = sys.modules["greenify.green.threading"]
                assert green.current_thread() is green.main_thread()
                assert green.main_thread().ident == threading.main_thread().ident
                assert green.enumerate() == [green.main_thread()]
                """,
                greenify=False,
                check=True,
                timeout=20,
            )

    def test_hooks_and_names_of_the_module(self) -> None:
        run_python(
            """
            from greenify.green import threading
            seen = []
            threading.excepthook = seen.append
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
            assert [type(args.exc_value) for args in seen] == [ZeroDivisionError]
            import greenify.green.threading as again
            assert again is threading
            """,
            greenify=False,
            check=True,
            timeout=20,
        )

    def test_after_a_fork(self) -> None:
        done = run_python(
            """
            import os
            from greenify.green import threading, time
            other = threading.Thread(target=time.sleep, args=(100,), daemon=True)
            other.start()
            pid = os.fork()
            if not pid:
                assert threading.enumerate() == [threading.main_thread()]
                thread = threading.Thread(target=print, args=("in the child",))
                thread.start()
                thread.join()
            else:
                assert os.waitpid(pid, 0)[1] == 0
                assert other.is_alive()
            """,
            greenify=False,
            check=True,
            timeout=20,
        )
        assert done.stdout == "in the child\n"
