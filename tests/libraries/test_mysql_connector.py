"""mysql-connector-python against MariaDB, with its part in C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.libraries.databases import MYSQL, DriverTests, check_time_out
from tests.libraries.programs import both_modes, needs
from tests.libraries.servers import Server
from tests.support import Mode

needs("mysql.connector")
import mysql.connector  # noqa: E402 - only where it is installed

# The OpenSSL that it brings, which Python's ssl has to load as well: an older one would keep it from loading.
_SITE = Path(mysql.connector.__file__).parents[2]
_OPENSSL = str(_SITE / "mysql" / "vendor")


def _loads() -> bool:
    return not subprocess.run(
        [sys.executable, "-c", "import ssl, _mysql_connector"],
        env={**os.environ, "LD_LIBRARY_PATH": _OPENSSL},
        capture_output=True,
        timeout=60,
    ).returncode


if not _loads():
    pytest.skip(
        "import _mysql_connector fails: this mysql-connector-python has come without its part in C",
        allow_module_level=True,
    )


@pytest.fixture(autouse=True)
def _one_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", _OPENSSL)


class _MySQLConnector(DriverTests):
    dialect = MYSQL
    driver = """
    import mysql.connector, mysql.connector.pooling
    from mysql.connector import Error
    MARK = "%s"
    WHERE = dict(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE)

    def connect(**more):
        connection = mysql.connector.connect(**{**WHERE, "port": PORT}, **more)
        assert type(connection).__name__ == "CMySQLConnection"
        return connection
    """


@both_modes
@pytest.mark.servers
class TestMySQLConnector(_MySQLConnector):
    def test_cursors(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect()
    cursor = first.cursor(buffered=True)
    ticks_during(cursor.execute, "select seq, sleep(0.03) from seq_1_to_10")
    assert [row[0] for row in cursor] == list(range(1, 11))
    cursor = first.cursor(dictionary=True)
    cursor.execute("select 1 as one")
    assert cursor.fetchall() == [{"one": 1}]
    cursor = first.cursor(prepared=True)
    for number in range(3):
        ticks_during(cursor.execute, "select %s, sleep(0.1)", (number,))
        assert cursor.fetchall() == [(number, 0)]
    cursor.close()
    cursor = first.cursor()
    cursor.execute("select seq from seq_1_to_1000")
    assert cursor.fetchone() == (1,) and len(cursor.fetchmany(10)) == 10 and len(cursor.fetchall()) == 989
    first.autocommit = True
    assert first.autocommit and first.is_connected()
    first.ping()
    first.reconnect()
    assert rows(first, "select 2") == [(2,)]
            """,
            mode,
            server,
        )

    def test_pool(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    pool = mysql.connector.pooling.MySQLConnectionPool(pool_name="p", pool_size=10, **WHERE)
    def ask(number):
        connection = pool.get_connection()
        try:
            return rows(connection, "select %s, sleep(0.05)", number)[0][0]
        finally:
            connection.close()
    threads = [Thread(ask, number) for number in range(10)]
    assert [thread.end() for thread in threads] == list(range(10))
            """,
            mode,
            server,
        )

    def test_in_python(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = mysql.connector.connect(**WHERE, use_pure=True)
    assert ticks_during(rows, first, "select 1, sleep(0.2)") == [(1, 0)]
    first.close()
            """,
            mode,
            server,
        )


@pytest.mark.servers
def test_a_time_out_waits_for_the_answer(mariadb: Server) -> None:
    check_time_out(_MySQLConnector(), mariadb, 1)
