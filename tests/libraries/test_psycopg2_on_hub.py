"""psycopg2's statements on the hub: that they are there, and give what they give with threads."""

from __future__ import annotations

import pytest

from tests.libraries.programs import needs
from tests.libraries.psycopg2_programs import check, same
from tests.libraries.servers import Server

needs("psycopg2")

pytestmark = pytest.mark.servers


@pytest.fixture
def server(postgres: Server) -> Server:
    return postgres


class TestOnTheHub:
    """What only green threads have."""

    def test_no_native_thread(self, server: Server) -> None:
        check(
            """
    first, second = connect(), connect(autocommit=True)
    submitted = natively()

    def ask():
        for _ in range(3):
            for number in range(3):
                assert rows(first, "select %s::int, '100%%'", number) == [(number, "100%")]
                assert rows(second, b"select 1") == [(1,)]
            first.commit()
            first.commit()
        do(first, "create temp table t (a int)")
        first.rollback()
        assert first.status == extensions.STATUS_READY
        named = first.cursor("named", scrollable=True)
        do(first, "select 1")
        named.execute("select n from generate_series(1, 5000) n")
        assert named.fetchone() == (1,) and named.fetchmany(2) == [(2,), (3,)]
        named.scroll(1)
        assert sum(n for n, in named) == sum(range(5, 5001))
        assert named.fetchall() == []
        named.close()
        first.rollback()
        first.autocommit = True
        assert first.poll() == extensions.POLL_OK
        assert rows(first, "select 2") == [(2,)]
        first.autocommit = False

    Thread(ask).end()
    assert not submitted, submitted

    def natively_only():
        cursor = first.cursor()
        for call in (
            lambda: cursor.execute("select %s", ["x" * 20_000]),
            lambda: cursor.executemany("select %s", [(1,), (2,)]),
            lambda: cursor.callproc("now"),
            lambda: first.set_session(readonly=True),
        ):
            del submitted[:]
            call()
            assert len(submitted) == 1, call
            first.rollback()

    Thread(natively_only).end()
    # The main thread, whose signal handlers run in its waits.
    del submitted[:]
    rows(second, "select 1")
    assert len(submitted) == 1
            """,
            "patch_all",
            server,
        )

    def test_killed_and_timed_out(self, server: Server) -> None:
        check(
            """
    import greenify
    observer = connect(autocommit=True)

    def interrupted(connection):
        for number in range(3):
            try:
                with greenify.Timeout(0.05):
                    do(connection, SLEEP.format(20))
            except greenify.Timeout as exc:
                assert exc.__context__ is None
            else:
                raise AssertionError("no time-out")
            assert connection.status == extensions.STATUS_BEGIN
            connection.rollback()
            assert rows(connection, "select 1") == [(1,)]
            connection.rollback()

    Thread(interrupted, connect()).end()

    # Waiting for another thread's statement: nothing has begun, and nothing is cancelled.
    shared = connect(autocommit=True)
    running = Thread(rows, shared, SLEEP.format(0.5))
    until(lambda: sees(observer, RUNNING))
    queued = greenify.spawn(do, shared, "create table never (a int)")
    settle()
    queued.kill()
    queued.join()
    assert len(running.end()) == 1
    assert rows(shared, "select to_regclass('never')") == [(None,)]

    # A kill while it is told to be cancelled changes nothing.
    def killed():
        try:
            do(shared, SLEEP.format(20))
        finally:
            ended.append(shared.closed)
    ended = []
    task = greenify.spawn(killed)
    until(lambda: sees(observer, RUNNING))
    killing = Thread(task.kill)
    settle()
    task.kill()
    killing.end()
    task.join()
    assert ended == [0]
    assert rows(shared, "select 1") == [(1,)]

    # A commit is not cancelled.
    slow = connect()
    slow_commits(slow)
    do(slow, "insert into slow values (1)")
    task = greenify.spawn(slow.commit)
    until(lambda: sees(observer, COMMITTING))
    task.kill()
    task.join()
    assert slow.status == extensions.STATUS_READY
    assert rows(observer, "select a from slow") == [(1,)]
    assert rows(slow, "select a from slow") == [(1,)]
            """,
            "patch_all",
            server,
        )

    def test_nothing_of_pythons_in_a_window(self, server: Server) -> None:
        """The collector is off until the callback waits, and as it was afterwards."""
        check(
            """
    first = connect(autocommit=True)
    from greenify.green._foreign import wait_callbacks
    wait, enabled = wait_callbacks._wait_for, set()
    def waiting(*args):
        enabled.add(gc.isenabled())
        assert extensions.get_wait_callback() is None
        return wait(*args)
    wait_callbacks._wait_for = waiting
    for turned_on in True, False:
        (gc.enable if turned_on else gc.disable)()
        enabled.clear()
        Thread(rows, first, "select 1").end()
        assert enabled == {turned_on} == {gc.isenabled()}
    gc.enable()
    assert outcome(Thread(rows, first, "no sql").end).startswith("SyntaxError")
    assert outcome(Thread(first.cursor("x").execute, "select 1").end).startswith("ProgrammingError")
    assert gc.isenabled() and extensions.get_wait_callback() is None
            """,
            "patch_all",
            server,
        )

    def test_restored_and_patched_again(self, server: Server) -> None:
        """Also with connections from meanwhile, which native threads use: then nothing runs on the hub."""
        check(
            """
    import greenify
    native = greenify.original("_thread")
    for _ in range(2):
        first = connect(autocommit=True)
        assert Thread(rows, first, "select 1").end() == [(1,)]
        assert extensions.get_wait_callback() is None
        greenify.restore()
        assert rows(first, "select 2") == [(2,)]
        stranger = connect(autocommit=True)
        greenify.patch_all()
    del first

    mine, submitted = connect(autocommit=True), natively()
    copied = []

    def copy():
        for _ in range(100):
            out = io.StringIO()
            stranger.cursor().copy_expert("copy (select 1) to stdout", out)
            copied.append(out.getvalue())
        copied.append("end")

    native.start_new_thread(copy, ())
    while "end" not in copied:
        assert Thread(rows, mine, "select 3").end() == [(3,)]
    assert copied == ["1\\n"] * 100 + ["end"]
    assert submitted
    stranger.close()
    del stranger
    until(lambda: Thread(lambda: (submitted.clear(), rows(mine, "select 4"))).end() and not submitted)
            """,
            "patch_all",
            server,
        )


class TestTheSame:
    def test_texts_and_arguments(self, server: Server) -> None:
        same(
            """
    class Dollars:
        def __conform__(self, protocol):
            return self
        def getquoted(self):
            return b"'%d $'" % 5

    def variants(first):
        assert first.encoding == "UTF8"
        cursor = first.cursor()
        for text, *args in (
            ("select '%'",),
            ("select '100%%'", ()),
            ("select '100%%'", {}),
            ("select '100%%'", None),
            (b"select %s", (1,)),
            ("select %s, %s", [Dollars(), "\\N{SNOWMAN} %s"]),
            ("select %(a)s, %(a)s", {"a": [1, 2]}),
            (sql.SQL("select {}, %s").format(sql.Literal("%%")), ("%",)),
            (sql.SQL("select {}").format(sql.Literal("x")),),
            ("select 1; select 2",),
            ("select %s", ("y" * 15_000,)),
            ("select %s", ("z" * 100_000,)),
            ("select 'copy'",),
            ("  ; select 1",),
        ):
            expected = cursor.mogrify(text, *args)
            assert cursor.execute(text, *args) is None
            assert cursor.query == expected and type(cursor.query) is bytes
            print([value if len(str(value)) < 50 else len(value) for value in cursor.fetchone()])
            print(cursor.statusmessage, cursor.rowcount, cursor.description[0].name)
        cursor.execute(query="select %s", vars=(7,))
        assert cursor.fetchone() == (7,) and cursor.query == b"select 7"
        first.set_client_encoding("LATIN1")
        assert rows(first, "select 'ä'") == [("ä",)]
        print(outcome(cursor.execute, "select '\\N{SNOWMAN}'"))
        first.rollback()

    variants(connect())
    Thread(variants, connect()).end()
    Thread(variants, connect(autocommit=True)).end()
            """,
            server,
        )

    def test_errors(self, server: Server) -> None:
        same(
            """
    class Broken:
        def __conform__(self, protocol):
            raise ZeroDivisionError("broken")

    def tell(connection, function, *args, **kwargs):
        print(str(outcome(function, *args, **kwargs)).splitlines()[0], connection.status, connection.closed)

    def errors(first):
        cursor = first.cursor()
        do(first, "select 1")
        first.commit()
        # Before anything is sent.
        for args in (
            (), ("",), (b"",), (None,), (5,), ("select %s",), ("select %s", (1, 2)), ("select %s", ()),
            ("select %s", 5), ("select %z", (1,)), ("select %(a)s", {}), ("select %s", (object(),)),
            ("select %s", (Broken(),)), ("select 1", (), None), (sql.SQL("select {}"), (1,)),
        ):
            if args not in [("select %s",), (sql.SQL("select {}"), (1,))]:
                tell(first, cursor.execute, *args)
        assert first.status == extensions.STATUS_READY
        cursor.execute("select 1")
        assert "can't adapt" in outcome(cursor.execute, "select %s", (object(),))
        print(cursor.query, outcome(cursor.fetchone))
        # In a transaction.
        do(first, "create temp table t (a int unique)")
        for text in "no sql", "select 1", "insert into t values (1)", "rollback":
            tell(first, cursor.execute, text)
        first.rollback()
        tell(first, cursor.execute, "copy pg_class to stdout")
        first.rollback()
        tell(first, cursor.execute, "copy pg_class from stdin")
        first.rollback()
        tell(first, cursor.execute, "-- nothing")
        first.rollback()
        tell(first, cursor.execute, "set transaction isolation level read committed; select 1; no; select 2")
        first.rollback()
        cursor.close()
        tell(first, cursor.execute, "select 1")
        named = first.cursor("named")
        tell(first, named.fetchone)
        first.rollback()
        named = first.cursor("named")
        named.execute("select 1")
        tell(first, named.execute, "select 2")
        first.commit()
        tell(first, named.fetchone)
        tell(first, named.fetchall)
        first.tpc_begin(first.xid(1, "global", "branch"))
        tell(first, first.commit)
        tell(first, first.rollback)
        do(first, "select 1")
        first.tpc_prepare()
        tell(first, first.cursor().execute, "select 1")
        tell(first, first.commit)
        first.tpc_rollback()
        # A transaction that fails when it ends.
        do(first, "create temp table d (a int unique deferrable initially deferred)")
        do(first, "insert into d values (1), (1)")
        tell(first, first.commit)
        tell(first, first.commit)
        assert rows(first, "select 1") == [(1,)]
        first.close()
        for function in first.commit, first.rollback, first.poll, first.cursor:
            tell(first, function)

    errors(connect())
    print("-")
    Thread(errors, connect()).end()
            """,
            server,
        )

    def test_the_server_ends_the_connection(self, server: Server) -> None:
        same(
            """
    killer = connect(autocommit=True)

    def lost(connection, function, *args):
        try:
            function(*args)
        except Error as exc:
            # By the callback it tells the server's own words before these.
            assert "server closed the connection unexpectedly" in str(exc)
            print(type(exc).__name__, exc.pgcode, connection.closed)
        print(outcome(connection.rollback), outcome(connection.commit), outcome(connection.cursor))
        connection.close()
        print(connection.closed)

    for autocommit in True, False:
        first = connect(autocommit)
        thread = Thread(lost, first, first.cursor().execute, SLEEP.format(20))
        until(lambda: sees(killer, RUNNING))
        assert rows(killer, TERMINATE, first.get_backend_pid()) == [(True,)]
        thread.end()
    # While nobody waits.
    for function in "execute", "commit", "rollback":
        first = connect()
        do(first, "select 1")
        assert rows(killer, TERMINATE, first.get_backend_pid()) == [(True,)]
        assert select.select([first], [], [], LONG)[0]
        if function == "execute":
            Thread(lost, first, first.cursor().execute, "select 1").end()
        else:
            Thread(lost, first, getattr(first, function)).end()
            """,
            server,
        )

    def test_at_exit(self, server: Server) -> None:
        """The connection that a daemon thread waits for can be used when its statement has been answered."""
        same(
            """
    import atexit
    used, observer = connect(autocommit=True), connect(autocommit=True)
    atexit.register(lambda: print(rows(used, "select 7")))
    threading.Thread(target=rows, args=(used, SLEEP.format(0.5)), daemon=True).start()
    until(lambda: sees(observer, RUNNING))
    print("end")
            """,
            server,
        )
