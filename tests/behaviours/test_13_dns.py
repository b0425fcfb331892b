"""13. DNS: look-ups run side by side, and answer exactly as the plain functions do."""

from __future__ import annotations

from tests.behaviours.scenario import ALL, check
from tests.support import Mode

# A resolver under the standard library's functions that answers when it is told to.
RESOLVER = """
import _socket, socket
real = _socket.getaddrinfo
lock = threading.Lock()
slow, running, most = threading.Event(), 0, 0
waiting = threading.Semaphore(0)

def resolver(host, *args, **kwargs):
    global running, most
    if host == "slow.test":
        with lock:
            running += 1
            most = max(most, running)
        waiting.release()
        assert slow.wait(60)
        with lock:
            running -= 1
    return real("127.0.0.1", *args, **kwargs)

_socket.getaddrinfo = resolver
def look_up(name):
    return socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)[0][4]
"""


@ALL
def test_a_slow_one_holds_up_nobody(mode: Mode) -> None:
    code = """
    slow_ones = [Call(look_up, "slow.test") for _ in range(3)]
    for _ in slow_ones:
        assert waiting.acquire(timeout=30)
    quick = [Call(look_up, f"host{number}.test") for number in range(100)]
    assert [call.result() for call in quick] == [("127.0.0.1", 80)] * 100
    assert all(call.is_alive() for call in slow_ones)
    slow.set()
    assert [call.result() for call in slow_ones] == [("127.0.0.1", 80)] * 3
    """
    check(RESOLVER + _dedent(code), mode)


def test_no_more_threads_than_the_pool_has() -> None:
    """Slow ones take turns on as many threads as the pool may grow to; numbers do not queue behind them."""
    code = """
    from greenify.core.workers import lookup_workers
    limit = lookup_workers.limit
    assert limit == 128 and lookup_workers.prompt == 16
    calls = [Call(look_up, "slow.test") for _ in range(limit + 20)]
    for _ in range(limit):
        assert waiting.acquire(timeout=30)
    # The rest have waited for longer than it takes until another thread is started.
    assert not waiting.acquire(timeout=0.1)
    assert most == running == lookup_workers.threads == limit, (most, running)
    # Numbers need no resolver.
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Call(socket.create_connection, server.getsockname())
        server.accept()[0].close()
        client.result().close()
    slow.set()
    assert [call.result() for call in calls] == [("127.0.0.1", 80)] * (limit + 20)
    assert most == limit, most
    """
    check(RESOLVER + _dedent(code), True)


QUESTIONS = """
import socket, sys

def names(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception as exc:
        return type(exc).__mro__[:-1], exc.args

S = socket
QUESTIONS = [
    (function, args)
    for function, arguments in {
        S.getaddrinfo: [
            ("localhost", 80), ("localhost", "http"), ("localhost", None), ("127.0.0.1", 80), ("::1", 80),
            ("::1%lo", 80), (None, 80), (None, 0, S.AF_INET, S.SOCK_STREAM, 0, S.AI_PASSIVE), ("", 80),
            (b"localhost", 80), (bytearray(b"127.0.0.1"), 80), ("localhost", b"80"), ("localhost", "no-such"),
            ("127.0.0.1", 80, S.AF_INET6), ("::1", 80, S.AF_INET), ("localhost", 80, 99),
            ("localhost", 80, 0, S.SOCK_DGRAM), ("localhost", 80, 0, 0, S.IPPROTO_TCP),
            ("localhost", 80, 0, 0, 0, S.AI_NUMERICHOST), ("127.1", 80), ("0x7f.1", 80), ("1", 80),
            ("localhost", -1), ("localhost", 1 << 70), ("a" * 70, 80), ("a..b", 80), ("caf\\xe9\\udcff", 80),
            ("local\\0host", 80), (3, 80), (("localhost",), 80), ("localhost", 3.5), (), ("localhost",),
            ("localhost", 80, "x"), ("no-such-host.invalid", 80), ("127.0.0.1 ", 80), ("256.1.1.1", 80),
        ],
        S.gethostbyname: [
            ("localhost",), ("127.0.0.1",), ("",), ("<broadcast>",), ("::1",), ("no-such-host.invalid",),
            (b"localhost",), (3,), (None,), ("a\\0b",), ("a..b",), ("127.1",),
        ],
        S.gethostbyname_ex: [("localhost",), ("127.0.0.1",), ("",), (3,), ("no-such-host.invalid",)],
        S.gethostbyaddr: [("127.0.0.1",), ("localhost",), ("::1",), ("300.1.1.1",), (3,), ("",)],
        S.getnameinfo: [
            (("127.0.0.1", 80), 0), (("127.0.0.1", 80), S.NI_NUMERICHOST | S.NI_NUMERICSERV),
            (("::1", 80, 0, 0), S.NI_NUMERICHOST), (("localhost", 80), 0), (("127.0.0.1",), 0), ("x", 0),
            (("127.0.0.1", -1), 0), (("127.0.0.1", 80), "x"), ((3, 80), 0), (("::1", 80, 1 << 21), 0),
        ],
        S.getfqdn: [(), ("localhost",), ("127.0.0.1",)],
    }.items()
    for args in arguments
]
def connect(function, address):
    with S.socket() as sock:
        return getattr(sock, function)(address)
for function in ("connect", "connect_ex", "bind"):
    for address in (
        ("localhost", 1), ("127.0.0.1", 1), ("no-such-host.invalid", 1), ("localhost", -1), ("localhost", "x"),
        ("localhost",), "localhost", None, (3, 1), ("a..b", 1), ("::1", 1), ("a\\0b", 1),
    ):
        if function != "bind" or address not in (("localhost", 1), ("127.0.0.1", 1)):
            QUESTIONS.append((connect, (function, address)))
"""


def test_results_and_errors_are_those_of_the_plain_functions() -> None:
    code = """
    for function, args in QUESTIONS:
        print(function.__name__, args, "->", names(function, *args))
    """
    natively = check(QUESTIONS + _dedent(code), False).splitlines()
    assert len(natively) > 90
    in_threads = """
    calls = [(function, args, Call(names, function, *args)) for function, args in QUESTIONS]
    for function, args, call in calls:
        print(function.__name__, args, "->", call.result())
    """
    for program in (code, in_threads):
        found = check(QUESTIONS + _dedent(program), True).splitlines()
        for line, expected in zip(found, natively, strict=True):
            assert line == expected


def _dedent(code: str) -> str:
    import textwrap

    return textwrap.dedent(code)
