"""pyodbc against PostgreSQL, with Debian's driver for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.libraries.databases import DriverTests, check_time_out
from tests.libraries.programs import both_modes, needs
from tests.libraries.servers import Server, required
from tests.support import Mode, run_python

needs("pyodbc")

_DRIVERS = sorted(Path("/usr/lib").glob("*/odbc/psqlodbcw.so"))
if not _DRIVERS and not required():
    pytest.skip("no psqlodbcw.so: apt-get install odbc-postgresql", allow_module_level=True)


class _Pyodbc(DriverTests):
    driver = f"""
    import pyodbc
    from pyodbc import Error
    MARK = "?"
    LIBRARY = {str(_DRIVERS[0])!r}

    def connect(**more):
        return pyodbc.connect(
            f"Driver={{LIBRARY}};Server={{HOST}};Port={{PORT}};Uid={{USER}};Database={{DATABASE}}", **more
        )
    """


@both_modes
@pytest.mark.servers
class TestPyodbc(_Pyodbc):
    def test_connections_and_cursors(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect()
    assert isinstance(first, pyodbc.Connection) and type(first) is pyodbc.Connection
    cursor = first.cursor()
    assert isinstance(cursor, pyodbc.Cursor) and cursor.connection is first
    assert ticks_during(cursor.execute, "select 1 as one, cast(pg_sleep(0.1) as text)") is cursor
    row = cursor.fetchone()
    assert row.one == 1 and isinstance(row, pyodbc.Row) and row.cursor_description[0][0] == "one"
    assert cursor.fetchone() is None
    assert [n for n, in cursor.execute("select n from generate_series(1, 100) n")] == list(range(1, 101))
    assert first.execute("select 5").fetchval() == 5
    cursor.arraysize = 7
    assert cursor.arraysize == 7
    assert len(cursor.execute("select n from generate_series(1, 100) n").fetchmany()) == 7
    cursor.close()
    first.autocommit = True
    assert first.autocommit is True
    first.autocommit = False
    first.maxwrite = 0
    with first:
        do(first, "create temp table t (a int)")
        with first.cursor() as cursor:
            cursor.fast_executemany = True
            cursor.executemany("insert into t values (?)", [(n,) for n in range(100)])
    first.rollback()
    assert rows(first, "select sum(a) from t") == [(4950,)]
    table("listed", "a int").close()
    assert [row.table_name for row in first.cursor().tables(table="listed")] == ["listed"]
    first.add_output_converter(pyodbc.SQL_INTEGER, lambda value: ("mine", threading.get_ident()))
    assert rows(first, "select 5") == [(("mine", threading.get_ident()),)]
    for wrong in lambda: first.no_such, lambda: first.cursor().no_such, lambda: iter(connect().cursor()):
        try:
            wrong()
        except (AttributeError, Error) as exc:
            print(type(exc).__name__, str(exc)[:60])
    first.close()
    assert first.closed
            """,
            mode,
            server,
        )

    def test_a_connection_used_by_several_threads(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect()

    def ask(number):
        return [rows(first, "select cast(? as int)", number)[0][0] for _ in range(10)]

    threads = [Thread(ask, number) for number in range(8)]
    assert [thread.end() for thread in threads] == [[number] * 10 for number in range(8)]
            """,
            mode,
            server,
        )

    def test_cancelled_by_another_thread(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first, observer = connect(), connect(autocommit=True)
    cursor = first.cursor()
    waiting = Thread(cursor.execute, SLEEP.format(20))
    until(lambda: sees(observer, RUNNING))
    cursor.cancel()
    try:
        waiting.end()
    except Error as exc:
        print(exc.args[0])
    first.rollback()
    assert rows(first, "select 1") == [(1,)]
            """,
            mode,
            server,
        )


@pytest.mark.servers
def test_a_time_out_cancels(postgres: Server) -> None:
    check_time_out(_Pyodbc(), postgres)


def test_imported_before_the_patch_and_restored() -> None:
    run_python(
        """
        import pyodbc
        def identities():
            return [id(pyodbc.connect), id(pyodbc.Connection), id(pyodbc.Cursor)]
        native = identities()  # variables would follow
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("pyodbc")
        assert not set(native).intersection(identities()) and pyodbc.Connection.__name__ == "Connection"
        try:
            pyodbc.connect("Driver=/no/such/library.so")
        except pyodbc.Error as exc:
            assert "no/such" in str(exc)
        else:
            raise AssertionError("connected")
        greenify.restore()
        assert native == identities()
        """,
        greenify=False,
        check=True,
    )
