"""sqlite3: who waits for a locked database lets the others run, as long as with threads and as exactly."""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

# A database that another thread of the program has locked, until a while after `locked()` has returned.
LOCKED = """
    import sqlite3

    # What CPython 3.13 and later say at the end.
    warnings.filterwarnings("ignore", "unclosed database", ResourceWarning)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "test.db")
    db = sqlite3.connect(path)
    db.executescript("create table t(a); insert into t values (1); create table b(x);"
                     "insert into b values (zeroblob(10));")
    db.commit()

    def locked(kind="exclusive"):
        begun = threading.Event()
        def hold():
            holder = sqlite3.connect(path, isolation_level=None)
            holder.execute(f"begin {kind}")
            holder.execute("insert into t values (2)")
            begun.set()
            # Only a thread that runs while the other one waits gives the lock back.
            for _ in range(10):
                time.sleep(0.01)
            holder.execute("commit")
            holder.close()
        thread = Thread(hold)
        begun.wait(LONG)
        return thread
"""

WAITS = {
    "connect": """
        # Making the journal's mode known takes a lock.
        other = sqlite3.connect(path, timeout=LONG)
        other.execute("pragma journal_mode").fetchall()
        other.execute("select * from t").fetchall()
        """,
    "execute": 'db.execute("insert into t values (3)")',
    "cursor": 'db.cursor().execute("select count(*) from t").fetchall()',
    "executemany": 'db.executemany("insert into t values (?)", [(n,) for n in range(5)])',
    "executescript": 'db.executescript("insert into t values (3); insert into t values (4);")',
    "with": """
        with db:
            db.execute("insert into t values (3)")
        """,
    "subclass": """
        class Mine(sqlite3.Connection):
            pass
        sqlite3.connect(path, timeout=LONG, factory=Mine).execute("insert into t values (3)")
        """,
    "dbapi2": """
        import sqlite3.dbapi2
        sqlite3.dbapi2.connect(path, timeout=LONG).execute("insert into t values (3)")
        """,
    "backup": 'sqlite3.connect(path, timeout=LONG).backup(sqlite3.connect(":memory:"), sleep=0.01)',
    "backup onto": 'sqlite3.connect(":memory:").backup(db, sleep=0.01)',
}
if hasattr(__import__("sqlite3"), "Blob"):
    WAITS["blob"] = """
        with db.blobopen("b", "x", 1) as blob:
            blob.write(b"abc")
        """


class TestWaiting:
    @pytest.mark.parametrize("what", WAITS)
    @both_modes
    def test_the_holder_goes_on(self, what: str, mode: Mode) -> None:
        program = "\n".join(
            [
                LOCKED,
                "    db = sqlite3.connect(path, timeout=LONG)",
                "    holder = locked()",
                "    def waits():",
                *("        " + line.removeprefix("        ") for line in WAITS[what].splitlines()),
                "    waits()",
                "    assert holder.end() is None",
                "    assert not holder.is_alive()",
            ]
        )
        run(program, mode)

    @pytest.mark.parametrize("ending", ["commit", "with"])
    @both_modes
    def test_commit_waits_for_readers(self, ending: str, mode: Mode) -> None:
        run(
            LOCKED
            + f"""
    reading = threading.Event()
    def read():
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("begin")
        reader.execute("select * from t").fetchall()
        reading.set()
        for _ in range(10):
            time.sleep(0.01)
        reader.execute("commit")
    writer = sqlite3.connect(path, timeout=LONG)
    writer.execute("insert into t values (5)")
    reader = Thread(read)
    reading.wait(LONG)
    if {ending!r} == "with":
        with writer:
            pass
    else:
        writer.commit()
    reader.end()
    assert sqlite3.connect(path).execute("select a from t").fetchall() == [(1,), (5,)]
    """,
            mode,
        )

    @both_modes
    def test_a_connection_from_before_the_patch(self, mode: Mode) -> None:
        program = """
    import sqlite3
    warnings.filterwarnings("ignore", "unclosed database", ResourceWarning)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "test.db")
    db = sqlite3.connect(path, timeout=20, isolation_level=None)
    db.execute("create table t(a)")
    if sys.argv[1] != "False":
        import greenify
        greenify.patch_all()
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("begin exclusive")
    def end():
        time.sleep(0.05)
        holder.execute("commit")
    thread = threading.Thread(target=end)
    thread.start()
    db.execute("insert into t values (1)")
    thread.join()
    """
        run(program, False, mode)


class TestTimeOut:
    def test_error_and_code(self) -> None:
        same_output(
            LOCKED
            + """
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    for limit in (0, 0.3):
        other = sqlite3.connect(path, timeout=limit)
        begun = time.monotonic()
        try:
            other.execute("insert into t values (3)")
        except sqlite3.OperationalError as exc:
            took = time.monotonic() - begun
            print(limit, exc, getattr(exc, "sqlite_errorcode", ""), other.in_transaction)
            assert limit <= took + 0.05, took
            assert took < 5, took
    """
        )

    @both_modes
    def test_two_that_would_wait_for_each_other(self, mode: Mode) -> None:
        # SQLite does not let the second one wait at all: it would be in vain.
        run(
            LOCKED
            + """
    first = sqlite3.connect(path, timeout=LONG, isolation_level=None)
    second = sqlite3.connect(path, timeout=LONG, isolation_level=None, check_same_thread=False)
    for each in (first, second):
        each.execute("begin")
        each.execute("select * from t").fetchall()
    first.execute("insert into t values (3)")
    begun = time.monotonic()
    assert "locked" in outcome(second.execute, "insert into t values (4)")
    assert time.monotonic() - begun < LONG / 2
    """,
            mode,
        )


class TestRows:
    @both_modes
    def test_none_twice_and_none_lost(self, mode: Mode) -> None:
        run(
            LOCKED
            + """
    def rows(n):
        for k in range(100):
            if k % 10 == 0:
                time.sleep(0.001)
            yield n, k
    db.execute("create table r(n, k)")
    db.commit()
    def load(n):
        connection = sqlite3.connect(path, timeout=LONG)
        with connection:
            connection.executemany("insert into r values (?, ?)", rows(n))
    threads = [Thread(load, n) for n in range(4)]
    for thread in threads:
        thread.end(60)
    assert db.execute("select count(*), count(distinct n * 1000 + k) from r").fetchone() == (400, 400)
    """,
            mode,
        )

    @both_modes
    def test_one_connection_whose_function_waits(self, mode: Mode) -> None:
        # With real threads a second one that enters SQLite meanwhile holds the interpreter lock for ever
        # where a cursor is made: each has its own turn there.
        run(
            LOCKED
            + """
    import contextlib
    turn = contextlib.nullcontext() if PATCHED else threading.Lock()
    shared = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    def slow(x):
        time.sleep(0.001)
        return x * 2
    shared.create_function("slow", 1, slow)
    shared.executescript("create table s(a); insert into s values (1), (2), (3);")
    def ask():
        with turn:
            return shared.execute("select sum(slow(a)) from s").fetchone()[0]
    assert [thread.end() for thread in [Thread(ask) for _ in range(20)]] == [12] * 20
    """,
            mode,
        )


class TestExceptions:
    def test_a_time_out_arrives_after_the_statement(self) -> None:
        run(
            LOCKED
            + """
    import greenify
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    def work():
        other = sqlite3.connect(path, timeout=0.3)
        try:
            with greenify.Timeout(0.05):
                try:
                    other.execute("insert into t values (3)")
                except sqlite3.OperationalError as exc:
                    log.append(str(exc))
                time.sleep(LONG)
        except greenify.Timeout:
            log.append("time is up")
    log = []
    Thread(work).end()
    assert log == ["database is locked", "time is up"], log
    """,
            "patch_all",
        )

    @both_modes
    def test_ctrl_c(self, mode: Mode) -> None:
        run(
            LOCKED
            + """
    import signal
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("begin exclusive")
    def interrupt():
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        holder.execute("rollback")
    thread = Thread(interrupt)
    other = sqlite3.connect(path, timeout=LONG)
    try:
        other.execute("insert into t values (3)")
        thread.end()
        time.sleep(LONG)
    except KeyboardInterrupt:
        print("interrupted")
    """,
            mode,
        )


def test_restore() -> None:
    run(
        """
    import ctypes, sqlite3, _sqlite3
    from greenify.green._foreign import sqlite_sleep
    import greenify
    find = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
    find.restype = ctypes.POINTER(sqlite_sleep._VFS)
    patched = find(None).contents.xSleep
    greenify.restore()
    native = find(None).contents.xSleep
    assert native != patched
    greenify.patch_all()
    assert find(None).contents.xSleep == patched
    """,
        "patch_all",
    )


class TestInterrupt:
    @both_modes
    def test_a_statement_whose_function_waits(self, mode: Mode) -> None:
        run(
            LOCKED
            + """
    begun, go_on = threading.Event(), threading.Event()
    def slow(x):
        begun.set()
        go_on.wait(LONG)
        return x
    db.create_function("slow", 1, slow)
    def interrupt():
        begun.wait(LONG)
        db.interrupt()
        go_on.set()
    thread = Thread(interrupt)
    numbers = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 100000)"
    assert outcome(db.execute, f"{numbers} select sum(slow(x)) from n") == "OperationalError: interrupted"
    assert thread.end() is None
    assert db.execute("select slow(5)").fetchone() == (5,)
    """,
            mode,
        )

    def test_who_waits_for_a_lock(self) -> None:
        same_output(
            LOCKED
            + """
    waiting = sqlite3.connect(path, timeout=LONG, check_same_thread=False)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    begun = threading.Event()
    def insert():
        begun.set()
        return outcome(lambda: waiting.execute("insert into t values (3)").rowcount)
    thread = Thread(insert)
    begun.wait(LONG)
    time.sleep(0.1)
    waiting.interrupt()
    time.sleep(0.1)
    holder.execute("commit")
    print(thread.end())
    print(waiting.execute("select count(*) from t").fetchone())
    """
        )
