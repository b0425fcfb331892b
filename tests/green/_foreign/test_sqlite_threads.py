"""sqlite3's `check_same_thread`: a connection is refused to all threads but its own, as with real threads."""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

PROGRAM = """
    import sqlite3
    warnings.filterwarnings("ignore", "unclosed database", ResourceWarning)

    def refused(function, *args):
        '''Whether a call is refused for its thread; the refusal names the maker and the caller.'''
        try:
            function(*args)
        except sqlite3.ProgrammingError as exc:
            assert f"and this is thread id {threading.get_ident()}." in str(exc), exc
            return int(str(exc).split("created in thread id ")[1].split()[0])
        return None
    me = threading.get_ident()
"""

# What each method is called with, and what each attribute is set to; all others without arguments and not at
# all.  A dictionary for each class, by the names that `dir` gives.
EVERYTHING = """
    ARGUMENTS = {
        "__call__": ("select 1",),
        "__exit__": (None, None, None),
        "backup": (sqlite3.connect(":memory:", check_same_thread=False),),
        "blobopen": ("b", "x", 1),
        "create_aggregate": ("f", 1, None),
        "create_collation": ("f", None),
        "create_function": ("f", 1, None),
        "create_window_function": ("f", 1, None),
        "deserialize": (b"",),
        "enable_load_extension": (False,),
        "execute": ("select 1",),
        "executemany": ("insert into b values (?)", [(b"1",)]),
        "executescript": ("select 1;",),
        "getconfig": (getattr(sqlite3, "SQLITE_DBCONFIG_ENABLE_FKEY", 0),),
        "getlimit": (0,),
        "load_extension": ("no such file",),
        "read": (1,),
        "seek": (0,),
        "set_authorizer": (None,),
        "set_progress_handler": (None, 1),
        "set_trace_callback": (None,),
        "setconfig": (getattr(sqlite3, "SQLITE_DBCONFIG_ENABLE_FKEY", 0), True),
        "setinputsizes": ([],),
        "setlimit": (0, 10**6),
        "setoutputsize": (1,),
        "write": (b"1",),
        "__getitem__": (0,),
        "__setitem__": (0, 65),
    }
    VALUES = {
        "arraysize": 2,
        "autocommit": sqlite3.__dict__.get("LEGACY_TRANSACTION_CONTROL", -1),
        "isolation_level": None,
        "row_factory": None,
        "text_factory": bytes,
    }
    # What every object has; `__init__` and `__del__` are the thread's that makes it anew.
    COMMON = {*dir(object), "__weakref__", "__dict__", "__module__"}

    def connect(**options):
        db = sqlite3.connect(":memory:", **options)
        db.executescript("create table b(x); insert into b values (zeroblob(10));")
        return db

    def cursor(db):
        return db.execute("select 1 union select 2")

    def blob(db):
        return db.blobopen("b", "x", 1)

    KINDS = {"connection": lambda db: db, "cursor": cursor}
    if hasattr(sqlite3, "Blob"):
        KINDS["blob"] = blob

    def told(function, *args):
        text = outcome(function, *args)
        if not isinstance(text, str):
            return type(text).__name__
        return text.replace(str(me), "MAKER").replace(str(threading.get_ident()), "CALLER")

    def use(one, name):
        value = getattr(one, name)
        if not callable(value) or isinstance(value, type):
            return value
        return value(*ARGUMENTS.get(name, ()))

    def everything(**options):
        for kind, make in KINDS.items():
            for name in sorted({*dir(make(connect()))} - COMMON):
                if not isinstance(getattr(type(make(connect())), name), type):
                    one = make(connect(**options))
                    print(kind, name, Thread(told, use, one, name).end())
                if name in VALUES:
                    one = make(connect(**options))
                    print(kind, name, "=", Thread(told, setattr, one, name, VALUES[name]).end())
        for make in (iter, len):
            print(make, Thread(told, make, cursor(connect(**options))).end())
        print("next", Thread(told, next, cursor(connect(**options))).end())
        print("cursor of", Thread(told, sqlite3.Cursor, connect(**options)).end())
        print("backup onto", Thread(told, connect(check_same_thread=False).backup, connect(**options)).end())
"""


class TestRefusals:
    @pytest.mark.parametrize("options", ["", "check_same_thread=True", "check_same_thread=False"])
    def test_every_method_and_attribute(self, options: str) -> None:
        told = same_output(f"{PROGRAM}{EVERYTHING}\n    everything({options})")
        refused = [
            line for line in told.splitlines() if "MAKER and this is thread id CALLER" in line
        ]
        assert bool(refused) == ("False" not in options)
        if refused:
            assert {f"{line.split()[0]} {line.split()[1]}" for line in refused} >= {
                "connection execute", "connection close", "connection __exit__", "connection cursor",
                "cursor execute", "cursor fetchone", "cursor __next__", "next ProgrammingError:",
            }  # fmt: skip
            assert any(
                line.startswith("connection interrupt NoneType") for line in told.splitlines()
            )

    @both_modes
    def test_between_two_threads_that_are_not_the_first(self, mode: Mode) -> None:
        run(
            f"""{PROGRAM}
    made, done = queue.Queue(), threading.Event()
    def maker():
        db = sqlite3.connect(":memory:")
        made.put((db, threading.get_ident()))
        for _ in range(3):
            done.wait(0.01)
            assert refused(db.execute, "select 1") is None
        done.wait(LONG)
        assert db.execute("select 1").fetchone() == (1,)
        db.close()
    thread = Thread(maker)
    db, ident = made.get()
    assert refused(db.execute, "select 1") == ident
    assert Thread(refused, db.execute, "select 1").end() == ident
    mine = sqlite3.connect(":memory:")
    assert refused(mine.execute, "select 1") is None
    assert Thread(refused, mine.close).end() == me
    done.set()
    thread.end()
    mine.close()
    """,
            mode,
        )

    @both_modes
    def test_classes_of_the_program(self, mode: Mode) -> None:
        run(
            f"""{PROGRAM}
    class Plain(sqlite3.Connection):
        pass
    class Own(sqlite3.Connection):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.execute("create table t(a)")
    class Mine(sqlite3.Cursor):
        pass
    for make in (Plain, Own, sqlite3.Connection, lambda place: sqlite3.connect(place, factory=Own)):
        db = make(":memory:")
        assert refused(db.execute, "select 1") is None
        assert Thread(refused, db.execute, "select 1").end() == me
        assert Thread(refused, db.cursor(Mine).execute, "select 1").end() == me
        # Made anew by another thread, it is that one's.
        Thread(db.__init__, ":memory:").end()
        assert refused(db.execute, "select 1")
    """,
            mode,
        )

    @pytest.mark.parametrize("late", [False, True], ids=["plain", "patched late"])
    def test_a_connection_from_before_the_patch(self, late: bool) -> None:
        run(
            f"""{PROGRAM}
    db, shared = sqlite3.connect(":memory:"), sqlite3.connect(":memory:", check_same_thread=False)
    if {late}:
        import greenify
        greenify.patch_all()
    assert Thread(refused, db.execute, "select 1").end() == me
    assert Thread(refused, shared.execute, "select 1").end() is None
    assert refused(db.execute, "select 1") is None
    """,
            False,
        )

    @both_modes
    def test_a_closed_connection(self, mode: Mode) -> None:
        """From CPython 3.11 on it says so to all threads under greenify; plain Python refuses first."""
        run(
            f"""{PROGRAM}
    db = sqlite3.connect(":memory:")
    cursor = db.execute("select 1")
    db.close()
    def told(function, *args):
        try:
            function(*args)
        except sqlite3.ProgrammingError as exc:
            return str(exc)
    for call in ((db.execute, "select 1"), (db.cursor,), (cursor.fetchone,)):
        assert told(*call) == "Cannot operate on a closed database."
        elsewhere = Thread(told, *call).end()
        forgotten = PATCHED and sys.version_info >= (3, 11)
        assert ("closed database" if forgotten else "can only be used") in elsewhere, elsewhere
    """,
            mode,
        )

    @both_modes
    def test_native_threads(self, mode: Mode) -> None:
        run(
            f"""{PROGRAM}
    db = sqlite3.connect(":memory:")
    if PATCHED:
        import greenify
        elsewhere = greenify.run_in_thread
    else:
        elsewhere = lambda *call: Thread(*call).end()
    def caught():
        try:
            db.execute("select 1")
        except sqlite3.ProgrammingError as exc:
            return str(exc)
    assert f"created in thread id {{me}} and" in elsewhere(caught)
    there = elsewhere(sqlite3.connect, ":memory:")
    try:
        there.execute("select 1")
    except sqlite3.ProgrammingError as exc:
        assert f"and this is thread id {{me}}." in str(exc)
    else:
        raise AssertionError("not refused")
    """,
            mode,
        )

    @both_modes
    def test_a_forked_child(self, mode: Mode) -> None:
        run(
            f"""{PROGRAM}
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    db = sqlite3.connect(":memory:")
    def check():
        child = os.fork()
        if not child:
            result = 1
            try:
                result = refused(db.execute, "select 1") != me
            finally:
                os._exit(result)
        return os.waitpid(child, 0)[1]
    assert Thread(check).end() == 0
    child = os.fork()
    if not child:
        result = 1
        try:
            assert refused(db.execute, "select 1") is None
            assert Thread(refused, db.execute, "select 1").end() == me
            result = 0
        finally:
            os._exit(result)
    assert os.waitpid(child, 0)[1] == 0
    """,
            mode,
        )


class TestGreenlets:
    def test_tasks_and_raw_greenlets(self) -> None:
        run(
            f"""{PROGRAM}
    import greenify, greenlet
    db = sqlite3.connect(":memory:")
    def task(*call):
        begun = greenify.spawn(*call)
        begun.join()
        return begun.result
    assert task(refused, db.execute, "select 1") == me
    assert greenlet.greenlet(refused).switch(db.execute, "select 1") is None
    def work():
        mine = sqlite3.connect(":memory:")
        inner = greenlet.greenlet(refused)
        assert inner.switch(mine.execute, "select 1") is None
        time.sleep(0.001)
        assert greenlet.greenlet(refused).switch(mine.execute, "select 1") is None
        assert greenlet.greenlet(refused).switch(db.execute, "select 1") == me
        made = greenlet.greenlet(lambda: sqlite3.connect(":memory:")).switch()
        time.sleep(0.001)
        assert refused(made.execute, "select 1") is None
    Thread(work).end()
    task(work)
    """,
            "patch_all",
        )

    def test_those_of_gevent_are_no_threads(self) -> None:
        run(
            f"""{PROGRAM}
    import gevent
    db = sqlite3.connect(":memory:")
    def work():
        assert refused(db.execute, "select 1") is None
        mine = sqlite3.connect(":memory:")
        gevent.sleep(0.001)
        assert refused(db.execute, "select 1") is None
        return mine
    jobs = [gevent.spawn(work) for _ in range(3)]
    gevent.joinall(jobs, raise_error=True)
    for job in jobs:
        assert refused(job.value.execute, "select 1") is None
        assert Thread(refused, job.value.execute, "select 1").end() == me
    """,
            "patch_all",
        )

    def test_only_while_such_a_connection_is_alive(self) -> None:
        run(
            f"""{PROGRAM}
    import greenlet
    def switched():
        time.sleep(0.001)
        time.sleep(0.001)
        return greenlet.gettrace() is not None
    Thread(switched).end()
    assert not switched()
    shared = sqlite3.connect(":memory:", check_same_thread=False)
    assert not switched()
    db = sqlite3.connect(":memory:")
    assert switched()
    db.close()
    if sys.version_info < (3, 11):
        del db  # closed, it still refuses other threads
    assert not switched()
    again = sqlite3.connect(":memory:")
    assert switched()
    again = None
    gc.collect()
    assert not switched()
    try:
        sqlite3.connect("/nowhere/at/all")
    except sqlite3.OperationalError:
        pass
    assert not switched()
    """,
            "patch_all",
        )

    def test_while_a_trace_is_on(self) -> None:
        """A trace looks at the same switches."""
        run(
            f"""{PROGRAM}
    import greenify
    def alone(db):
        assert refused(db.execute, "select 1") is None
        assert Thread(refused, db.execute, "select 1").end() == me
    before = sqlite3.connect(":memory:")
    with greenify.trace(os.path.join(os.path.dirname(os.path.abspath(__file__)), "trace")):
        alone(before)
        during = sqlite3.connect(":memory:")
        other = Thread(sqlite3.connect, ":memory:").end()
        alone(during)
        assert refused(other.execute, "select 1")
    alone(before)
    alone(during)
    assert refused(other.execute, "select 1")
    """,
            "patch_all",
        )

    def test_restore(self) -> None:
        run(
            f"""{PROGRAM}
    import _thread, functools, greenify
    init = sqlite3.ProgrammingError.__init__
    db, other = sqlite3.connect(":memory:"), Thread(sqlite3.connect, ":memory:").end()
    assert refused(other.execute, "select 1")
    references = sys.getrefcount(functools.lru_cache)
    greenify.restore()
    assert sys.getrefcount(functools.lru_cache) == references
    assert sqlite3.ProgrammingError.__init__ is not init
    for each in (db, other):
        assert each.execute("select 1").fetchone() == (1,)
        assert Thread(refused, each.execute, "select 1").end() == me
    assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
    greenify.patch_all()
    assert Thread(refused, db.execute, "select 1").end() == me
    assert refused(db.execute, "select 1") is None
    """,
            "patch_all",
        )

    def test_connections_that_come_and_go(self) -> None:
        run(
            f"""{PROGRAM}
    import random
    everywhere = [None] * 50
    def work(seed):
        chance = random.Random(seed)
        kept = []
        for _ in range(150):
            what = chance.random()
            if what < 0.4:
                kept.append(sqlite3.connect(":memory:"))
                everywhere[chance.randrange(50)] = kept[-1]
            elif what < 0.6 and kept:
                kept.pop(chance.randrange(len(kept)))
            elif what < 0.7 and kept:
                kept.pop().close()
            elif what < 0.9:
                time.sleep(0)
            else:
                found = chance.choice(everywhere)
                if found is not None and not any(found is each for each in kept):
                    ident = threading.get_ident()
                    maker = outcome(refused, found.execute, "select 1")
                    assert maker != ident
                if chance.random() < 0.1:
                    gc.collect()
            for each in kept:
                assert each.execute("select 1").fetchone() == (1,)
    import greenify
    threads = [Thread(work, seed) for seed in range(10)]
    natives = [Thread(greenify.run_in_thread, work, seed) for seed in range(10, 13)]
    for thread in (*threads, *natives):
        thread.end(60)
    """,
            "patch_all",
        )
