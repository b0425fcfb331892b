"""Programs that use psycopg2, for its tests."""

from __future__ import annotations

from itertools import zip_longest

from tests.green.programs import MODES
from tests.libraries.databases import DriverTests
from tests.libraries.servers import Server
from tests.support import Mode

__all__ = ["check", "same"]


class _Psycopg2(DriverTests):
    driver = """
    import io
    import psycopg2, psycopg2.extras
    from psycopg2 import Error, extensions, sql
    MARK = "%s"
    TERMINATE = "select pg_terminate_backend(%s)"
    COMMITTING = f'''select count(*) from pg_stat_activity
        where query = 'COMMIT' and state = 'active' and {MINE}'''

    def connect(autocommit=False, **more):
        connection = psycopg2.connect(host=HOST, port=PORT, user=USER, dbname=DATABASE, **more)
        connection.autocommit = autocommit
        return connection

    def natively():
        '''Counts what is done on native threads from now on.'''
        from greenify.core.workers import Workers
        submit, submitted = Workers._submit, []
        def counting(workers, job):
            submitted.append(job)
            submit(workers, job)
        Workers._submit = counting
        return submitted

    def slow_commits(connection):
        '''Every commit that has written to the table `slow` takes a while.'''
        do(connection, "drop table if exists slow cascade")
        do(connection, "create table slow (a int)")
        do(connection, '''create or replace function slowly() returns trigger language plpgsql as
            $$begin perform pg_sleep(0.4); return null; end$$''')
        do(connection, '''create constraint trigger slowly after insert on slow
            deferrable initially deferred for each row execute function slowly()''')
        connection.commit()
    """


def check(code: str, mode: Mode, server: Server, timeout: float = 90) -> str:
    return _Psycopg2().check(code, mode, server, timeout)


def same(code: str, server: Server) -> str:
    """Run a program both ways; what it prints has to be the same."""
    plain, patched = (check(code, mode, server) for mode in MODES)
    pairs = zip_longest(plain.splitlines(), patched.splitlines())
    different = [f"{plain}\n{patched}" for plain, patched in pairs if plain != patched]
    assert not different, "\n".join(different)
    return patched
