"""Tools that replace functions of the standard library themselves: programs do what they do with threads.

Each program runs with real threads, with greenify patched first, and with greenify patched after the tool has
been imported.
"""

from __future__ import annotations

import textwrap
from types import CodeType

import pytest

from tests.support import run_python

# What every program says it waits for: with a stopped clock it would wait for ever.
WAITS = """
import queue, socket, threading, time

def waits():
    time.sleep(0.01)
    event = threading.Event()
    threading.Timer(0.01, event.set).start()
    assert event.wait(20)
    assert not threading.Event().wait(0.01)
    a, b = socket.socketpair()
    with a, b:
        threading.Timer(0.01, lambda: b.sendall(b"hi")).start()
        assert a.recv(10) == b"hi"
        a.settimeout(0.01)
        try:
            a.recv(1)
        except TimeoutError:
            pass
        else:
            raise AssertionError
    items = queue.Queue()
    thread = threading.Thread(target=items.put, args=(1,))
    thread.start()
    thread.join(20)
    assert not thread.is_alive() and items.get() == 1
    lock = threading.Lock()
    lock.acquire()
    assert not lock.acquire(timeout=0.01)
"""

PROGRAMS = {
    "freezegun": """
        import freezegun
        PATCH
        import datetime
        with freezegun.freeze_time("2020-01-01"):
            assert datetime.datetime.now().year == 2020
            waits()
        waits()
        """,
    "freezegun, patched while it is frozen": """
        import datetime, freezegun
        with freezegun.freeze_time("2020-01-01"):
            PATCH
            waits()
            assert datetime.datetime.now().year == 2020
        waits()
        """,
    "time-machine": """
        import time_machine
        PATCH
        import datetime
        def clocks():
            used = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
            assert 0 < used <= time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID) / 1e9 < 1000
            assert abs(time.clock_gettime(time.CLOCK_REALTIME) - time.time()) < 100
            assert abs(time.clock_gettime_ns(time.CLOCK_REALTIME) - time.time_ns()) < 10**11
            return datetime.datetime.now().year

        functions = time.clock_gettime, time.clock_gettime_ns
        for _ in range(2):
            with time_machine.travel("2020-01-01", tick=False):
                assert clocks() == 2020
                thread = threading.Thread(target=clocks)
                thread.start()
                thread.join(20)
                waits()
                with time_machine.travel("2021-06-01", tick=False):
                    assert clocks() == 2021
                assert clocks() == 2020
            assert clocks() > 2021
            waits()
        # Imported afresh, while time is travelled.
        with time_machine.travel("2020-01-01", tick=False):
            import sys
            kept = {name: sys.modules.pop(name) for name in ("_time_machine", "time_machine")}
            import _time_machine
            assert _time_machine is not kept["_time_machine"]
            sys.modules.update(kept)
        assert functions == (time.clock_gettime, time.clock_gettime_ns)
        assert clocks() > 2021
        """,
    "time-machine, patched while time is travelled": """
        import datetime, time_machine
        with time_machine.travel("2020-01-01", tick=False):
            PATCH
            assert datetime.datetime.now().year == 2020
            assert 1577836800 == time.clock_gettime(time.CLOCK_REALTIME)
            waits()
        assert datetime.datetime.now().year > 2020 and time.clock_gettime(time.CLOCK_REALTIME) > 1.6e9
        waits()
        """,
    "pyfakefs": """
        from pyfakefs.fake_filesystem_unittest import Patcher
        PATCH
        import os
        for _ in range(2):
            with Patcher() as patcher:
                patcher.fs.create_file("/x/y", contents="hello")
                found = []
                def work():
                    time.sleep(0.01)
                    found.append(open("/x/y").read())
                threads = [threading.Thread(target=work) for _ in range(3)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(20)
                assert found == ["hello"] * 3 and os.listdir("/x") == ["y"]
                waits()
                with open("/x/z", "w") as file:
                    file.write("z")
                assert os.path.exists("/x/z")
            assert not os.path.exists("/x/z")
        waits()
        """,
    "mock": """
        from unittest import mock
        PATCH
        with mock.patch("time.sleep") as sleep:
            time.sleep(1000)
            threading.Thread(target=lambda: time.sleep(2000)).start()
            assert [call.args for call in sleep.call_args_list] == [(1000,), (2000,)]
        with mock.patch("time.sleep", autospec=True) as sleep:
            time.sleep(3)
        sleep.assert_called_once_with(3)
        with mock.patch("socket.socket") as made:
            socket.socket().connect(("nowhere", 1))
            made.return_value.connect.assert_called_once_with(("nowhere", 1))
            started = threading.Thread(target=int)
            started.start()
            started.join(20)
        with mock.patch.object(threading.Event, "wait", return_value=True):
            assert threading.Event().wait(1000)
        with mock.patch("time.monotonic", return_value=0.0), mock.patch("os.close"), mock.patch("os.read"):
            time.sleep(0.01)
            assert not threading.Event().wait(0.01)
        with mock.patch("builtins.open", mock.mock_open(read_data="x")):
            assert open("/nowhere").read() == "x"
        mock.create_autospec(threading.Thread)
        waits()
        """,
    "responses": """
        import requests, responses
        PATCH
        with responses.RequestsMock() as mocked:
            mocked.get("http://nowhere.test/", body="from the mock")
            found = []
            threads = [
                threading.Thread(target=lambda: found.append(requests.get("http://nowhere.test/").text))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        assert found == ["from the mock"] * 4
        waits()
        """,
    "vcrpy": """
        import http.server, os, tempfile
        import requests, vcr
        PATCH
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")
            def log_message(self, *args):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        tape = os.path.join(tempfile.mkdtemp(), "tape.yaml")
        with vcr.use_cassette(tape):
            assert requests.get(url, timeout=20).text == "ok"
        server.shutdown()
        server.server_close()
        with vcr.use_cassette(tape, record_mode="none"):
            assert requests.get(url, timeout=20).text == "ok"
        waits()
        """,
    "dill and cloudpickle": """
        import cloudpickle, dill
        PATCH
        lock = threading.RLock()
        lock.acquire()
        lock.acquire()
        copy = dill.loads(dill.dumps(lock))
        assert copy is not lock and copy._is_owned()
        copy.release()
        copy.release()
        assert not copy._is_owned()
        held = threading.Lock()
        held.acquire()
        assert dill.loads(dill.dumps(held)).locked()
        # Objects that hold locks, and methods of locks.
        event, items, pool = threading.Event(), queue.Queue(), threading.Semaphore(2)
        event.set()
        items.put("item")
        condition = threading.Condition(threading.Lock())
        event, items, pool, condition = dill.loads(dill.dumps((event, items, pool, condition)))
        assert event.is_set() and items.get(timeout=20) == "item" and items.empty()
        assert pool.acquire() and pool.acquire() and not pool.acquire(False)
        with condition:
            assert not condition.wait(0.01)
        locked = threading.Lock()
        locked.acquire()
        acquire = dill.loads(dill.dumps(locked.acquire))
        assert locked.locked() and not acquire(False)
        for what in (lock, held):
            try:
                cloudpickle.dumps(what)
            except TypeError as exc:
                assert str(exc).startswith("cannot pickle '_thread."), exc
            else:
                raise AssertionError
        for module in (dill, cloudpickle):
            assert module.loads(module.dumps(time.sleep))(0) is None
            assert module.loads(module.dumps(lambda: (time.sleep(0), threading.get_ident())))()[0] is None
        waits()
        """,
}


def _needs_dill() -> None:
    if not hasattr(CodeType, "co_lnotab"):
        pytest.skip("dill reads code.co_lnotab, which CPython 3.15 has no more")


@pytest.mark.parametrize("order", ["threads", "patched first", "patched after"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_with_threads(name: str, order: str) -> None:
    if "dill" in name:
        _needs_dill()
    patch = "import greenify; greenify.patch_all()"
    program = textwrap.dedent(PROGRAMS[name]).replace(
        "PATCH", patch if order == "patched after" else "pass"
    )
    first = patch if order == "patched first" else ""
    # What these tools warn of is none of our business.
    begin = "import warnings; warnings.simplefilter('ignore')\n"
    run_python(begin + first + WAITS + program, greenify=False, check=True, timeout=50)


@pytest.mark.parametrize("module", ["cloudpickle", "dill"])
def test_a_copy_by_value_needs_no_greenify(module: str) -> None:
    if module == "dill":
        _needs_dill()
    made = run_python(
        f"""
        import {module}, select, threading, time
        print({module}.dumps([time.sleep, threading.get_ident, select.select]).hex())
        """,
        check=True,
    ).stdout
    run_python(
        f"""
        import sys, threading
        sys.modules["greenify"] = sys.modules["greenlet"] = None
        import {module}
        sleep, ident, select = {module}.loads(bytes.fromhex("{made.strip()}"))
        assert ident() == threading.get_ident()
        assert sleep(0.001) is None and select([], [], [], 0.001) == ([], [], [])
        """,
        greenify=False,
        check=True,
    )
