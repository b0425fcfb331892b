"""psycopg2 against PostgreSQL: what works with threads, among it what a wait callback would break."""

from __future__ import annotations

import pytest

from tests.libraries.databases import DriverTests, check_time_out
from tests.libraries.programs import both_modes, needs
from tests.libraries.servers import Server
from tests.support import Mode, run_python

needs("psycopg2")


class _Psycopg2(DriverTests):
    driver = """
    import psycopg2, psycopg2.extras, psycopg2.pool
    from psycopg2 import Error, extensions
    MARK = "%s"

    def connect(**more):
        return psycopg2.connect(host=HOST, port=PORT, user=USER, dbname=DATABASE, **more)
    """


@both_modes
@pytest.mark.servers
class TestPsycopg2(_Psycopg2):
    def test_a_connection_used_by_several_threads(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect()

    def ask(number):
        return [rows(first, "select %s::int, pg_sleep(0.001)", number)[0][0] for _ in range(10)]

    threads = [Thread(ask, number) for number in range(8)]
    assert [thread.end() for thread in threads] == [[number] * 10 for number in range(8)]

    # A commit and a close wait for the query of another thread, while that and others go on.
    holder, observer = connect(), connect()

    def waits(function):
        rows(holder, LOCK)
        waiting = Thread(first.cursor().execute, LOCK)
        until(lambda: sees(observer, WAITING))
        released = []
        def release():
            time.sleep(0.05)
            released.append(True)
            rows(holder, UNLOCK)
        releasing = Thread(release)
        function()
        assert released, "it has not waited"
        releasing.end()
        waiting.end()

    waits(first.commit)
    rows(first, UNLOCK)
    waits(first.close)
            """,
            mode,
            server,
        )

    def test_cancelled_by_another_thread(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first, observer = connect(), connect()
    observer.autocommit = True
    waiting = Thread(rows, first, SLEEP.format(20))
    until(lambda: sees(observer, RUNNING))
    first.cancel()
    try:
        waiting.end()
    except extensions.QueryCanceledError:
        first.rollback()
    assert rows(first, "select 1") == [(1,)]
            """,
            mode,
            server,
        )

    def test_copy(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    import io
    first = table("copied", "a int, b text")
    cursor = first.cursor()
    lines = "".join(f"{n}\\ttext {n}\\n" for n in range(20_000))
    cursor.copy_from(io.StringIO(lines), "copied")
    out, binary = io.StringIO(), io.BytesIO()
    cursor.copy_to(out, "copied")
    assert out.getvalue() == lines
    cursor.copy_expert("copy copied to stdout", binary)
    assert binary.getvalue() == lines.encode()

    class Waiting:
        '''A file of one's own, which waits, in the thread of the caller.'''
        def __init__(self):
            self.lines = [f"{n}\\tslow\\n".encode() for n in range(5)]
            self.idents = set()
        def read(self, size=-1):
            time.sleep(0.01)
            self.idents.add(threading.get_ident())
            return self.lines.pop() if self.lines else b""
    file = Waiting()
    ticks_during(cursor.copy_expert, "copy copied from stdin", file=file)
    assert file.idents == {threading.get_ident()}
    assert rows(first, "select count(*) from copied") == [(20_005,)]

    class Broken:
        def read(self, size=-1):
            raise ZeroDivisionError
    for file, error in (Broken(), Error), (object(), TypeError):
        try:
            cursor.copy_from(file, "copied")
        except error as exc:
            print(type(exc).__name__)
        first.rollback()
            """,
            mode,
            server,
        )

    def test_large_objects(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect()
    large = first.lobject(0, "wb")
    assert large.write(b"x" * 2_000_000) == 2_000_000
    oid = large.oid
    large.close()
    assert large.closed and isinstance(large, extensions.lobject)
    large = first.lobject(oid, "rb")
    assert large.read() == b"x" * 2_000_000 and large.tell() == 2_000_000 and large.seek(5) == 5
    assert large.read(3) == b"xxx"
    large.unlink()
    first.commit()
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
            ticks_during(connect, connect_timeout=2)
        except psycopg2.OperationalError as exc:
            print("timeout expired" in str(exc))
            """,
            mode,
            server,
        )
        assert out == "True\n"

    def test_factories_and_classes(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    first = connect()
    assert type(first) is extensions.connection and type(first.cursor()) is extensions.cursor
    assert first.cursor_factory is None and repr(first).startswith("<connection object at ")
    for factory, expected in (
        (psycopg2.extras.DictCursor, [1]),
        (psycopg2.extras.RealDictCursor, {"one": 1}),
        (psycopg2.extras.NamedTupleCursor, (1,)),
    ):
        cursor = first.cursor(cursor_factory=factory)
        ticks_during(cursor.execute, "select 1 as one, pg_sleep(0.1)")
        cursor.execute("select 1 as one")
        assert cursor.fetchall() == [expected]
        named = first.cursor("named", factory)
        named.execute("select 1 as one from generate_series(1, 5000)")
        assert len(list(named)) == 5000
        named.close()

    class MyConnection(extensions.connection):
        def cursor(self, *args, **kwargs):
            return super().cursor(*args, **kwargs)

    class MyCursor(extensions.cursor):
        def execute(self, query, vars=None):
            super().execute(query + " + 1", vars)

    mine = connect(connection_factory=MyConnection, cursor_factory=MyCursor)
    assert type(mine) is MyConnection
    assert rows(mine, "select %s", 1) == [(2,)]
    logging = connect(connection_factory=psycopg2.extras.LoggingConnection)
    import io
    log = io.StringIO()
    logging.initialize(log)
    ticks_during(rows, logging, SLEEP.format(0.1))
    assert "pg_sleep" in log.getvalue()

    with first:
        do(first, "create temp table t (a int)")
        with first.cursor() as cursor:
            psycopg2.extras.execute_values(cursor, "insert into t values %s", [(n,) for n in range(1000)])
    assert rows(first, "select sum(a) from t") == [(499500,)]
    first.rollback()
    first.set_session(isolation_level="SERIALIZABLE", readonly=True)
    assert rows(first, "show transaction_isolation") == [("serializable",)]
    first.rollback()
    first.autocommit = True
    assert first.autocommit and rows(first, "select 1") == [(1,)]
    adapter = extensions.new_type((23,), "MINE", lambda value, cursor: f"<{value}>")
    extensions.register_type(adapter, first)
    assert rows(first, "select 5") == [("<5>",)]
    assert extensions.quote_ident('a"b', first) == '"a""b"'
    do(first, "do $$begin raise notice 'said'; end$$")
    assert "said" in first.notices[-1]
            """,
            mode,
            server,
        )

    def test_notifications(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    listener, first = connect(), connect()
    listener.autocommit = first.autocommit = True
    do(listener, "listen channel")

    def listen():
        while not listener.notifies:
            assert select.select([listener], [], [], LONG)[0]
            listener.poll()
        return listener.notifies.pop().payload

    thread = Thread(listen)
    settle()
    do(first, "notify channel, 'told'")
    assert thread.end() == "told"
            """,
            mode,
            server,
        )

    def test_asynchronous_connections(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    def wait(connection):
        while (state := connection.poll()) != extensions.POLL_OK:
            if state == extensions.POLL_READ:
                select.select([connection], [], [])
            else:
                select.select([], [connection], [])

    first = connect(async_=1)
    wait(first)
    cursor = first.cursor()
    cursor.execute("select 1 from pg_sleep(0.1)")
    ticks_during(wait, first)
    assert cursor.fetchall() == [(1,)]
            """,
            mode,
            server,
        )

    def test_a_wait_callback_stays_in_charge(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    idents = set()
    def wait(connection):
        idents.add(threading.get_ident())
        while (state := connection.poll()) != extensions.POLL_OK:
            poll = select.poll()
            poll.register(connection, select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
            poll.poll()
    extensions.set_wait_callback(wait)
    first = connect()
    ticks_during(rows, first, SLEEP.format(0.1))
    assert idents == {threading.get_ident()}
            """,
            mode,
            server,
        )

    def test_pool(self, mode: Mode, server: Server) -> None:
        self.check(
            """
    pool = psycopg2.pool.ThreadedConnectionPool(1, 20, host=HOST, port=PORT, user=USER, dbname=DATABASE)
    def ask(number):
        connection = pool.getconn()
        try:
            return rows(connection, "select %s::int, pg_sleep(0.02)", number)[0][0]
        finally:
            pool.putconn(connection)
    threads = [Thread(ask, number) for number in range(20)]
    assert [thread.end() for thread in threads] == list(range(20))
    pool.closeall()
            """,
            mode,
            server,
        )

    def test_sqlalchemy(self, mode: Mode, server: Server) -> None:
        pytest.importorskip("sqlalchemy", reason="no sqlalchemy: pip install -e '.[libraries]'")
        self.check(
            """
    import sqlalchemy
    url = f"postgresql+psycopg2://{USER}@{HOST}:{PORT}/{DATABASE}"
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


@pytest.mark.servers
def test_a_time_out_cancels(postgres: Server) -> None:
    check_time_out(_Psycopg2(), postgres)


def test_imported_before_the_patch_and_restored() -> None:
    """The classes that the library and the program have derived follow."""
    run_python(
        """
        import psycopg2.extras
        from psycopg2 import extensions
        native = extensions.connection, extensions.cursor, extensions.lobject
        class Mine(extensions.connection):
            pass
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("psycopg2")
        assert extensions.connection is not native[0] and issubclass(extensions.connection, native[0])
        for derived in Mine, psycopg2.extras.DictConnection, psycopg2.extras.LogicalReplicationConnection:
            assert issubclass(derived, extensions.connection), derived.__mro__
        for derived in psycopg2.extras.DictCursor, psycopg2.extras.ReplicationCursor:
            assert issubclass(derived, extensions.cursor), derived.__mro__
        greenify.restore()
        assert (extensions.connection, extensions.cursor, extensions.lobject) == native
        assert Mine.__bases__ == (native[0],) == psycopg2.extras.DictConnection.__bases__
        """,
        greenify=False,
        check=True,
    )
