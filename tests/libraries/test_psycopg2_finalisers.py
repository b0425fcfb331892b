"""Finalisers that use a connection of psycopg2: of other threads, and on top of a thread's own statement."""

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
def test_finalisers_of_other_threads_wait_for_a_statement(mode: Mode, server: Server) -> None:
    """One that uses the connection of a statement that another thread waits for: as any other use."""
    check(
        """
    class Finalised:
        def __init__(self, connection):
            self.me = self
            self.connection = connection
        def __del__(self):
            got.append(rows(self.connection, "select 1"))

    first, own, observer = connect(), connect(), connect(autocommit=True)
    holder, got = connect(), []

    def collect():
        Finalised(first)
        gc.collect()

    def in_a_transaction_of_its_own():
        rows(own, "select 2")
        collect()
        own.commit()

    gc.disable()
    for start in collect, lambda: Thread(collect).end(), lambda: Thread(in_a_transaction_of_its_own).end():
        rows(holder, LOCK)
        waiting = Thread(rows, first, LOCK)
        until(lambda: sees(observer, WAITING))
        before = []
        def release():
            time.sleep(0.02)
            before.extend(got)
            rows(holder, UNLOCK)
        releasing = Thread(release)
        start()
        assert not before and got == [[(1,)]], (before, got)
        releasing.end()
        assert len(waiting.end()) == 1
        rows(first, UNLOCK)
        got.clear()
        """,
        mode,
        server,
    )


def test_a_thread_that_waits_for_itself(server: Server) -> None:
    """A finaliser that uses the connection of the statement that its thread waits for."""
    check(
        """
    first = connect(autocommit=True)
    from greenify.green._foreign import wait_callbacks
    wait = wait_callbacks._wait_for
    outcomes = []
    def waiting(*args):
        wait_callbacks._wait_for = wait
        outcomes.append(outcome(rows, first, "select 1"))
        return wait(*args)
    wait_callbacks._wait_for = waiting
    assert Thread(rows, first, "select 2").end() == [(2,)]
    assert outcomes[0].startswith("ProgrammingError: the connection is in use"), outcomes
    assert Thread(rows, first, "select 3").end() == [(3,)]
        """,
        "patch_all",
        server,
    )


def test_a_thread_that_waits_uses_another_connection(server: Server) -> None:
    """A finaliser on top of a statement, which wants a connection that another thread waits for.

    It waits for that one, but not for ever, which may be in need of what is below the finaliser.
    """
    check(
        """
    from greenify.libraries import _psycopg2_calls
    from greenify.green._foreign import wait_callbacks
    first, second, holder, observer = [connect(autocommit=True) for _ in range(4)]
    wait, outcomes = wait_callbacks._wait_for, []

    def finalise(meanwhile):
        rows(holder, LOCK)
        waiting = Thread(rows, second, LOCK)
        until(lambda: sees(observer, WAITING))
        def on_top(*args):
            wait_callbacks._wait_for = wait
            meanwhile()
            outcomes.append(outcome(rows, second, "select 1"))
            return wait(*args)
        wait_callbacks._wait_for = on_top
        assert Thread(rows, first, "select 2").end() == [(2,)]
        return waiting

    def release():
        time.sleep(0.02)
        assert not outcomes
        rows(holder, UNLOCK)

    releasing = []
    waiting = finalise(lambda: releasing.append(Thread(release)))
    releasing.pop().end()
    waiting.end()
    assert outcomes == [[(1,)]], outcomes
    rows(second, UNLOCK)

    outcomes.clear()
    _psycopg2_calls._PATIENCE = 0.05
    waiting = finalise(int)
    assert outcomes[0].startswith("ProgrammingError: the connection is in use: another thread"), outcomes
    rows(holder, UNLOCK)
    waiting.end()
        """,
        "patch_all",
        server,
    )
