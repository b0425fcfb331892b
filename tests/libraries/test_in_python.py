"""Clients in Python need no patch of their own: they wait through `socket`."""

from __future__ import annotations

import pytest

from tests.libraries.databases import MYSQL, DriverTests
from tests.libraries.programs import both_modes, check, needs
from tests.libraries.servers import Server
from tests.support import Mode

needs("pymysql")
needs("pg8000")
needs("redis")


class _PyMySQL(DriverTests):
    dialect = MYSQL
    driver = """
    import pymysql
    from pymysql import Error
    MARK = "%s"

    def connect(**more):
        return pymysql.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, **more)
    """


class _Pg8000(DriverTests):
    driver = """
    import pg8000.dbapi
    from pg8000.dbapi import Error
    MARK = "%s"

    def connect(**more):
        return pg8000.dbapi.connect(host=HOST, port=PORT, user=USER, database=DATABASE, **more)
    """


SIDE_BY_SIDE = """
    holder, observer = connect(), connect()
    rows(holder, LOCK)
    def wait():
        connection = connect()
        got = rows(connection, LOCK)
        rows(connection, UNLOCK)
        return len(got)
    threads = [Thread(wait) for _ in range(5)]
    until(lambda: sees(observer, WAITING, 5))
    rows(holder, UNLOCK)
    assert [thread.end() for thread in threads] == [1] * 5
    ticks_during(rows, holder, SLEEP.format(0.1))
"""


@both_modes
@pytest.mark.servers
def test_pymysql(mode: Mode, mariadb: Server) -> None:
    _PyMySQL().check(SIDE_BY_SIDE, mode, mariadb)


@both_modes
@pytest.mark.servers
def test_pg8000(mode: Mode, postgres: Server) -> None:
    _Pg8000().check(SIDE_BY_SIDE, mode, postgres)


@both_modes
@pytest.mark.servers
def test_redis(mode: Mode, redis: Server) -> None:
    check(
        """
    import redis
    client = redis.Redis(host=sys.argv[1], port=int(sys.argv[2]))
    threads = [Thread(client.blpop, "queue", LONG) for _ in range(5)]
    settle()
    for number in range(5):
        client.rpush("queue", number)
    assert sorted(int(thread.end()[1]) for thread in threads) == list(range(5))
    assert ticks_during(client.blpop, "queue", 1) is None
    client.connection_pool.disconnect()
        """,
        mode,
        redis.host,
        redis.port,
    )
