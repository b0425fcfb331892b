"""``doctor`` finds the place in programs whose library waits in C, with its patch left out, and says so.

They are of the kind that threads pass and that stood still before the library had a patch.
"""

from __future__ import annotations

import importlib
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.libraries.servers import Server, required
from tests.watching.test_doctor import doctor

# What the programs share: `silent` is the port of a server that accepts and says nothing, `at_once` calls
# something in threads beside one that is ready again and again.
PRELUDE = """
import socket, subprocess, sys, threading, time

listener = socket.create_server(("127.0.0.1", 0))
silent = listener.getsockname()[1]


def at_once(function, count=3):
    over = []
    def others():
        while not over:
            time.sleep(0.001)
    other = threading.Thread(target=others, name="other")
    threads = [threading.Thread(target=function, name=f"user-{n}") for n in range(count)]
    for thread in (other, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.append(True)
    other.join()


"""

CASSANDRA = """
import logging, sys
# The driver imports it where it is installed, and it warns then.
sys.modules["eventlet"] = None
from cassandra.cluster import Cluster, NoHostAvailable
logging.disable(logging.CRITICAL)

# The driver's loop sits in C if nothing comes, and all others with it: a real thread has it turn.
import greenify
from cassandra.io import libevreactor
def turn():
    while True:
        native_sleep(0.4)
        if libevreactor._global_loop is not None:
            libevreactor._global_loop.notify()
native_sleep = greenify.original("time").sleep
greenify.original("threading").Thread(target=turn, daemon=True).start()
cluster = Cluster(
    ["127.0.0.1"], port=silent, connect_timeout=0.5, control_connection_timeout=0.5
)
try:
    cluster.connect()
except NoHostAvailable:
    pass
cluster.shutdown()
"""

KAFKA = """
from confluent_kafka import Consumer
def use():
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    consumer.poll(0.3)  # here
    consumer.close()
at_once(use)
"""

GRPC_CALL = """
import grpc
channel = grpc.insecure_channel(f"127.0.0.1:{silent}")
ask = channel.unary_unary("/S/ask")
def use():
    try:
        ask(b"x", timeout=0.3)
    except grpc.RpcError:
        pass
at_once(use)
channel.close()
"""

GRPC_SERVER = """
from concurrent import futures
import grpc
server = grpc.server(futures.ThreadPoolExecutor(1))
server.add_insecure_port("127.0.0.1:0")
server.start()
time.sleep(0.05)
server.stop(0).wait()
"""

LDAP = """
import ldap
def use():
    connection = ldap.initialize(f"ldap://127.0.0.1:{silent}")
    connection.timeout = 0.3
    connection.network_timeout = 5
    try:
        connection.simple_bind_s("a", "b")
    except (ldap.TIMEOUT, ldap.SERVER_DOWN):
        pass  # the signal of the time slices ends its wait, too
at_once(use)
"""

PYLIBMC = """
import pylibmc
def use():
    waits = {"receive_timeout": 300_000, "_poll_timeout": 300, "connect_timeout": 300}
    client = pylibmc.Client([f"127.0.0.1:{silent}"], behaviors=waits)
    try:
        client.get("key")  # here
    except pylibmc.Error:
        pass
at_once(use)
"""

# Against a database: its address is on the command line.
DATABASE = """
HOST, PORT, USER, PASSWORD, NAME = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
def use():
    cursor = connect().cursor()
    cursor.execute(SLEEP)  # here
    cursor.fetchall()
at_once(use)
"""

PSYCOPG = """
import psycopg
SLEEP = "select pg_sleep(0.3)"
def connect():
    return psycopg.connect(host=HOST, port=PORT, user=USER, dbname=NAME)
"""

PYODBC = """
import pyodbc
SLEEP = "select pg_sleep(0.3)"
def connect():
    return pyodbc.connect(
        f"Driver=PostgreSQL Unicode;Server={HOST};Port={PORT};Uid={USER};Database={NAME}"
    )
"""

MYSQLCLIENT = """
import MySQLdb
SLEEP = "select sleep(0.3)"
def connect():
    return MySQLdb.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, database=NAME)
"""

MYSQL_CONNECTOR = MYSQLCLIENT.replace("MySQLdb", "mysql.connector")


@dataclass(frozen=True)
class Case:
    """A program, and what the doctor has to find in it.

    Attributes:
        patch: what is left out.
        module: what has to be there to be imported.
        program: its text, the line in question marked "# here" if it is not in the library.
        known: how the library is called in the advice; if empty, as the patch.
        function: the function, where that is one of the library's.
        server: the fixture of a database to run against.
    """

    patch: str
    module: str
    program: str
    known: str = ""
    function: str = ""
    server: str = ""

    def __str__(self) -> str:
        return f"{self.patch}-{self.function}" if self.function else self.patch


CASES = (
    Case("cassandra", "cassandra.io.libevwrapper", CASSANDRA, function="LibevLoop._run_loop"),
    Case("confluent_kafka", "confluent_kafka", KAFKA),
    Case("grpcio", "grpc", GRPC_CALL, "grpc", "_UnaryUnaryMultiCallable._blocking"),
    Case("grpcio", "grpc", GRPC_SERVER, "grpc", "_serve"),
    Case("ldap", "ldap", LDAP, function="SimpleLDAPObject._ldap_call"),
    Case("pylibmc", "pylibmc", PYLIBMC),
)

DATABASES = (
    Case("psycopg", "psycopg", PSYCOPG, function="Connection.wait", server="postgres"),
    Case("psycopg2", "psycopg2", PSYCOPG.replace("psycopg", "psycopg2"), server="postgres"),
    Case("pyodbc", "pyodbc", PYODBC, server="postgres"),
    Case("mysqlclient", "MySQLdb", MYSQLCLIENT, "MySQLdb", "Connection.query", "mariadb"),
    # Without its C extension it is Python alone, and keeps nobody.
    Case(
        "mysql_connector",
        "_mysql_connector",
        MYSQL_CONNECTOR,
        "mysql.connector",
        "CMySQLConnection.cmd_query",
        "mariadb",
    ),
)


# Those that not every wheel has, or not for every OpenSSL: without them the library is Python alone.
_OPTIONAL = ("_mysql_connector", "cassandra.io.libevwrapper")


def _needs(module: str) -> None:
    if required() and module not in _OPTIONAL:
        importlib.import_module(module)
    else:
        reason = f"{module} cannot be imported: pip install -e '.[libraries]'"
        pytest.importorskip(module, reason=reason, exc_type=ImportError)


def _check(case: Case, folder: Path, *args: object) -> None:
    path = folder / "program.py"
    path.write_text(PRELUDE + case.program)
    done = doctor(
        "--json", "--output", folder / "found", "--skip", case.patch, path, *map(str, args)
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "found").read_text())["places"]
    found = [row for row in rows if _is_place(case, path, row)]
    assert found, "\n".join(textwrap.shorten(str(row), 300) for row in rows)
    assert sum(row["total"] for row in found) > 0.25
    said = f"{case.known or case.patch} is patched when greenify is loaded first and its patch"
    assert all(f"{said} {case.patch!r}" in row["remedy"] for row in found), found


def _is_place(case: Case, path: Path, row: dict[str, Any]) -> bool:
    if case.function:
        # The name of the function alone before CPython 3.11.
        return row["function"] in (case.function, case.function.rpartition(".")[2])
    here = next(n for n, line in enumerate(path.read_text().splitlines(), 1) if "# here" in line)
    return bool(row["place"] == f"{path}:{here}")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_a_server(case: Case, tmp_path: Path) -> None:
    _needs(case.module)
    _check(case, tmp_path)


@pytest.mark.servers
@pytest.mark.parametrize("case", DATABASES, ids=str)
def test_databases(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    _needs(case.module)
    server: Server = request.getfixturevalue(case.server)
    whole = Case(
        case.patch, case.module, case.program + DATABASE, case.known, case.function, case.server
    )
    _check(whole, tmp_path, server.host, server.port, server.user, server.password, server.database)
