"""mysqlclient against MariaDB."""

from __future__ import annotations

import pytest

from tests.libraries.databases import MYSQL, DriverTests, check_time_out
from tests.libraries.programs import both_modes, needs
from tests.libraries.servers import Server
from tests.support import Mode, run_python

needs("MySQLdb")


class _MySQLClient(DriverTests):
    dialect = MYSQL
    driver = """
    import MySQLdb, MySQLdb.cursors
    from MySQLdb import Error
    MARK = "%s"

    def connect(**more):
        return MySQLdb.connect(
            host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, **more
        )
    """


@both_modes
@pytest.mark.servers
class TestMySQLClient(_MySQLClient):
    def test_rows_that_stay_on_the_server(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect(cursorclass=MySQLdb.cursors.SSCursor)
    cursor = first.cursor()
    # The server sends them when its buffer is full.
    cursor.execute("select seq, repeat('x', 20000), sleep(0.03) from seq_1_to_10")
    assert ticks_during(cursor.fetchmany, 5)[0][0] == 1
    assert [row[0] for row in cursor] == list(range(6, 11))
    cursor.close()
    cursor = first.cursor(MySQLdb.cursors.SSDictCursor)
    cursor.execute("select seq from seq_1_to_3")
    assert list(cursor.fetchall()) == [{"seq": 1}, {"seq": 2}, {"seq": 3}]
    cursor.close()
    cursor = first.cursor()
    cursor.execute("select 1; select 2")
    assert cursor.fetchone() == (1,) and cursor.nextset() == 1 and cursor.fetchone() == (2,)
    cursor.close()
    assert rows(first, "select 3") == [(3,)]
            """,
            mode,
            server,
        )

    def test_factories_and_classes(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    from MySQLdb import _mysql
    first = connect(cursorclass=MySQLdb.cursors.DictCursor, autocommit=True)
    assert type(first) is MySQLdb.connections.Connection and isinstance(first, _mysql.connection)
    cursor = first.cursor()
    ticks_during(cursor.execute, "select 1 as one, sleep(0.1) as zero")
    assert cursor.fetchall() == ({"one": 1, "zero": 0},)

    class Mine(MySQLdb.connections.Connection):
        def query(self, sql):
            super().query(sql)
            self.asked = sql

    mine = Mine(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE)
    assert rows(mine, "select 5") == [(5,)] and mine.asked == b"select 5"

    for bare in _mysql.connect, _mysql.connection:
        low = bare(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE)
        assert isinstance(low, _mysql.connection)
        ticks_during(low.query, b"select 7, sleep(0.1)")
        assert low.store_result().fetch_row() == ((b"7", b"0"),)
        low.send_query(b"select 8")
        assert select.select([low.fileno()], [], [], LONG)[0]
        low.read_query_result()
        assert len(low.use_result().fetch_row(0)) == 1
        low.close()
    ticks_during(first.query, b"do sleep(0.1)")
    assert first.ping() is None and first.stat()
            """,
            mode,
            server,
        )

    def test_connect_timeout(self, mode: Mode, server: Server) -> None:
        out = self.check(
            """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        PORT = silent.getsockname()[1]
        try:
            ticks_during(connect, connect_timeout=1)
        except Error as exc:
            print(exc.args[0])
            """,
            mode,
            server,
        )
        assert out == "2013\n"

    def test_sqlalchemy(self, mode: Mode, server: Server) -> None:
        pytest.importorskip("sqlalchemy", reason="no sqlalchemy: pip install -e '.[libraries]'")
        self.check(
            """
    import sqlalchemy
    url = f"mysql+mysqldb://{USER}:{PASSWORD}@{HOST}:{PORT}/{DATABASE}"
    engine = sqlalchemy.create_engine(url, pool_size=3, max_overflow=1)
    def ask(number):
        with engine.begin() as connection:
            return connection.execute(sqlalchemy.text("select :n, sleep(0.02)"), {"n": number}).scalar()
    threads = [Thread(ask, number) for number in range(12)]
    assert [thread.end() for thread in threads] == list(range(12))
    engine.dispose()
            """,
            mode,
            server,
        )


@pytest.mark.servers
def test_a_time_out_waits_for_the_answer(mariadb: Server) -> None:
    check_time_out(_MySQLClient(), mariadb, 1)


def test_imported_before_the_patch_and_restored() -> None:
    run_python(
        """
        import MySQLdb.connections
        from MySQLdb import _mysql
        Connection = MySQLdb.connections.Connection
        native = (_mysql.connection,)  # a variable would follow
        assert Connection.__bases__ == native
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("mysqlclient")
        assert _mysql.connection is not native[0] and Connection.__bases__ == (_mysql.connection,)
        greenify.restore()
        assert _mysql.connection is native[0] and Connection.__bases__ == native
        """,
        greenify=False,
        check=True,
    )
