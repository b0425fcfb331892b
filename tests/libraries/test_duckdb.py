"""duckdb: statements of several threads, and what is special about its connections."""

from __future__ import annotations

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode, run_python

needs("duckdb")

READY = """
    import duckdb
    ENDLESS = "select count(*) from range(100000000000) a(x) where (x * 7) % 3 = 1"
"""


@both_modes
class TestDuckdb:
    def test_others_run(self, mode: Mode) -> None:
        check(
            READY
            + """
    connection = duckdb.connect()
    statement = "select count(*) from range(3000000) a(x) where (x * 7) % 3 = 1"
    for ask in (
        lambda: connection.execute(statement).fetchall(),
        lambda: connection.sql(statement).fetchall(),
        lambda: duckdb.execute(statement).fetchall(),
        lambda: duckdb.sql(statement).fetchall(),
    ):
        assert ticks_during(ask) == [(1000000,)]
            """,
            mode,
        )

    def test_several_connections(self, mode: Mode) -> None:
        """Those of threads to one database, of which each waits in a function of Python."""
        check(
            READY
            + """
    barrier = threading.Barrier(4)
    database = duckdb.connect()
    database.execute("create table numbers (thread integer, number integer)")
    def work(number):
        with database.cursor() as mine:
            def meet(x):
                barrier.wait(LONG)
                return x + number
            mine.create_function(f"meet_{number}", meet, ["BIGINT"], "BIGINT")
            assert mine.execute(f"select meet_{number}(1)").fetchall() == [(1 + number,)]
            mine.begin()
            mine.executemany("insert into numbers values (?, ?)", [(number, i) for i in range(20)])
            mine.commit()
        return number
    threads = [Thread(work, number) for number in range(4)]
    assert [thread.end() for thread in threads] == [0, 1, 2, 3]
    counts = "select count(*), count(distinct thread) from numbers"
    assert database.execute(counts).fetchall() == [(80, 4)]
    database.close()
            """,
            mode,
        )

    def test_interrupt(self, mode: Mode) -> None:
        check(
            READY
            + """
    connection = duckdb.connect()
    thread = Thread(connection.execute, ENDLESS)
    with Ticking() as ticking:
        # It may not have begun.
        while thread.is_alive():
            connection.interrupt()
            time.sleep(0.01)
    assert "Interrupted" in outcome(thread.end)
    assert connection.execute("select 1").fetchall() == [(1,)]
            """,
            mode,
        )

    def test_one_connection_in_two_threads(self, mode: Mode) -> None:
        """duckdb refuses the second call; it does not wait."""
        check(
            READY
            + """
    connection = duckdb.connect()
    begun, go_on = threading.Event(), threading.Event()
    def wait(x):
        begun.set()
        assert go_on.wait(LONG)
        return x
    connection.create_function("wait", wait, ["BIGINT"], "BIGINT")
    thread = Thread(lambda: connection.execute("select wait(5)").fetchall())
    assert begun.wait(LONG)
    assert outcome(connection.execute, "select 1").startswith("ResourceInUseException")
    go_on.set()
    assert thread.end() == [(5,)]
            """,
            mode,
        )

    def test_variables_of_the_program(self, mode: Mode) -> None:
        check(
            READY
            + """
    connection = duckdb.connect()
    everywhere = connection.sql("select 1 as x")
    def within(connection):
        return connection.execute("select * from here").fetchall()
    def work(number):
        here = connection.sql(f"select {number} as x")
        assert "here does not exist" in outcome(within, connection)
        return within_too() + connection.sql("select x from here").fetchall()
    def within_too():
        here = connection.sql("select 2 as x")
        return connection.execute("select x from here").fetchall()
    assert work(3) == [(2,), (3,)]
    assert connection.execute("select * from everywhere").fetchall() == [(1,)]
    def of_the_module():
        here = duckdb.sql("select 4 as x")
        return duckdb.execute("select * from here").fetchall() + duckdb.sql("select * from here").fetchall()
    assert of_the_module() == [(4,)] * 2
            """,
            mode,
        )


def test_ctrl_c_interrupts() -> None:
    """The plain duckdb goes on until its statement has ended."""
    check(
        READY
        + """
    import signal
    connection = duckdb.connect()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        connection.execute(ENDLESS)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    assert connection.execute("select 1").fetchall() == [(1,)]
        """,
        "patch_all",
    )


def test_a_time_out_interrupts() -> None:
    run_python(
        """
        import duckdb, greenify
        connection = duckdb.connect()
        try:
            with greenify.Timeout(0.1):
                connection.execute("select count(*) from range(100000000000) a(x) where (x * 7) % 3 = 1")
        except greenify.Timeout:
            pass
        else:
            raise SystemExit("no time-out")
        assert connection.execute("select 1").fetchall() == [(1,)]
        """,
        greenify="patch_all",
        check=True,
    )


def test_restored() -> None:
    run_python(
        """
        import duckdb
        native = id(duckdb.DuckDBPyConnection.execute), id(duckdb.execute)
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("duckdb") and id(duckdb.execute) not in native
        greenify.restore()
        assert (id(duckdb.DuckDBPyConnection.execute), id(duckdb.execute)) == native
        """,
        greenify=False,
        check=True,
    )
