"""gevent in a process that greenify has patched: on our loop by itself; gevent.monkey has nothing to do."""

from __future__ import annotations

import pytest

from tests.support import run_python

PATCH = "import greenify; greenify.patch_all()\n"
MONKEY = "import gevent.monkey; gevent.monkey.patch_all()\n"
# Either order of importing gevent and patching; each without and with gevent's own patch.
ORDERS = {
    "patched first": PATCH,
    "gevent first": "import gevent, gevent.monkey\n" + PATCH,
    "with gevent.monkey": PATCH + MONKEY,
    "gevent first, with gevent.monkey": "import gevent, gevent.monkey\n" + PATCH + MONKEY,
}
in_any_order = pytest.mark.parametrize("first", ORDERS.values(), ids=ORDERS)


def run(code: str, env: dict[str, str] | None = None) -> str:
    result = run_python(code, greenify=False, check=True, env=env)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.smoke
@in_any_order
def test_its_greenlets_wait_at_the_same_time(first: str) -> None:
    # Everybody has to have begun before anybody may go on.
    out = run(f"""{first}
import gevent, socket, threading, time
barrier = threading.Barrier(6)
def wait():
    barrier.wait(30)
    time.sleep(0.001)
    return 1
thread = threading.Thread(target=wait); thread.start()
print(sum(g.get(timeout=30) for g in [gevent.spawn(wait) for _ in range(5)]))
thread.join()
ours, theirs = socket.socketpair()
with ours, theirs:
    reading = gevent.spawn(ours.recv, 9)
    gevent.sleep(0)
    theirs.send(b"news")
    print(reading.get(timeout=30), type(gevent.get_hub().loop).__module__)
""")
    assert out == "5\nb'news' greenify.integrations.gevent.loop\n"


@in_any_order
def test_its_thread_pool_has_native_threads(first: str) -> None:
    out = run(
        f"""{first}
import gevent, socket, threading
pool = gevent.get_hub().threadpool
print(pool.apply(threading.get_native_id) != threading.get_native_id())
with gevent.Timeout(30):
    print(bool(gevent.socket.getaddrinfo("127.0.0.1", 80)), bool(socket.getaddrinfo("127.0.0.1", 80)))
""".replace("import gevent,", "import gevent.socket,")
    )
    assert out == "True\nTrue True\n"


@in_any_order
def test_its_greenlets_are_threads_of_their_own(first: str) -> None:
    out = run(f"""{first}
import gevent, threading, time
local, lock, found = threading.local(), threading.RLock(), []
main, ids = threading.get_ident(), set()
def work(number):
    local.number = number
    with lock:
        inside.append(number)
        time.sleep(0)
        assert inside == [number]
        inside.clear()
    ids.add(threading.get_ident())
    assert threading.current_thread() is threading.current_thread()
    barrier.wait(30)
    return local.number
inside, barrier = [], threading.Barrier(5)
gs = [gevent.spawn(work, number) for number in range(5)]
print([g.get(timeout=30) for g in gs], len(ids), main in ids, hasattr(local, "number"))
gevent.sleep(0)
# Gone with their greenlets.
print(threading.enumerate() == [threading.main_thread()])
""")
    assert out == "[0, 1, 2, 3, 4] 5 False False\nTrue\n"


def test_thread_local_data_goes_with_the_greenlet() -> None:
    out = run(f"""{PATCH}
import gc, gevent, threading, weakref
class Thing: pass
local = threading.local()
def work():
    local.thing = Thing()
    return weakref.ref(local.thing)
g = gevent.spawn(work)
reference = g.get(timeout=30)
gevent.sleep(0); gc.collect()
print(reference())
""")
    assert out == "None\n"


@in_any_order
def test_green_threads_share_its_hub(first: str) -> None:
    out = run(f"""{first}
import gevent, threading
hubs, results = {{id(gevent.get_hub())}}, []
def thread(number):
    gevent.sleep(0.001)
    hubs.add(id(gevent.get_hub()))
    results.append(gevent.spawn(lambda: number).get(timeout=30))
threads = [threading.Thread(target=thread, args=(n,)) for n in range(3)]
for t in threads: t.start()
for t in threads: t.join()
print(len(hubs), sorted(results))
""")
    assert out == "1 [0, 1, 2]\n"


@in_any_order
def test_what_monkey_says(first: str) -> None:
    out = run(f"""{first}
from gevent import monkey
import greenify, time
print([name for name in ("os", "socket", "threading", "queue", "json") if not monkey.is_module_patched(name)])
print(monkey.is_object_patched("time", "sleep"), monkey.is_object_patched("time", "time"))
print(monkey.get_original("time", "sleep") is greenify.original("time", "sleep"))
print(all(greenify.is_patched(name) for name in greenify.ORDER))
""")
    assert out == "['json']\nTrue False\nTrue\nTrue\n"


@in_any_order
def test_its_children_can_be_waited_for(first: str) -> None:
    """Its loop would reap them, and ``os.waitpid`` find none."""
    run(f"""{first}
import gevent, gevent.os, os
ends = (lambda pid: os.waitpid(pid, 0)), (lambda pid: gevent.os.waitpid(pid, 0)), (lambda pid: os.wait())
for fork in (gevent.fork, gevent.os.fork):
    for end in ends:
        reader, writer = os.pipe()
        child = fork()
        if not child:
            os._exit(3)
        os.close(writer)
        assert os.read(reader, 1) == b""  # it has ended
        os.close(reader)
        gevent.sleep(0.01)  # gevent's loop has had its turn
        assert end(child) == (child, 3 << 8)
watched = gevent.os.fork_and_watch()
if not watched:
    os._exit(4)
assert gevent.os.waitpid(watched, 0) == (watched, 4 << 8)
""")


def test_what_is_left_out_gevent_may_patch() -> None:
    out = run("""
import greenify; greenify.patch_all(skip=["subprocess"])
import gevent.monkey; gevent.monkey.patch_all()
import gevent.subprocess, subprocess, time
print(subprocess.Popen is gevent.subprocess.Popen, "gevent" in repr(time.sleep))
""")
    assert out == "True False\n"


def test_restore() -> None:
    out = run(f"""{PATCH}
import gevent, gevent.monkey as monkey
assert gevent.config.loop.__module__ == "greenify.integrations.gevent.loop"
greenify.restore()
print(gevent.config.loop.__module__.partition(".")[0], monkey.is_module_patched("socket"))
monkey.patch_time()
print(monkey.is_module_patched("time"), monkey.is_module_patched("socket"))
""")
    assert out == "gevent False\nTrue False\n"


def test_can_be_left_out() -> None:
    out = run("""
import greenify; greenify.patch_all(skip=["gevent"])
import gevent
print(gevent.config.loop.__module__.partition(".")[0])
""")
    assert out == "gevent\n"


class TestWhereItCannotBe:
    def test_its_hub_exists(self) -> None:
        result = run_python(
            """
            import gevent; gevent.sleep(0)
            import greenify
            greenify.patch_all()
            """,
            greenify=False,
        )
        # The tests turn warnings into errors: then nothing is patched.
        assert result.returncode == 1
        *_, last = result.stderr.strip().splitlines()
        assert last.startswith("greenify.errors.LatePatchWarning: gevent's hub runs already")
        assert "call greenify.patch_all() before anything of gevent" in last

    def test_another_loop_has_been_asked_for(self) -> None:
        code = """
            import warnings
            warnings.simplefilter("always")
            import greenify; greenify.patch_all()
            with warnings.catch_warnings(record=True) as caught:
                import gevent
            print(len(caught), caught[0].filename, caught[0].message)
            print(gevent.config.loop.__module__)
        """
        out = run(code, env={"GEVENT_LOOP": "libuv"})
        assert out.startswith("1 <string> GEVENT_LOOP=libuv keeps gevent on a loop of its own")
        assert out.endswith("\ngevent.libuv.loop\n")
