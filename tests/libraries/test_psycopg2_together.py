"""psycopg2 used by many threads at once, and by what interrupts them: as with threads."""

from __future__ import annotations

import pytest

from tests.libraries.programs import both_modes, needs
from tests.libraries.psycopg2_programs import check
from tests.libraries.servers import Server
from tests.support import Mode

needs("psycopg2")

pytestmark = pytest.mark.servers


@pytest.fixture
def server(postgres: Server) -> Server:
    return postgres


@both_modes
class TestAsWithThreads:
    def test_notices_and_notifications(self, mode: Mode, server: Server) -> None:
        check(
            """
    class Kept(list):
        def append(self, value):
            time.sleep(0.001)
            super().append(value)

    def listen(listener, sender):
        do(listener, "listen told")
        listener.commit()
        for number in range(3):
            do(sender, f"notify told, '{number}'")
        do(listener, "do $$begin raise notice 'said'; end$$")
        assert [notify.payload for notify in listener.notifies] == ["0", "1", "2"]
        assert "said" in listener.notices[-1]
        listener.notices = Kept()
        do(listener, "do $$begin raise notice 'again'; end$$")
        assert "again" in listener.notices[-1]
        listener.commit()
        do(sender, "notify told, 'commit'")
        do(listener, "select 1")
        listener.commit()
        assert listener.notifies[-1].payload == "commit"

    Thread(listen, connect(), connect(autocommit=True)).end()
            """,
            mode,
            server,
        )

    def test_with_blocks(self, mode: Mode, server: Server) -> None:
        """From psycopg2 2.9 on, one of a connection in autocommit is a transaction as well."""
        check(
            """
    table("blocks", "a int").close()

    def blocks(first):
        with first:
            ticks_during(rows, first, SLEEP.format(0.1))
            do(first, "insert into blocks values (1)")
            assert first.status == extensions.STATUS_BEGIN
        assert first.status == extensions.STATUS_READY
        assert "division by zero" in outcome(failing, first)
        assert first.status == extensions.STATUS_READY
        ticks_during(rows, first, SLEEP.format(0.1))

    def failing(first):
        with first, first.cursor() as cursor:
            cursor.execute("delete from blocks")
            1 / 0

    for autocommit in True, False:
        Thread(blocks, connect(autocommit)).end()
    assert rows(connect(), "select count(*) from blocks") == [(2,)]
            """,
            mode,
            server,
        )

    def test_a_large_object_dropped_while_the_connection_is_in_use(
        self, mode: Mode, server: Server
    ) -> None:
        check(
            """
    first, observer = connect(), connect(autocommit=True)
    kept = [first.lobject(0, "wb") for _ in range(3)]
    waiting = Thread(rows, first, SLEEP.format(0.3))
    until(lambda: sees(observer, RUNNING))
    kept.clear()
    gc.collect()
    assert len(waiting.end()) == 1
    del waiting
    assert Thread(rows, first, "select 1").end() == [(1,)]
    first.lobject(0, "wb")
    assert Thread(rows, first, "select 1").end() == [(1,)]
            """,
            mode,
            server,
        )

    def test_typecasters_use_the_connection(self, mode: Mode, server: Server) -> None:
        """A row of a named cursor is made when the server has answered: others may ask it something then."""
        check(
            """
    def cast(value, cursor):
        time.sleep(0.001)
        return value, rows(cursor.connection, "select %s::int + 1", value)[0][0]

    INTEGER = extensions.new_type((23,), "asks", cast)

    def fetch(first):
        named = first.cursor("named")
        extensions.register_type(INTEGER, named)
        named.itersize = 2
        named.execute("select n::int from generate_series(1, 9) n")
        got = [named.fetchone(), *named.fetchmany(2), *(row for _, row in zip(range(3), named)), *named]
        assert got == [((str(n), n + 1),) for n in range(1, 10)], got
        named.close()
        first.commit()

    fetch(connect())
    Thread(fetch, connect()).end()
            """,
            mode,
            server,
        )

    def test_a_wait_callback_comes_and_goes(self, mode: Mode, server: Server) -> None:
        check(
            """
    called = []
    def wait(connection):
        called.append(connection)
        psycopg2.extras.wait_select(connection)

    first = connect(autocommit=True)
    for _ in range(3):
        assert extensions.get_wait_callback() is None
        assert Thread(rows, first, "select 1").end() == [(1,)]
        assert not called
        extensions.set_wait_callback(wait)
        assert extensions.get_wait_callback() is wait
        assert Thread(rows, first, "select 2").end() == [(2,)]
        assert len(called) == 1
        cursor = first.cursor()
        refused = outcome(cursor.copy_expert, "copy pg_class to stdout", io.StringIO())
        assert "asynchronous callback" in refused
        extensions.set_wait_callback(None)
        called.clear()
        cursor.copy_expert("copy pg_class to stdout", io.StringIO())

    # Set while a statement is under way.
    observer = connect(autocommit=True)
    waiting = Thread(rows, first, SLEEP.format(0.3))
    until(lambda: sees(observer, RUNNING))
    extensions.set_wait_callback(wait)
    assert Thread(rows, observer, "select 3").end() == [(3,)]
    if PATCHED:
        # Two at once psycopg2 itself does not allow then.
        assert Thread(rows, first, "select 4").end() == [(4,)]
    assert len(waiting.end()) == 1
    extensions.set_wait_callback(None)
            """,
            mode,
            server,
        )

    def test_everything_at_once(self, mode: Mode, server: Server) -> None:
        """Statements of fifty threads, and beside them what does not bear a wait callback."""
        check(
            """
    table("copied", "a int, b text").close()
    stop = threading.Event()
    problems = []

    def guarded(function, *args):
        try:
            function(*args)
        except BaseException:
            problems.append(traceback.format_exc())
            stop.set()

    def statements(number):
        own = connect(autocommit=bool(number % 2))
        while not stop.is_set():
            assert rows(own, "select %s::int", number) == [(number,)]
            own.commit()
        own.close()

    shared = connect(autocommit=True)
    def sharing(number):
        while not stop.is_set():
            assert rows(shared, "select %s::int", number) == [(number,)]

    LINES = "".join(f"{n}\\ttext {n}\\n" for n in range(300))
    def copies(round):
        own = connect()
        cursor = own.cursor()
        cursor.copy_from(io.StringIO(LINES), "copied")
        out = io.StringIO()
        cursor.copy_to(out, "copied")
        assert sorted(out.getvalue().splitlines()) == sorted(LINES.splitlines())
        own.rollback()
        own.close()

    def large_objects(round):
        own = connect()
        large = own.lobject(0, "wb")
        large.write(b"x" * 100_000)
        oid = large.oid
        large.close()
        assert own.lobject(oid, "rb").read() == b"x" * 100_000
        own.rollback()

    def batches(round):
        own = connect()
        do(own, "create temp table t (a text)")
        own.cursor().executemany("insert into t values (%s)", [("y" * 3000,) for _ in range(20)])
        assert rows(own, "select sum(length(a)) from t") == [(60_000,)]
        assert rows(own, "select %s", "z" * 200_000) == [("z" * 200_000,)]
        own.close()

    def rounds(function):
        for round in range(15):
            if not stop.is_set():
                function(round)

    asking = [Thread(guarded, statements, number) for number in range(40)]
    asking += [Thread(guarded, sharing, number) for number in range(10)]
    for thread in [Thread(guarded, rounds, function) for function in (copies, large_objects, batches) * 2]:
        thread.end(60)
    stop.set()
    for thread in asking:
        thread.end()
    assert not problems, problems[0]
            """,
            mode,
            server,
            timeout=150,
        )

    def test_several_os_threads(self, mode: Mode, server: Server) -> None:
        """With hubs of their own, and on one connection."""
        check(
            """
    if PATCHED:
        import greenify
        from greenify.core.registry import get_hub
        native = greenify.original("threading")
    else:
        native = threading
    shared = connect(autocommit=True)
    asked = []

    def ask(number, own):
        for round in range(30):
            assert rows(own, "select %s::int", number) == [(number,)]
            own.commit()
            assert rows(shared, "select %s::int", number) == [(number,)]
        asked.append(number)

    def in_os_thread(number):
        if PATCHED:
            get_hub()
            for thread in [Thread(ask, number + more, connect()) for more in range(3)]:
                thread.end(60)
        else:
            for more in range(3):
                ask(number + more, connect())

    others = [native.Thread(target=in_os_thread, args=(number,)) for number in (10, 20)]
    for thread in others:
        thread.start()
    for thread in [Thread(ask, number, connect()) for number in range(3)]:
        thread.end(60)
    for thread in others:
        if PATCHED:
            greenify.run_in_thread(thread.join)
        else:
            thread.join()
    assert sorted(asked) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
            """,
            mode,
            server,
        )

    def test_fork_while_others_wait(self, mode: Mode, server: Server) -> None:
        check(
            """
    warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
    first, second, observer = connect(autocommit=True), connect(autocommit=True), connect(autocommit=True)
    rows(second, "select 1")
    waiting = Thread(rows, first, SLEEP.format(0.5))
    until(lambda: sees(observer, RUNNING))
    child = os.fork()
    if not child:
        code = 1
        try:
            own = connect()
            threads = [Thread(rows, connect(), SLEEP.format(0.05)) for _ in range(3)]
            assert Thread(rows, own, "select 2").end() == [(2,)]
            Thread(own.commit).end()
            out = io.StringIO()
            own.cursor().copy_expert("copy (select 1) to stdout", out)
            assert out.getvalue() == "1\\n"
            for thread in threads:
                thread.end()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert len(waiting.end()) == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert Thread(rows, first, "select 4").end() == [(4,)]
            """,
            mode,
            server,
        )

    def test_handlers_of_the_main_thread(self, mode: Mode, server: Server) -> None:
        """One that uses the connection for which the main thread waits, and Ctrl-C in a commit."""
        check(
            """
    import signal
    first, observer = connect(autocommit=True), connect(autocommit=True)
    handled = []
    def handler(signum, frame):
        handled.append(rows(first, "select 5"))
    signal.signal(signal.SIGUSR1, handler)
    def send(number, seen):
        until(lambda: sees(observer, seen))
        os.kill(os.getpid(), number)
    thread = Thread(send, signal.SIGUSR1, RUNNING)
    rows(first, SLEEP.format(0.5))
    thread.end()
    until(lambda: handled)
    assert handled == [[(5,)]]

    slow = connect()
    slow_commits(slow)
    do(slow, "insert into slow values (1)")
    thread = Thread(send, signal.SIGINT, COMMITTING)
    try:
        slow.commit()
        time.sleep(LONG)  # where the handler runs late
    except KeyboardInterrupt:
        pass
    thread.end()
    assert rows(slow, "select a from slow") == [(1,)]
            """,
            mode,
            server,
        )
