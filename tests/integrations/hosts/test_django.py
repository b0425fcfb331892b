"""Django: its development server, and its ORM in threads, with what keeps connections."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.integrations.gunicorn.servers import GREENIFY
from tests.integrations.hosts.hosting import (
    MANY,
    TIMEOUT,
    Host,
    both_ways,
    check_threads,
    hosting,
    needs,
)
from tests.libraries import servers
from tests.support import run_python

#: Settings, model, views and URLs in one module.
PROJECT = """
import os, sys, threading, time
SECRET_KEY, DEBUG, ROOT_URLCONF, USE_TZ = "x", True, "program", True
ALLOWED_HOSTS = ["*"]
DATABASES = {{"default": {database}}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
os.environ["DJANGO_SETTINGS_MODULE"] = "program"
barrier = threading.Barrier({many})

def meet(request):
    from django.db import connection
    from django.http import HttpResponse
    with connection.cursor() as cursor:
        cursor.execute("select 40 + 2")
        assert cursor.fetchone() == (42,)
        barrier.wait(60)
        cursor.execute("select 1")
    return HttpResponse(os.readlink("/proc/thread-self"))

def own(request):
    # How many connections the database has from us, and which one this is.
    from django.db import connection
    from django.http import HttpResponse
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(0.05)")
        cursor.execute("select count(*) from pg_stat_activity where application_name = 'program'")
        count = cursor.fetchone()[0]
        cursor.execute("select pg_backend_pid()")
        return HttpResponse(f"{{count}} {{cursor.fetchone()[0]}}")

def version(request):
    from django.http import HttpResponse
    return HttpResponse("first")

def urls():
    from django.urls import path
    return [path("", meet), path("version", version), path("own", own)]

class Lazy:
    # Read when the first request comes; the settings are not complete before.
    def __iter__(self):
        return iter(urls())
    def __reversed__(self):
        return reversed(urls())

urlpatterns = Lazy()
"""

MANAGE = """
import program, sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

ORM = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
import program, django
django.setup()
from django.db import connection, connections, models, transaction

class Account(models.Model):
    number = models.IntegerField()
    class Meta:
        app_label = "program"

with connection.schema_editor() as editor:
    if Account._meta.db_table in connection.introspection.table_names():
        editor.delete_model(Account)
    editor.create_model(Account)
account = Account.objects.create(number=0)
start, seen = threading.Barrier(20), set()

def work():
    try:
        start.wait(60)
        for _ in range(5):
            with transaction.atomic():
                # The row is somebody's from here on; everybody else waits, in C or in the kernel.
                account = Account.objects.select_for_update().get()
                number = account.number
                time.sleep(0.001)
                account.number = number + 1
                account.save()
        seen.add(connection.connection)
        start.wait(60)
    finally:
        connections.close_all()

def locked():
    # SQLite knows no lock of a row.
    with transaction.atomic():
        Account.objects.update(number=models.F("number") + 1)
        time.sleep(0.001)

def work_on_sqlite():
    try:
        start.wait(60)
        for _ in range(5):
            locked()
        seen.add(connection.connection)
        start.wait(60)
    finally:
        connections.close_all()

target = work_on_sqlite if connection.vendor == "sqlite" else work
threads = [threading.Thread(target=target) for _ in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
account.refresh_from_db()
connections.close_all()
if hasattr(connection, "close_pool"):
    connection.close_pool()
print(account.number, len(seen), threading.active_count())
"""


def write_project(here: Path, database: dict[str, object]) -> str:
    program = PROJECT.format(database=database, many=MANY)
    (here / "program.py").write_text(program)
    return program


def sqlite(here: Path) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(here / "db"),
        "OPTIONS": {"timeout": 60, "transaction_mode": "IMMEDIATE"},
    }


def postgresql(server: servers.Server, **settings: object) -> dict[str, object]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": server.database,
        "USER": server.user,
        "HOST": server.host,
        "PORT": server.port,
        "OPTIONS": {"application_name": "program"},
        **settings,
    }


@both_ways
def test_runserver_and_its_autoreloader(tmp_path: Path, launcher: Sequence[str]) -> None:
    needs("django")
    program = write_project(tmp_path, sqlite(tmp_path))
    (tmp_path / "manage.py").write_text(MANAGE)
    launcher = (*launcher, "--children") if launcher else ()
    command = ("manage.py", "runserver", "127.0.0.1:0")
    with hosting(tmp_path, launcher, *command, program=program) as host:
        check_threads(host.ask_at_once(), launcher)
        assert host.ask("/version") == "first"
        (tmp_path / "program.py").write_text(program.replace('"first"', '"second"'))
        host.port = int(host.until(r"http://127\.0\.0\.1:(\d+)", times=2)[-1])
        assert host.ask("/version") == "second"
        check_threads(host.ask_at_once(), launcher)
        host.stop()


@pytest.mark.parametrize("mode", [False, True], ids=["threads", "greenify"])
def test_the_orm_on_sqlite(tmp_path: Path, mode: bool) -> None:
    needs("django")
    write_project(tmp_path, sqlite(tmp_path))
    done = run_python(ORM, tmp_path, greenify=mode, check=True, cwd=tmp_path)
    assert done.stdout == "100 20 1\n"


@pytest.mark.servers
@pytest.mark.parametrize("mode", [False, True], ids=["threads", "greenify"])
@pytest.mark.parametrize("kind", ["fresh", "kept", "pool"])
def test_the_orm_on_postgresql(
    tmp_path: Path, postgres: servers.Server, kind: str, mode: bool
) -> None:
    needs("django", "psycopg", "psycopg_pool")
    settings: dict[str, object] = {}
    if kind == "kept":
        settings["CONN_MAX_AGE"] = 60
    if kind == "pool":
        settings["OPTIONS"] = {"pool": {"min_size": 2, "max_size": 30, "timeout": 60}}
    write_project(tmp_path, postgresql(postgres, **settings))
    done = run_python(ORM, tmp_path, greenify=mode, check=True, cwd=tmp_path)
    assert done.stdout == "100 20 1\n"


WSGI_PROJECT = """
from django.core.wsgi import get_wsgi_application
app = get_wsgi_application()
"""


def with_workers(
    here: Path, database: dict[str, object], *worker: str
) -> AbstractContextManager[Host]:
    program = write_project(here, database) + WSGI_PROJECT
    command = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "-k", *worker, "program:app")
    return hosting(here, (), *command, program=program, env={"HOME": str(here)})


@pytest.mark.servers
@pytest.mark.parametrize(
    "worker", [("gthread", "--threads", "20"), (GREENIFY,)], ids=["threads", "greenify"]
)
def test_the_pool_bounds_the_connections(
    tmp_path: Path, postgres: servers.Server, worker: Sequence[str]
) -> None:
    needs("django", "psycopg", "psycopg_pool", "gunicorn")
    pool = {"min_size": 1, "max_size": 4, "timeout": 60}
    options = {"application_name": "program", "pool": pool}
    with with_workers(tmp_path, postgresql(postgres, OPTIONS=options), *worker) as host:
        for _ in range(2):
            answers = host.ask_at_once("/own")
            assert all(0 < int(answer.split()[0]) <= 4 for answer in answers), answers
        assert host.stop() == 0, host.log


@pytest.mark.servers
@pytest.mark.parametrize("kept", [True, False])
def test_a_connection_is_kept_for_its_clients_connection(
    tmp_path: Path, postgres: servers.Server, kept: bool
) -> None:
    """CONN_MAX_AGE holds for a thread, and each connection of a client has one."""
    needs("django", "psycopg", "gunicorn")
    database = postgresql(postgres, CONN_MAX_AGE=60 if kept else 0)
    with with_workers(tmp_path, database, GREENIFY) as host:
        client = http.client.HTTPConnection("127.0.0.1", host.port, timeout=TIMEOUT)
        backends = []
        for _ in range(2):
            client.request("GET", "/own")
            backends.append(client.getresponse().read().split()[1])
        assert len(set(backends)) == (1 if kept else 2)
        client.close()
        assert host.stop() == 0, host.log
