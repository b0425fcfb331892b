"""SQLAlchemy on SQLite, which needs no server: its pools, and writers that wait for each other."""

from __future__ import annotations

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode

needs("sqlalchemy")

READY = """
    import sqlite3, sqlalchemy
    from sqlalchemy import text
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "test.db")
"""


@both_modes
class TestSQLite:
    def test_writers_wait_for_each_other(self, mode: Mode) -> None:
        check(
            f"""{READY}
    engine = sqlalchemy.create_engine(f"sqlite:///{{path}}", connect_args={{"timeout": LONG}})
    with engine.begin() as connection:
        connection.execute(text("create table t(a)"))
    def write(number):
        with engine.begin() as connection:
            connection.execute(text("insert into t values (:number)"), {{"number": number}})
            time.sleep(0.02)  # with the lock
            return connection.execute(text("select count(*) from t")).scalar()
    threads = [Thread(write, number) for number in range(8)]
    assert sorted(thread.end() for thread in threads) == list(range(1, 9))

    # Who holds the lock for a while keeps nobody but who wants it.
    held = threading.Event()
    def hold():
        with engine.begin() as connection:
            connection.execute(text("insert into t values (99)"))
            held.set()
            time.sleep(0.1)
    holder = Thread(hold)
    held.wait(LONG)
    assert ticks_during(write, 100) == 10
    holder.end()
    engine.dispose()
            """,
            mode,
        )

    def test_the_time_out_is_the_connection_s(self, mode: Mode) -> None:
        check(
            f"""{READY}
    engine = sqlalchemy.create_engine(f"sqlite:///{{path}}", connect_args={{"timeout": 0.2}})
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("create table t(a)")
    holder.execute("begin exclusive")
    def write():
        try:
            with engine.begin() as connection:
                connection.execute(text("insert into t values (1)"))
        except sqlalchemy.exc.OperationalError as exc:
            return str(exc.orig)
    assert ticks_during(write) == "database is locked"
    holder.execute("rollback")
    assert write() is None
    holder.close()
    engine.dispose()
            """,
            mode,
        )

    def test_a_pool_for_each_thread(self, mode: Mode) -> None:
        """A database in memory is a connection, which SQLAlchemy keeps for each thread."""
        check(
            f"""{READY}
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.SingletonThreadPool)
    def mine(number):
        with engine.begin() as connection:
            connection.execute(text("create table t(a)"))
        for turn in range(5):
            with engine.begin() as connection:
                connection.execute(text("insert into t values (:number)"), {{"number": number}})
            time.sleep(0.001)
        with engine.connect() as connection:
            return connection.execute(text("select min(a), max(a), count(*) from t")).one()
    threads = [Thread(mine, number) for number in range(4)]
    assert [tuple(thread.end()) for thread in threads] == [(n, n, 5) for n in range(4)]
    assert tuple(mine(9)) == (9, 9, 5)
            """,
            mode,
        )

    def test_one_connection_for_all(self, mode: Mode) -> None:
        check(
            f"""{READY}
    engine = sqlalchemy.create_engine(
        "sqlite://", poolclass=sqlalchemy.pool.QueuePool, pool_size=1, max_overflow=0,
        connect_args={{"check_same_thread": False}},
    )
    with engine.begin() as connection:
        connection.execute(text("create table t(a)"))
    def write(number):
        with engine.begin() as connection:
            connection.execute(text("insert into t values (:number)"), {{"number": number}})
            time.sleep(0.005)  # the others wait for the pool
    for thread in [Thread(write, number) for number in range(8)]:
        thread.end()
    with engine.connect() as connection:
        assert connection.execute(text("select count(distinct a) from t")).scalar() == 8
    engine.dispose()
            """,
            mode,
        )
