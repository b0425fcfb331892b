"""`greenify.original(module)`: a whole module as it is without any patch."""

from __future__ import annotations

import pytest

import greenify
from tests.support import run_python

# Asked for before the patch or after it: the same.
when = pytest.mark.parametrize("early", [False, True], ids=["after", "before"])

PROGRAM = """
    import greenify
    NAMES = (
        "_thread builtins http.client io os queue select selectors signal socket ssl subprocess threading "
        "time"
    ).split()
    from greenify import original
    early = {early} and {{name: original(name) for name in NAMES}}
    import queue, select, socket, ssl, subprocess, sys, threading, time
    greenify.patch_all()
    if early:
        assert all(original(name) is module for name, module in early.items())
    o = {{name: original(name) for name in NAMES}}
"""


def run(program: str, early: bool) -> str:
    return run_python(
        PROGRAM.format(early=early) + program, greenify=False, check=True, timeout=40
    ).stdout


@when
class TestContents:
    def test_functions(self, early: bool) -> None:
        run(
            """
    builtin = type(len)
    for module, names in {"time": "sleep", "os": "read write waitpid", "select": "select poll",
                          "_thread": "start_new_thread get_ident", "io": "open", "builtins": "open"}.items():
        for name in names.split():
            assert type(getattr(o[module], name)) is builtin, (module, name)
    assert o["os"].popen.__globals__ is vars(o["os"]) and o["os"].environ is __import__("os").environ
    assert o["threading"].get_ident is o["_thread"].get_ident
    assert o["signal"].SIGINT is __import__("signal").SIGINT
""",
            early,
        )

    def test_classes(self, early: bool) -> None:
        run(
            """
    import _queue
    assert o["socket"].socket.recv is o["socket"].SocketType.recv  # that of the C class
    assert o["socket"].AF_INET is socket.AF_INET and o["ssl"].SSLContext is not ssl.SSLContext
    assert "recv" not in vars(o["socket"].socket) and "recv" in vars(socket.socket)
    assert type(o["threading"].Lock()) is o["_thread"].LockType is not type(threading.Lock())
    assert o["queue"].SimpleQueue().__class__.__module__ == "_queue"
    assert o["queue"].Full is queue.Full and o["queue"].Empty is queue.Empty
    assert o["subprocess"].TimeoutExpired is subprocess.TimeoutExpired
    assert o["http.client"].socket is o["socket"]
    # The ordinary modules have not noticed.
    assert sys.modules["socket"] is socket and ssl.SSLSocket.__mro__[1] is socket.socket
    assert ssl.PROTOCOL_TLS_CLIENT.__class__ is ssl._SSLMethod
""",
            early,
        )

    def test_it_blocks(self, early: bool) -> None:
        """No green thread runs during a call of an original."""
        run(
            """
    beats = []
    def beat():
        while True:
            time.sleep(0.001)
            beats.append(None)
    threading.Thread(target=beat, daemon=True).start()
    time.sleep(0.02)
    assert beats
    left, right = o["socket"].socketpair()
    left.settimeout(0.05)
    def receive():
        try:
            left.recv(1)
        except TimeoutError:
            pass
    def get():
        try:
            o["queue"].Queue().get(timeout=0.05)
        except queue.Empty:
            pass
    def select():
        with o["selectors"].DefaultSelector() as selector:
            selector.select(0.05)
    calls = [
        lambda: o["time"].sleep(0.05),
        lambda: o["select"].select([left], [], [], 0.05),
        select,
        lambda: o["threading"].Event().wait(0.05),
        receive,
        get,
        lambda: o["subprocess"].run(["sleep", "0.05"]),
        lambda: o["os"].system("sleep 0.05"),
    ]
    for number, call in enumerate(calls):
        before = len(beats)
        call()
        assert len(beats) - before <= 3, (number, len(beats) - before)  # a time slice may end in between
    left.close()
    right.close()
""",
            early,
        )

    def test_threads_are_native_and_joined_at_the_end(self, early: bool) -> None:
        out = run(
            """
    main = o["_thread"].get_ident()
    def work():
        assert o["_thread"].get_ident() != main
        o["time"].sleep(0.1)
        print("native thread ends", flush=True)
        done.set()
    def wait():
        done.wait()
        print("green thread ends", flush=True)
    done = threading.Event()
    o["threading"].Thread(target=work).start()
    threading.Thread(target=wait).start()
    o["threading"].Thread(target=o["time"].sleep, args=(100,), daemon=True).start()
    print("main ends", flush=True)
""",
            early,
        )
        assert out == "main ends\nnative thread ends\ngreen thread ends\n"

    def test_restored(self, early: bool) -> None:
        run(
            """
    greenify.restore()
    assert all(original(name) is module for name, module in o.items())
    assert o["time"].sleep is time.sleep
""",
            early,
        )


def test_untouched_modules_are_themselves() -> None:
    import json

    assert greenify.original("json") is json is greenify.original(json)
    assert greenify.original("time").sleep is greenify.original("time", "sleep")


def test_misuse() -> None:
    with pytest.raises(ImportError, match="nosuch"):
        greenify.original("nosuch")
    with pytest.raises(TypeError, match="the name of an attribute is needed"):
        greenify.original(dict)  # type: ignore[call-overload]


def test_imported_by_another_thread() -> None:
    run_python(
        """
        import threading
        import greenify
        greenify.patch_all()
        found = []
        thread = threading.Thread(target=lambda: found.append(greenify.original("threading")))
        thread.start()
        thread.join()
        assert found[0].main_thread() is found[0].current_thread()
        """,
        greenify=False,
        check=True,
        timeout=20,
    )
