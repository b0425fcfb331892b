"""Every call of the table that promises it lets a thread run while it waits: one program for each.

Two kinds.  Of most, the main thread's call can only come back when another thread, which sleeps three times
before, has done its part (`RELEASED`).  A call that is handed over and waits for nobody in the program is
held on its native thread until another one has gone on (`HANDED_OVER`).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sqlite3
from pathlib import Path

import pytest
import trustme

from tests.green._foreign.foreign import HELD
from tests.green._foreign.native_calls import ROWS
from tests.green.programs import both_modes, run
from tests.support import Mode

HERE = "green/_foreign/test_ticking.py::"

READY = """
    ticks = []
    begun = threading.Event()

    def others(release):
        begun.wait(LONG)
        for _ in range(3):
            time.sleep(0.002)
            ticks.append(1)
        return release()

    def check(call, release):
        other = Thread(others, release)
        begun.set()
        result = call()
        assert len(ticks) == 3, f"it has come back by itself: {result!r}"
        other.end()
        return result

    def full(fd):
        '''Fill a pipe or socket that nobody reads from.'''
        os.set_blocking(fd, False)
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    os.write(fd, bytes(size))
            except BlockingIOError:
                pass
        os.set_blocking(fd, True)
        return fd

    def drain(fd):
        '''Read until the writer has nothing more: the last byte is a 1.'''
        data = b"0"
        while data[-1:] != b"1":
            data = os.read(fd, 1 << 16)
            assert data

    here = os.path.dirname(os.path.abspath(__file__))
"""

PIPE = "r, w = os.pipe()"
FULL = "r, w = os.pipe(); full(w)"
PAIR = "a, b = socket.socketpair()"
FULL_PAIR = "a, b = socket.socketpair(); full(a.fileno())"
DATA = "lambda: os.write(w, b'x')"
SEND = "lambda: b.send(b'x')"
CHILD = (
    "r, w = os.pipe(); "
    "pid = os.posix_spawnp('cat', ['cat'], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, r, 0)])"
)
FIFO = "os.mkfifo(here + '/fifo')"
LISTENER = """
a = socket.socket(socket.AF_UNIX)
a.bind(here + '/listener')
a.listen(0)
waiting = socket.socket(socket.AF_UNIX)
waiting.connect(a.getsockname())
b = socket.socket(socket.AF_UNIX)
"""
ACCEPTED = "lambda: accepted.append(a.accept())"
BLOCKED = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])"
SIGNAL = "lambda: os.kill(os.getpid(), signal.SIGUSR1)"
CERTIFICATE = """
import ssl
serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
serving.load_cert_chain(sys.argv[1] + '/server.pem')
asking = ssl.create_default_context(cafile=sys.argv[1] + '/ca.pem')
a, b = socket.socketpair()
"""
TLS = (
    CERTIFICATE
    + """
greeted = Thread(serving.wrap_socket, a, server_side=True)
b = asking.wrap_socket(b, server_hostname='localhost')
a = greeted.end()
"""
)
# A database that a sibling has locked in one way or the other, and a connection that waits for it.
DATABASE = """
import sqlite3
warnings.filterwarnings('ignore', 'unclosed database', ResourceWarning)
path = here + '/data'
db = sqlite3.connect(path, timeout=LONG, check_same_thread=False)
db.executescript('create table t(a); insert into t values (1); create table b(x); '
                 'insert into b values (zeroblob(10));')
db.commit()
holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
"""
LOCKED = DATABASE + "holder.execute('begin exclusive')"
READ = "holder.execute('begin'); holder.execute('select * from t').fetchall()"
FREED = "lambda: holder.execute('commit')"

# What is prepared, the call, and what makes it come back.
RELEASED: dict[str, tuple[str, str, str]] = {
    "posix.read": (PIPE, "lambda: os.read(r, 1)", DATA),
    "posix.readv": (PIPE, "lambda: os.readv(r, [bytearray(1)])", DATA),
    "posix.readinto": (PIPE, "lambda: os.readinto(r, bytearray(1))", DATA),
    "posix.preadv": (PIPE, "lambda: os.preadv(r, [bytearray(1)], -1)", DATA),
    "posix.write": (FULL, "lambda: os.write(w, b'1')", "lambda: drain(r)"),
    "posix.writev": (FULL, "lambda: os.writev(w, [b'0', b'1'])", "lambda: drain(r)"),
    "posix.pwritev": (FULL, "lambda: os.pwritev(w, [b'0', b'1'], -1)", "lambda: drain(r)"),
    "posix.sendfile": (
        f"{FULL_PAIR}; file = open(__file__, 'rb')",
        "lambda: (os.sendfile(a.fileno(), file.fileno(), 0, 10), a.send(b'1'))",
        "lambda: drain(b.fileno())",
    ),
    "posix.eventfd_read": (
        "fd = os.eventfd(0)",
        "lambda: os.eventfd_read(fd)",
        "lambda: os.eventfd_write(fd, 1)",
    ),
    "posix.eventfd_write": (
        "fd = os.eventfd(0); os.eventfd_write(fd, 2**64 - 2)",
        "lambda: os.eventfd_write(fd, 1)",
        "lambda: os.eventfd_read(fd)",
    ),
    "posix.splice": (f"{PIPE}; into = os.pipe()[1]", "lambda: os.splice(r, into, 1)", DATA),
    "posix.open": (
        FIFO,
        "lambda: os.open(here + '/fifo', os.O_RDONLY)",
        "lambda: os.open(here + '/fifo', os.O_WRONLY)",
    ),
    "posix.wait": (CHILD, "lambda: os.wait()", "lambda: os.close(w)"),
    "posix.wait3": (CHILD, "lambda: os.wait3(0)", "lambda: os.close(w)"),
    "posix.wait4": (CHILD, "lambda: os.wait4(pid, 0)", "lambda: os.close(w)"),
    "posix.waitid": (
        CHILD,
        "lambda: os.waitid(os.P_PID, pid, os.WEXITED)",
        "lambda: os.close(w)",
    ),
    "posix.waitpid": (CHILD, "lambda: os.waitpid(pid, 0)", "lambda: os.close(w)"),
    "posix.system": (
        FIFO,
        "lambda: os.system(f'read line < {here}/fifo')",
        "lambda: os.write(os.open(here + '/fifo', os.O_WRONLY), b'line\\n')",
    ),
    "select.select": (PIPE, "lambda: select.select([r], [], [])", DATA),
    "select.poll": (
        f"{PIPE}; poll = select.poll(); poll.register(r, select.POLLIN)",
        "lambda: poll.poll()",
        DATA,
    ),
    "select.epoll.poll": (
        f"{PIPE}; epoll = select.epoll(); epoll.register(r, select.EPOLLIN)",
        "lambda: epoll.poll()",
        DATA,
    ),
    "signal.pause": (
        "import signal; signal.signal(signal.SIGUSR1, lambda *args: None)",
        "lambda: signal.pause()",
        SIGNAL,
    ),
    "signal.sigtimedwait": (
        f"import signal; {BLOCKED}",
        "lambda: signal.sigtimedwait([signal.SIGUSR1], LONG)",
        SIGNAL,
    ),
    "signal.sigwaitinfo": (
        f"import signal; {BLOCKED}",
        "lambda: signal.sigwaitinfo([signal.SIGUSR1])",
        SIGNAL,
    ),
    "_multiprocessing.SemLock.acquire": (
        "import multiprocessing; semaphore = multiprocessing.Semaphore(0)",
        "lambda: semaphore.acquire()",
        "lambda: semaphore.release()",
    ),
    "_queue.SimpleQueue.get": (
        "items = queue.SimpleQueue()",
        "lambda: items.get()",
        "lambda: items.put(1)",
    ),
    "_thread.LockType.acquire": (
        "import _thread; lock = _thread.allocate_lock(); lock.acquire()",
        "lambda: lock.acquire()",
        "lambda: lock.release()",
    ),
    "_io.FileIO.read": (f"{PIPE}; from io import FileIO", "lambda: FileIO(r).read(1)", DATA),
    "_io.FileIO.readinto": (
        f"{PIPE}; from io import FileIO",
        "lambda: FileIO(r).readinto(bytearray(1))",
        DATA,
    ),
    "_io.FileIO.readall": (
        f"{PIPE}; from io import FileIO",
        "lambda: FileIO(r).readall()",
        "lambda: os.close(w)",
    ),
    "_io.FileIO.write": (
        f"{FULL}; from io import FileIO",
        "lambda: FileIO(w, 'w').write(b'1')",
        "lambda: drain(r)",
    ),
    # Sockets.
    "_socket.socket.connect": (LISTENER, "lambda: b.connect(a.getsockname())", ACCEPTED),
    "_socket.socket.connect_ex": (LISTENER, "lambda: b.connect_ex(a.getsockname())", ACCEPTED),
    **{
        f"_socket.socket.{name}": (PAIR, f"lambda: a.{name}({args})", SEND)
        for name, args in (
            ("recv", "1"),
            ("recv_into", "bytearray(1)"),
            ("recvfrom", "1"),
            ("recvfrom_into", "bytearray(1)"),
            ("recvmsg", "1"),
            ("recvmsg_into", "[bytearray(1)]"),
        )
    },
    **{
        f"_socket.socket.{name}": (
            FULL_PAIR,
            f"lambda: a.{name}({args})",
            "lambda: drain(b.fileno())",
        )
        for name, args in (("send", "b'1'"), ("sendall", "b'1'"), ("sendmsg", "[b'1']"))
    },
    "_socket.socket.sendto": (
        # A queue of datagrams that is full for everybody.
        """
b = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
b.bind(here + '/datagrams')
a = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
a.setblocking(False)
sent = iter(lambda: outcome(a.sendto, b'0', b.getsockname()), 0)
assert 'BlockingIOError' in next(answer for answer in sent if answer != 1)
a.setblocking(True)
""",
        "lambda: a.sendto(b'1', b.getsockname())",
        "lambda: drain(b.fileno())",
    ),
    "_socket.socket.close": (
        """
listener = socket.create_server(('127.0.0.1', 0))
a = socket.create_connection(listener.getsockname())
b = listener.accept()[0]
a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, int(LONG)))
full(a.fileno())
os.set_blocking(b.fileno(), True)
""",
        "lambda: a.close()",
        "lambda: b''.join(iter(lambda: b.recv(1 << 20), b''))",
    ),
    # TLS.
    "_ssl._SSLSocket.do_handshake": (
        CERTIFICATE,
        "lambda: asking.wrap_socket(b, server_hostname='localhost')",
        "lambda: serving.wrap_socket(a, server_side=True)",
    ),
    "_ssl._SSLSocket.read": (TLS, "lambda: a.read(1)", "lambda: b.write(b'x')"),
    "_ssl._SSLSocket.write": (
        TLS,
        "lambda: (a.sendall(bytes(1 << 22)), a.write(b'1'))",
        "lambda: all(b.read(1 << 16)[-1:] != b'1' for _ in iter(int, 1))",
    ),
    "_ssl._SSLSocket.shutdown": (TLS, "lambda: a.unwrap()", "lambda: b.unwrap()"),
    # SQLite.
    "_sqlite3.connect": (
        LOCKED,
        "lambda: sqlite3.connect(path, timeout=LONG).execute('pragma user_version').fetchall()",
        FREED,
    ),
    "_sqlite3.Connection.backup": (
        LOCKED,
        "lambda: db.backup(sqlite3.connect(':memory:'), sleep=0.001)",
        FREED,
    ),
    "_sqlite3.Connection.blobopen": (LOCKED, "lambda: db.blobopen('b', 'x', 1).close()", FREED),
    "_sqlite3.Connection.commit": (
        f"{DATABASE}{READ}; db.execute('insert into t values (2)')",
        "lambda: db.commit()",
        FREED,
    ),
    "_sqlite3.Connection.execute": (LOCKED, "lambda: db.execute('select * from t')", FREED),
    "_sqlite3.Connection.executemany": (
        LOCKED,
        "lambda: db.executemany('insert into t values (?)', [(5,), (6,)])",
        FREED,
    ),
    "_sqlite3.Connection.executescript": (
        LOCKED,
        "lambda: db.executescript('insert into t values (5)')",
        FREED,
    ),
    "_sqlite3.Cursor.execute": (LOCKED, "lambda: db.cursor().execute('select * from t')", FREED),
    "_sqlite3.Cursor.executemany": (
        LOCKED,
        "lambda: db.cursor().executemany('insert into t values (?)', [(5,), (6,)])",
        FREED,
    ),
    "_sqlite3.Cursor.executescript": (
        LOCKED,
        "lambda: db.cursor().executescript('insert into t values (5)')",
        FREED,
    ),
    "_sqlite3.Blob.close": (
        # Its end is that of the transaction: it waits for who reads.
        f"{DATABASE}db.isolation_level = None; blob = db.blobopen('b', 'x', 1); blob.write(b'abc'); {READ}",
        "lambda: blob.close()",
        FREED,
    ),
}

# The kernel takes as much as its buffer holds, until somebody reads what comes of it from the same socket.
RELEASED["_socket.socket.sendmsg_afalg"] = (
    """
algorithm = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
algorithm.bind(('skcipher', 'cbc(aes)'))
algorithm.setsockopt(socket.SOL_ALG, socket.ALG_SET_KEY, bytes(16))
a = algorithm.accept()[0]
size = 1 << 20
def read():
    left = size
    while left:
        left -= len(a.recv(min(left, 1 << 16)))
""",
    "lambda: a.sendmsg_afalg([bytes(size)], op=socket.ALG_OP_ENCRYPT, iv=bytes(16))",
    "read",
)

#: Prepared, and the call.
HANDED_OVER: dict[str, tuple[str, str]] = {
    "posix.fsync": ("file = open(here + '/file', 'wb')", "os.fsync(file.fileno())"),
    "posix.fdatasync": ("file = open(here + '/file', 'wb')", "os.fdatasync(file.fileno())"),
    "posix.sync": ("", "os.sync()"),
    "posix.posix_fallocate": (
        "file = open(here + '/file', 'wb')",
        "os.posix_fallocate(file.fileno(), 0, 4096)",
    ),
    "posix.copy_file_range": (
        "file = open(here + '/file', 'w+b', buffering=0); file.write(bytes(1 << 20)); "
        "other = open(here + '/other', 'wb')",
        "os.copy_file_range(file.fileno(), other.fileno(), 1 << 20, 0)",
    ),
    "posix.getrandom": (
        # As the kernel is for a moment after it has started.
        """
from greenify.green._foreign import kernel
getrandom = kernel._getrandom
def empty(size, flags=0):
    if flags & os.GRND_NONBLOCK:
        raise BlockingIOError(errno.EAGAIN, 'no entropy yet')
    return getrandom(size, flags)
kernel._getrandom = empty
""",
        "os.getrandom(1)",
    ),
    "_socket.getaddrinfo": ("", "socket.getaddrinfo('localhost', 80)"),
    "_socket.gethostbyname": ("", "socket.gethostbyname('localhost')"),
    "_socket.gethostbyname_ex": ("", "socket.gethostbyname_ex('localhost')"),
    "_socket.gethostbyaddr": ("", "outcome(socket.gethostbyaddr, '127.0.0.1')"),
    "_socket.getnameinfo": ("", "socket.getnameinfo(('127.0.0.1', 80), 0)"),
}


def _lacks(name: str) -> str:
    """Why this Python, or this system, cannot run the program, or an empty string."""
    module, *path = name.split(".")
    found: object = {
        "posix": os, "select": select, "signal": signal, "_socket": socket, "_sqlite3": sqlite3,
    }.get(module)  # fmt: skip
    if found is None:
        return ""
    for part in path:
        if not hasattr(found, part):
            return f"this Python has no {name}"
        found = getattr(found, part)
    if name.endswith("afalg"):
        try:
            with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as sock:
                sock.bind(("skcipher", "cbc(aes)"))
        except OSError as exc:
            return f"this kernel has no cipher for programs: {exc}"
    return ""


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder


@both_modes
@pytest.mark.parametrize("name", RELEASED)
def test_a_thread_ticks(name: str, mode: Mode, tls: Path) -> None:
    lack = _lacks(name)
    if lack:
        pytest.skip(lack)
    prepare, call, release = RELEASED[name]
    lines = "\n".join("    " + line for line in prepare.strip().splitlines())
    program = f"""{READY}
    # Descriptors and sockets are left to the end of the process.
    warnings.simplefilter("ignore", ResourceWarning)
    accepted = []
{lines}
    check({call}, {release})
    """
    run(program, mode, tls)


@pytest.mark.parametrize("name", HANDED_OVER)
def test_a_thread_ticks_while_a_native_one_works(name: str) -> None:
    lack = _lacks(name)
    if lack:
        pytest.skip(lack)
    prepare, call = HANDED_OVER[name]
    lines = "\n".join("    " + line for line in prepare.strip().splitlines())
    program = f"""{READY}{HELD}
    warnings.simplefilter("ignore", ResourceWarning)
{lines}
    hold()
    {call}
    assert ticked and min(ticked) >= 3, ticked
    """
    run(program, "patch_all")


def test_every_promise_has_a_program() -> None:
    """A row of the table names a test of this file exactly if there is a program for it here."""
    there = {
        f"{HERE}test_a_thread_ticks": set(RELEASED),
        f"{HERE}test_a_thread_ticks_while_a_native_one_works": set(HANDED_OVER),
    }
    for test, names in there.items():
        assert {row.name for row in ROWS if row.test == test} == names
