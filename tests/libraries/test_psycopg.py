"""psycopg 3 against PostgreSQL, with its parts in C."""

from __future__ import annotations

import pytest

from tests.libraries.databases import DriverTests, check_time_out
from tests.libraries.programs import both_modes, needs
from tests.libraries.servers import Server
from tests.support import Mode, run_python

needs("psycopg")
needs("psycopg_pool")


class _Psycopg(DriverTests):
    driver = """
    import psycopg
    from psycopg import Error
    assert psycopg.pq.__impl__ in ("binary", "c")
    MARK = "%s"

    def connect(**more):
        return psycopg.connect(host=HOST, port=PORT, user=USER, dbname=DATABASE, **more)
    """


@both_modes
@pytest.mark.servers
class TestPsycopg(_Psycopg):
    def test_a_connection_used_by_several_threads(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect()

    def ask(number):
        return [rows(first, "select %s::int + pg_backend_pid() * 0", number) for _ in range(10)]

    threads = [Thread(ask, number) for number in range(8)]
    assert [thread.end() for thread in threads] == [[[(number,)]] * 10 for number in range(8)]

    # One closes it while another one waits.
    waiting = Thread(rows, first, SLEEP.format(10))
    until(lambda: sees(connect(), RUNNING))
    first.close()
    try:
        waiting.end()
    except psycopg.OperationalError:
        pass
    else:
        raise AssertionError("it went on")
            """,
            mode,
            server,
        )

    def test_cancelled_by_another_thread(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    for cancel in "cancel", "cancel_safe":
        first, observer = connect(), connect(autocommit=True)
        waiting = Thread(rows, first, SLEEP.format(20))
        until(lambda: sees(observer, RUNNING))
        getattr(first, cancel)()
        try:
            waiting.end()
        except psycopg.errors.QueryCanceled:
            first.rollback()
        assert rows(first, "select 1") == [(1,)]
            """,
            mode,
            server,
        )

    def test_copy_pipelines_streams_and_notifications(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = table("copied", "a int, b text")
    with first.cursor() as cursor:
        with cursor.copy("copy copied from stdin") as copy:
            for number in range(20_000):
                copy.write_row((number, "x" * 100))
        with cursor.copy("copy (select a from copied order by a) to stdout") as copy:
            assert sum(int(row[0]) for row in copy.rows()) == sum(range(20_000))
        assert sum(a for a, in cursor.stream("select a from copied")) == sum(range(20_000))
    piped = connect()
    with piped.pipeline():
        cursors = [piped.execute("select %s::int", (n,)) for n in range(50)]
    assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]
    with first.cursor("on_the_server") as cursor:
        cursor.execute("select a from copied order by a")
        assert [a for a, in cursor] == list(range(20_000))
    first.commit()

    listener = connect(autocommit=True)
    listener.execute("listen channel")
    def listen():
        return next(listener.notifies(timeout=LONG)).payload
    thread = Thread(listen)
    first.execute("notify channel, 'told'")
    first.commit()
    assert thread.end() == "told"
            """,
            mode,
            server,
        )

    def test_callbacks_may_wait(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    from psycopg.rows import dict_row
    first = connect(row_factory=dict_row)
    told = []
    def notice(diagnostic):
        time.sleep(0.01)
        told.append((threading.get_ident(), diagnostic.message_primary))
    first.add_notice_handler(notice)
    ticks_during(first.execute, "do $$begin raise notice 'said'; perform pg_sleep(0.1); end$$")
    assert told == [(threading.get_ident(), "said")]
    assert first.execute("select 1 as one").fetchall() == [{"one": 1}]
            """,
            mode,
            server,
        )

    def test_time_outs_of_a_connect(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        PORT = silent.getsockname()[1]
        try:
            ticks_during(connect, connect_timeout=2)
        except psycopg.errors.ConnectionTimeout as exc:
            print(exc)
        else:
            raise AssertionError("connected")
            """,
            mode,
            server,
        )

    def test_pool(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    from psycopg_pool import ConnectionPool, PoolTimeout
    conninfo = f"host={HOST} port={PORT} user={USER} dbname={DATABASE}"
    with ConnectionPool(conninfo, min_size=2, max_size=4, open=True) as pool:
        pool.wait(LONG)
        def ask(number):
            with pool.connection() as connection:
                return connection.execute("select %s::int, pg_sleep(0.02)", (number,)).fetchone()[0]
        threads = [Thread(ask, number) for number in range(20)]
        assert [thread.end() for thread in threads] == list(range(20))
        held = [pool.getconn() for _ in range(4)]
        try:
            pool.getconn(timeout=0.05)
        except PoolTimeout:
            pass
        else:
            raise AssertionError("a fifth one")
        for connection in held:
            pool.putconn(connection)
            """,
            mode,
            server,
        )

    def test_sqlalchemy(self, mode: Mode, server: Server) -> None:
        pytest.importorskip("sqlalchemy", reason="no sqlalchemy: pip install -e '.[libraries]'")
        self.check(
            """
    import sqlalchemy
    url = f"postgresql+psycopg://{USER}@{HOST}:{PORT}/{DATABASE}"
    engine = sqlalchemy.create_engine(url, pool_size=3, max_overflow=1)
    def ask(number):
        with engine.begin() as connection:
            return connection.execute(
                sqlalchemy.text("select cast(:n as int), pg_sleep(0.02)"), {"n": number}
            ).scalar()
    threads = [Thread(ask, number) for number in range(12)]
    assert [thread.end() for thread in threads] == list(range(12))
    engine.dispose()
            """,
            mode,
            server,
        )

    def test_asyncio(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    import asyncio
    async def main():
        async with await psycopg.AsyncConnection.connect(
            host=HOST, port=PORT, user=USER, dbname=DATABASE
        ) as connection:
            cursor = await connection.execute("select 1 from pg_sleep(0.05)")
            assert await cursor.fetchone() == (1,)
    asyncio.run(main())
            """,
            mode,
            server,
        )


@pytest.mark.servers
def test_a_time_out_cancels(postgres: Server) -> None:
    check_time_out(_Psycopg(), postgres)


def test_the_waiting_function() -> None:
    """In Python under the patch, also after an import before it; one that was chosen stays."""
    run_python(
        """
        import psycopg, psycopg.waiting as waiting
        native = waiting.wait
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("psycopg") and waiting.wait.__wrapped__ is waiting.wait_poll, waiting.wait
        greenify.restore()
        assert waiting.wait is native and psycopg.connection._INTERRUPTED == (KeyboardInterrupt, SystemExit)
        waiting.wait = waiting.wait_select
        greenify.patch_all()
        assert waiting.wait.__code__ is waiting.wait_select.__code__
        """,
        greenify=False,
        check=True,
    )


@pytest.mark.parametrize("implementation", ["python", "c", "binary"])
@both_modes
@pytest.mark.servers
def test_every_implementation(implementation: str, mode: Mode, postgres: Server) -> None:
    if implementation == "c":
        pytest.importorskip(
            "psycopg_c", reason="psycopg-c is compiled with libpq-dev: pip install psycopg-c"
        )
    chosen = _Psycopg()
    chosen.driver = f"""
    os.environ["PSYCOPG_IMPL"] = {implementation!r}
{chosen.driver.replace('in ("binary", "c")', f"== {implementation!r}")}"""
    chosen.check(
        """
    holder = table("every_one", "a int")
    do(holder, "insert into every_one values (0)")
    holder.commit()
    def count():
        with connect() as connection:
            rows(connection, "select a from every_one for update")
            time.sleep(0.02)
            do(connection, "update every_one set a = a + 1")
    try:
        for thread in [Thread(count) for _ in range(5)]:
            thread.end()
        assert rows(holder, "select a from every_one") == [(5,)]
        ticks_during(rows, holder, "select 1 from pg_sleep(0.1)")
    finally:
        do(holder, "drop table every_one")
        holder.commit()
        holder.close()
        """,
        mode,
        postgres,
    )
