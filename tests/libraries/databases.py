"""What every SQL driver has to do as with real threads, against a real server: inherited by its test class.

A program gets the host, port, user, password and database as arguments; the driver's own part of it defines
``connect(**more)`` (a connection in a transaction), ``Error`` and ``MARK`` (its placeholder).
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.libraries.programs import check
from tests.libraries.servers import Server
from tests.support import Mode

__all__ = ["MYSQL", "POSTGRES", "DriverTests"]

COMMON = """
    # Connections are left to the collector.
    warnings.simplefilter("ignore", ResourceWarning)
    HOST, PORT, USER, PASSWORD, DATABASE = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]

    def rows(connection, sql, *args):
        cursor = connection.cursor()
        cursor.execute(sql, *([args] if args else []))
        result = [tuple(row) for row in cursor.fetchall()]
        cursor.close()
        return result

    def sees(observer, sql, number=1):
        result = rows(observer, sql)
        observer.rollback()  # a transaction would see the same for ever
        return result == [(number,)]

    def do(connection, sql, *args):
        cursor = connection.cursor()
        cursor.execute(sql, *([args] if args else []))
        cursor.close()

    def table(name, columns):
        connection = connect()
        do(connection, f"drop table if exists {name}")
        do(connection, f"create table {name} ({columns})")
        connection.commit()
        return connection

    def until(condition):
        limit = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < limit, "it never happens"
            time.sleep(0.005)
"""

#: What the dialects call their things.  A server goes on with a statement for a while when the program that
#: has sent it is gone: what is counted has to be this program's own.
POSTGRES = """
    os.environ["PGAPPNAME"] = f"program {os.getpid()}"
    MINE = "application_name = current_setting('application_name')"
    SLEEP = PAUSE = "select pg_sleep({})"
    LOCK, UNLOCK = "select pg_advisory_lock(7)", "select pg_advisory_unlock(7)"
    WAITING = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    RUNNING = f'''select count(*) from pg_stat_activity
        where state = 'active' and query like '%pg_sl' || 'eep%' and {MINE}'''
    SERIES = "select n, 'text ' || n from generate_series(1, {}) n"
    LOCK_TIMEOUT = "set lock_timeout = '100ms'"
    STORAGE = ""
"""
MYSQL = """
    MINE = f"/* {os.getpid()} */"
    SLEEP = "select sleep({}) " + MINE
    PAUSE = "do sleep({}) " + MINE  # without a result, which would have to be read
    LOCK, UNLOCK = "select get_lock('greenify', 20)", "select release_lock('greenify')"
    PROCESSES = "select count(*) from information_schema.processlist"
    WAITING = f"{PROCESSES} where state = 'User lock'"
    RUNNING = f"{PROCESSES} where state = 'User sleep' and info like '%{MINE}'"
    SERIES = "select seq, concat('text ', seq) from seq_1_to_{}"
    LOCK_TIMEOUT = "set innodb_lock_wait_timeout = 1"
    STORAGE = "engine=innodb"
"""


class DriverTests:
    """To be inherited, with the marks ``both_modes`` and ``servers``.

    Attributes:
        driver: the driver's part of the programs.
        dialect: `POSTGRES` or `MYSQL`.
    """

    driver: ClassVar[str]
    dialect: ClassVar[str] = POSTGRES

    @pytest.fixture
    def server(self, request: pytest.FixtureRequest) -> Server:
        name = "postgres" if self.dialect is POSTGRES else "mariadb"
        server: Server = request.getfixturevalue(name)
        return server

    def check(self, code: str, mode: Mode, server: Server, timeout: float = 90) -> str:
        """Run a program of this driver."""
        where = server.host, server.port, server.user, server.password or "-", server.database
        return check(COMMON + self.dialect + self.driver + code, mode, *where, timeout=timeout)

    def test_many_wait_side_by_side(self, mode: Mode, server: Server) -> None:
        """All twenty wait in the server before the first one goes on."""
        self.check(
            """
    holder, observer = connect(), connect()
    rows(holder, LOCK)

    def wait():
        connection = connect()
        got = rows(connection, LOCK)
        rows(connection, UNLOCK)
        connection.close()
        return len(got)

    threads = [Thread(wait) for _ in range(20)]
    until(lambda: sees(observer, WAITING, 20))
    rows(holder, UNLOCK)
    assert [thread.end() for thread in threads] == [1] * 20
            """,
            mode,
            server,
        )

    def test_two_threads_on_one_row(self, mode: Mode, server: Server) -> None:
        """The holder sleeps, or computes past a time slice, before it commits what the other waits for."""
        self.check(
            """
    first = table("counted", "a int")
    do(first, "insert into counted values (0)")
    first.commit()

    def count(meanwhile):
        connection = connect()
        for _ in range(3):
            rows(connection, "select a from counted for update")
            do(connection, "update counted set a = a + 1")
            meanwhile()
            connection.commit()
        connection.close()

    for meanwhile in lambda: time.sleep(0.03), lambda: sum(range(1_000_000)):
        for thread in [Thread(count, meanwhile) for _ in range(3)]:
            thread.end()
    assert rows(first, "select a from counted") == [(18,)]
            """,
            mode,
            server,
        )

    def test_the_others_run(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = table("ticking", "a int")
    do(first, "insert into ticking values (1)")
    first.commit()
    ticks_during(rows, first, SLEEP.format(0.2))
    cursor = first.cursor()
    ticks_during(cursor.execute, SLEEP.format(0.2))
    cursor.fetchall()
    first.rollback()
    connections = ticks_during(lambda: [connect() for _ in range(40)])
    for connection in connections:
        assert rows(connection, "select a from ticking") == [(1,)]
        connection.close()
            """,
            mode,
            server,
        )

    def test_errors_and_transactions(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = table("unique_ones", "a int primary key")
    do(first, f"insert into unique_ones values ({MARK})", 1)
    first.commit()
    for wrong in "insert into unique_ones values (1)", "select no_column from unique_ones", "no sql":
        try:
            do(first, wrong)
        except Error as exc:
            assert str(exc)
        else:
            raise AssertionError(wrong)
        first.rollback()
    do(first, "insert into unique_ones values (2)")
    assert rows(first, "select a from unique_ones order by a") == [(1,), (2,)]
    assert rows(connect(), "select a from unique_ones") == [(1,)]
    first.rollback()
    assert rows(first, "select a from unique_ones") == [(1,)]
    first.commit()

    # A wait that the server ends.
    holder, other = connect(), connect()
    do(holder, "update unique_ones set a = 3")
    do(other, LOCK_TIMEOUT)
    try:
        ticks_during(do, other, "update unique_ones set a = 4")
    except Error:
        other.rollback()
    else:
        raise AssertionError("it has not waited")
    holder.commit()
    assert rows(other, "select a from unique_ones") == [(3,)]

    # Closed.
    other.close()
    try:
        rows(other, "select 1")
    except Error:
        pass
    else:
        raise AssertionError("it is open")
            """,
            mode,
            server,
        )

    def test_nobody_listens(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # does not listen
        PORT = sock.getsockname()[1]
        try:
            connect()
        except Error as exc:
            assert str(exc)
        else:
            raise AssertionError("connected")
            """,
            mode,
            server,
        )

    def test_large_results(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    def read():
        connection = connect()
        result = rows(connection, SERIES.format(30_000))
        connection.close()
        assert result[0] == (1, "text 1") and result[-1] == (30_000, "text 30000")
        return len(result)

    assert [thread.end() for thread in [Thread(read) for _ in range(5)]] == [30_000] * 5
    wide = "x" * 3_000_000
    assert rows(connect(), f"select {MARK}", wide)[0][0] in (wide, wide.encode())
            """,
            mode,
            server,
        )

    def test_executemany(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = table("many", "a int, b varchar(20)")

    def insert(number):
        connection = connect()
        cursor = connection.cursor()
        cursor.executemany(
            f"insert into many values ({MARK}, {MARK})", [(number * 100 + n, str(n)) for n in range(100)]
        )
        connection.commit()
        connection.close()

    for thread in [Thread(insert, number) for number in range(4)]:
        thread.end()
    assert [a for a, in rows(first, "select a from many order by a")] == list(range(400))
            """,
            mode,
            server,
        )

    def test_interrupted(self, mode: Mode, server: Server) -> None:
        """Ctrl-C ends a query, at the latest when the server answers."""
        out = self.check(
            """
    import signal
    first, observer = connect(), connect()
    handled = []

    def interrupt():
        until(lambda: sees(observer, RUNNING))
        os.kill(os.getpid(), signal.SIGINT)

    thread = Thread(interrupt)
    try:
        do(first, PAUSE.format(1.5))
        time.sleep(LONG)  # where the driver lets the handler run later
    except KeyboardInterrupt:
        print("interrupted")
    thread.end()
    first.rollback()
    assert rows(first, "select 5") == [(5,)]
            """,
            mode,
            server,
        )
        assert out == "interrupted\n"

    def test_fork(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
    first = connect()
    rows(first, "select 1")
    child = os.fork()
    if not child:
        code = 1
        try:
            connection = connect()
            threads = [Thread(rows, connect(), SLEEP.format(0.05)) for _ in range(3)]
            assert rows(connection, "select 2") == [(2,)]
            for thread in threads:
                thread.end()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert rows(first, "select 3") == [(3,)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert rows(first, "select 4") == [(4,)]
            """,
            mode,
            server,
        )

    def test_the_interpreters_end(self, mode: Mode, server: Server) -> None:
        """Connections that are open, and one that a daemon thread waits for, keep nobody from ending."""
        out = self.check(
            """
    import atexit
    first, observer, used = connect(), connect(), connect()
    atexit.register(lambda: print(rows(first, "select 6")))
    thread = threading.Thread(target=rows, args=(used, SLEEP.format(3)), daemon=True)
    thread.start()
    until(lambda: sees(observer, RUNNING))
    print("end")
            """,
            mode,
            server,
        )
        assert out == "end\n[(6,)]\n"

    def test_collected_in_another_thread(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    def used():
        connection = connect()
        cursor = connection.cursor()
        cursor.execute("select 1")
        return connection, cursor

    if PATCHED:
        from greenify.core.native import own_threads
        before = own_threads()
    pairs = [thread.end() for thread in [Thread(used) for _ in range(10)]]
    assert [tuple(cursor.fetchone()) for connection, cursor in pairs] == [(1,)] * 10
    Thread(pairs.clear).end()
    gc.collect()
    if PATCHED:
        # Their native threads end, too.
        until = time.monotonic() + LONG
        while own_threads() > before:
            assert time.monotonic() < until, own_threads()
            time.sleep(0.01)
            """,
            mode,
            server,
        )


def check_time_out(case: DriverTests, server: Server, seconds: int = 20) -> None:
    """What only green threads have: a Timeout and a kill end a query, and the connection can be used on.

    Args:
        seconds: how long the query takes: long, or a second where it cannot be cancelled.
    """
    case.check(
        f"\n    SLOW = PAUSE.format({seconds})\n"
        """
    import greenify
    first, observer = connect(), connect()
    try:
        with greenify.Timeout(0.2):
            do(first, SLOW)
    except greenify.Timeout:
        pass
    else:
        raise AssertionError("no time-out")
    first.rollback()
    assert rows(first, "select 1") == [(1,)]
    first.rollback()
    task = greenify.spawn(do, first, SLOW)
    until(lambda: sees(observer, RUNNING))
    task.kill()
    task.join()
    first.rollback()
    assert rows(first, "select 2") == [(2,)]
        """,
        "patch_all",
        server,
    )
