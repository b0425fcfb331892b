"""Name look-ups: answers and errors of the plain functions, and other threads run meanwhile."""

from __future__ import annotations

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode


def test_answers_and_errors() -> None:
    same_output("""
    ADDRESSES = [("localhost", 80), ("localhost", "http"), ("localhost", None), ("127.0.0.1", 80),
        ("::1", 80),
                 (None, 80), ("", 80), (b"localhost", b"80"), ("127.0.0.1", "http"), ("127.1", 1),
                 ("1.2.3", 1),
                 ("fe80::1%lo", 1), ("fe80::1%nothing", 1), ("0x7f.1", 1), ("localhost", "no such service"),
                 ("no-such-host.invalid", 80), ("no such host", 80), ("a" * 300, 80),
                 ("caf\\xe9.invalid", 80),
                 ("a..b", 80), (5, 80), ("localhost", object), ("localhost\\0", 80), ("127.0.0.1", 99999)]
    for address in ADDRESSES:
        print("getaddrinfo", address, outcome(socket.getaddrinfo, *address))
    for options in ({"family": socket.AF_INET}, {"family": socket.AF_INET6}, {"type": socket.SOCK_STREAM},
                    {"type": socket.SOCK_DGRAM, "proto": 17}, {"flags": socket.AI_PASSIVE},
                    {"flags": socket.AI_NUMERICHOST}, {"flags": socket.AI_CANONNAME}, {"family": 12345},
                    {"flags": 1 << 30}, {"family": "x"}):
        for host in ("localhost", "127.0.0.1", None):
            print("getaddrinfo", host, options, outcome(socket.getaddrinfo, host, 80, **options))
    print(outcome(socket.getaddrinfo), outcome(socket.getaddrinfo, "localhost"))
    print(outcome(socket.getaddrinfo, host="localhost", port=80, family=socket.AF_INET, proto=6))
    HOSTS = ["localhost", "127.0.0.1", "", "<broadcast>", "255.255.255.255", "::1", b"localhost",
        "1.2", "a" * 300,
             "no-such-host.invalid", "caf\\xe9.invalid", "a..b", None, 5, "localhost\\0",
             bytearray(b"127.0.0.1")]
    for function in (socket.gethostbyname, socket.gethostbyname_ex, socket.gethostbyaddr, socket.getfqdn):
        for host in HOSTS:
            if function is socket.getfqdn and not isinstance(host, str):
                continue
            if function is not socket.gethostbyname and host == "<broadcast>":
                continue  # the C library's answer depends on what the thread has asked before
            print(function.__name__, host, outcome(function, host))
        print(outcome(function, 1, 2, 3).split(":")[0])
    for address in (("127.0.0.1", 80), ("::1", 80), ("::1", 80, 0, 0), ("localhost", 80), ("192.0.2.1",
        1), (),
                    ("127.0.0.1",), ("127.0.0.1", "http"), "text", None, ("no-such-host.invalid", 80),
                    ("127.0.0.1", -1), ("::1", 80, 1 << 40, 0)):
        for flags in (0, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV, socket.NI_NAMEREQD,
            socket.NI_DGRAM, "x"):
            print("getnameinfo", address, flags, outcome(socket.getnameinfo, address, flags))
    print(socket.gethostname() == os.uname().nodename, socket.has_ipv6)
    try:
        socket.getaddrinfo("no-such-host.invalid", 80)
    except socket.gaierror as exc:
        print(type(exc), exc.errno, exc.args, exc.__context__, exc.__cause__, isinstance(exc, OSError))
    """)


SLOW_RESOLVER = """
    import _socket
    native_sleep = time.sleep
    calls, running, most = [], [], []
    plain = _socket.getaddrinfo
    gate = threading.Lock()
    gate.acquire()
    def slow(host, *args):
        host = host.decode() if isinstance(host, bytes) else host
        calls.append(host)
        running.append(host)
        most.append(len(running))
        if host == "slow":
            gate.acquire()
            gate.release()
        else:
            native_sleep(0.005)
        running.remove(host)
        if host == "bad":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return plain("127.0.0.1", *args)
    _socket.getaddrinfo = slow
    # It runs where the real one would: with the interpreter's own functions, imported before the patch.
    import greenify
    greenify.patch_all()
    PATCHED = True
"""


def test_a_hundred_behind_a_slow_one() -> None:
    run(
        SLOW_RESOLVER
        + """
    slow_one = Thread(socket.getaddrinfo, "slow", 80)
    settle()
    ticks = []
    def tick():
        while not ticks or ticks[-1] is None:
            time.sleep(0.001)
            ticks.append(None)
            if done:
                break
    done = []
    ticker = Thread(tick)
    start = time.monotonic()
    others = [Thread(socket.getaddrinfo, f"host{n}", 80) for n in range(100)]
    assert all(each.end()[0][4] == ("127.0.0.1", 80) for each in others)
    # 100 of 5 ms each on the other threads of the pool.
    elapsed = time.monotonic() - start
    done.append(True)
    ticker.end()
    assert len(ticks) > 5, ticks
    assert slow_one.is_alive()
    from greenify.core.workers import lookup_workers
    assert 2 < max(most) <= lookup_workers.limit
    gate.release()
    assert slow_one.end()[0][4] == ("127.0.0.1", 80)
    assert len(calls) == 101
    """,
        False,
    )


def test_errors_and_giving_up() -> None:
    run(
        SLOW_RESOLVER
        + """
    import weakref
    for _ in range(3):
        try:
            socket.create_connection(("bad", 80))
        except socket.gaierror as exc:
            assert exc.args == (socket.EAI_NONAME, "no such name")
        else:
            raise AssertionError
    with socket.socket() as s:
        for method in (s.connect, s.connect_ex, s.bind):
            text = outcome(method, ("bad", 80))
            assert text == f"gaierror: [Errno {socket.EAI_NONAME}] no such name", text
    # Whoever gives up leaves the call behind, and its answer reaches nobody.
    from greenify.timeout import Timeout
    with Timeout(0.01, False):
        socket.getaddrinfo("slow", 80)
        raise AssertionError("not reached")
    from greenify.core.workers import lookup_workers
    lookup_workers.resize(16)
    threads = [Thread(socket.getaddrinfo, "slow", 80) for _ in range(40)]
    settle()
    for _ in range(3):
        with Timeout(0.005, False):
            socket.getaddrinfo("late", 80)
            raise AssertionError("not reached")
    gate.release()
    for each in threads:
        each.end()
    assert "late" not in calls
    assert socket.getaddrinfo("host", 80)[0][4] == ("127.0.0.1", 80)
    """,
        False,
    )


def test_sixty_that_hang() -> None:
    run(
        SLOW_RESOLVER
        + """
    from greenify.core.workers import lookup_workers
    hanging = [Thread(socket.getaddrinfo, "slow", 80) for _ in range(60)]
    # All of them hang at the same time, in whatever way they were asked.
    others = [Thread(outcome, socket.create_connection, ("slow", 1)) for _ in range(10)]
    limit = time.monotonic() + LONG
    while running.count("slow") < 70:
        assert time.monotonic() < limit, running
        time.sleep(0.001)
    # A good one is answered beside them, and other calls have their threads.
    assert socket.getaddrinfo("host", 80)[0][4] == ("127.0.0.1", 80)
    assert greenify.run_in_thread(int, "7") == 7
    assert all(each.is_alive() for each in hanging)
    assert 71 <= lookup_workers.threads <= lookup_workers.limit
    assert threading.active_count() == 71 and __import__("_thread")._count() == 70
    # Those of the pool end when they have had nothing to do for a while.
    lookup_workers.idle = 0.05
    gate.release()
    for each in hanging:
        assert each.end()[0][4] == ("127.0.0.1", 80)
    for each in others:
        assert "ConnectionRefusedError" in each.end()
    while lookup_workers.threads:
        assert time.monotonic() < limit, lookup_workers.threads
        time.sleep(0.001)
    assert socket.getaddrinfo("host", 80)[0][4] == ("127.0.0.1", 80)
    """,
        False,
    )


def test_more_than_the_pool_has_threads() -> None:
    run(
        SLOW_RESOLVER
        + """
    from greenify.core.workers import lookup_workers
    lookup_workers.resize(5)
    hanging = [Thread(socket.getaddrinfo, "slow", 80) for _ in range(5)]
    limit = time.monotonic() + LONG
    while running.count("slow") < 5:
        assert time.monotonic() < limit
        time.sleep(0.001)
    waiting = Thread(socket.getaddrinfo, "host", 80)
    settle()
    assert waiting.is_alive() and lookup_workers.threads == 5
    gate.release()
    assert waiting.end()[0][4] == ("127.0.0.1", 80)
    for each in hanging:
        each.end()
    """,
        False,
    )


@both_modes
def test_from_many_kinds_of_threads(mode: Mode) -> None:
    run(
        """
    import _thread
    if PATCHED:
        import greenify
        start_native = greenify.original(_thread, "start_new_thread")
    else:
        start_native = _thread.start_new_thread
    expected = socket.getaddrinfo("localhost", 80)
    got = queue.SimpleQueue()
    def look_up():
        got.put(socket.getaddrinfo("localhost", 80))
    for _ in range(20):
        start_native(look_up, ())
        threading.Thread(target=look_up).start()
    for _ in range(40):
        assert got.get(timeout=LONG) == expected
    # In a finaliser, in a forked child.
    class Finalised:
        def __del__(self):
            look_up()
    Finalised()
    assert got.get(timeout=LONG) == expected
    pid = os.fork()
    if not pid:
        os._exit(0 if socket.getaddrinfo("localhost", 80) == expected else 1)
    assert os.waitpid(pid, 0)[1] == 0
    """,
        mode,
    )


def test_quick_ones_share_a_few_threads() -> None:
    run(
        SLOW_RESOLVER
        + """
    from greenify.core import workers
    workers._PATIENCE = 3600.0  # whatever the clock says
    many = [Thread(socket.getaddrinfo, f"host{n}", 80) for n in range(100)]
    assert all(each.end()[0][4] == ("127.0.0.1", 80) for each in many)
    assert len(calls) == 100 and max(most) <= workers.lookup_workers.prompt == 16
    assert workers.lookup_workers.threads <= 16
    """,
        False,
    )


def test_an_error_shows_the_frames_that_it_shows_with_threads() -> None:
    same_output("""
    def frames(function, *args):
        try:
            function(*args)
        except Exception as exc:
            shown = [frame.name for frame in traceback.extract_tb(exc.__traceback__)]
            print(function.__name__, args, repr(exc), shown)

    for function in (socket.gethostbyname, socket.gethostbyname_ex, socket.gethostbyaddr):
        for name in ("no-such-host.invalid", "a" * 300):
            frames(function, name)
    frames(socket.gethostbyaddr, 5)
    for name in ("no-such-host.invalid", "a" * 300):
        frames(socket.getaddrinfo, name, 80)
    for address in (("no-such-host.invalid", 80), ("a" * 300, 80), ("127.0.0.1",), 5):
        frames(socket.getnameinfo, address, 0)

    argument = "an address" + str(len(sys.argv))
    held = sys.getrefcount(argument)
    try:
        socket.getnameinfo(argument, 0)
    except TypeError:
        print(sys.getrefcount(argument) - held)
    """)
