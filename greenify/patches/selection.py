"""Which patches there are, and which of them ``only`` and ``skip`` choose."""

from __future__ import annotations

from collections.abc import Iterable

from greenify.errors import PatchError, UnknownPatchError

__all__ = ["ALIASES", "LIBRARIES", "NATIVE", "NEEDS", "OFFLOAD", "ORDER", "check", "choose"]

ORDER: tuple[str, ...] = (
    "time",
    "queue",
    "thread",
    "select",
    "selectors",
    "os",
    "io",
    "signal",
    "subprocess",
    "socket",
    "ssl",
    "asyncio",
    "multiprocessing",
    "interpreters",
    "gevent",
    "fcntl",
    "sqlite3",
    "zlib",
    "bz2",
    "lzma",
    "zstd",
    "hashlib",
    "pwd",
    "grp",
    "syslog",
    "termios",
    "tkinter",
    "readline",
    "curses",
)
"""The names of the patches, in the order in which they are applied; `patch_all` says what they are for.

Each is a file in this folder.
"""

LIBRARIES: dict[str, tuple[str, ...]] = {
    "argon2": ("argon2.low_level",),
    "bcrypt": ("bcrypt._bcrypt",),
    "mysql_connector": ("_mysql_connector", "mysql.connector.connection_cext"),
    "mysqlclient": ("MySQLdb._mysql",),
    "psycopg": ("psycopg.waiting", "psycopg.connection", "psycopg._connection_base"),
    "psycopg2": ("psycopg2._psycopg",),
    "pyodbc": ("pyodbc",),
    "grpcio": (
        "grpc._channel",
        "grpc._server",
        "grpc._cython.cygrpc",
        "grpc.aio._channel",
        "grpc.aio._server",
    ),
    "confluent_kafka": ("confluent_kafka.cimpl", "confluent_kafka.admin"),
    "pyopenssl": ("OpenSSL.SSL",),
    "cassandra": ("cassandra.io.libevreactor",),
    "duckdb": ("_duckdb",),
    "ldap": ("_ldap",),
    "pylibmc": ("pylibmc.client",),
    "uvloop": ("uvloop",),
    "pyzmq": ("zmq.backend.cython._zmq", "zmq.sugar.socket", "zmq.sugar.context"),
}
"""The patches of other people's libraries, each with the modules whose import it waits for.

The names are taken like those of `ORDER` in ``only`` and ``skip``.  Each is a file in `greenify.libraries`,
which is loaded when one of these modules is.
"""

NEEDS: dict[str, tuple[str, ...]] = {
    # A green thread that waits in the native SimpleQueue stops the one that would put something in.
    "thread": ("queue",),
    "ssl": ("socket",),
    # It waits by poll(), or by a selector while it connects.
    "psycopg": ("select", "selectors"),
}
"""What a patch cannot do without: its cooperative methods rely on what those patches have changed.

The patch of a library that lacks something is left out, unless it is named in ``only``.
"""

ALIASES: dict[str, str] = {
    "_thread": "thread",
    "threading": "thread",
    "dns": "socket",
    "epoll": "select",
    "popen": "subprocess",
}
"""Names that one may try, for the message."""


OFFLOAD = "offload "
NATIVE = "native "
"""How the names of the patches begin that the user has named calls and packages for (`named`)."""


def choose(
    only: Iterable[str] | str | None = None, skip: Iterable[str] | str | None = None
) -> tuple[str, ...]:
    """The names of the chosen patches, in `ORDER`; then those of `LIBRARIES`.

    Args:
        only: the names of the patches to apply, by default all.  A string is a list of names with commas.
        skip: names to leave out.

    Raises:
        UnknownPatchError: a name is neither in `ORDER` nor in `LIBRARIES`.
        PatchError: a chosen patch needs another one that is left out.
    """
    everything = (*ORDER, *LIBRARIES)
    named = None if only is None else set(check(only, "only"))
    left_out = set(() if skip is None else check(skip, "skip"))
    chosen = (set(everything) if named is None else named) - left_out
    for name in everything:
        if name in chosen:
            missing = [need for need in NEEDS.get(name, ()) if need not in chosen]
            if missing and name in LIBRARIES and named is None:
                chosen.remove(name)
            elif missing:
                raise PatchError(_lacks(name, missing, left_out))
    return tuple(name for name in everything if name in chosen)


def check(names: Iterable[str] | str, option: str) -> tuple[str, ...]:
    """`names` as a tuple, each of them known; see `select`."""
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    names = tuple(names)
    unknown = [name for name in names if name not in ORDER and name not in LIBRARIES]
    if unknown:
        raise UnknownPatchError(
            f"{option}: {', '.join(f'there is no patch {n!r}{_hint(n)}' for n in unknown)}; "
            f"the patches are {', '.join(ORDER)}; of libraries: {', '.join(LIBRARIES)}"
        )
    return names


def _hint(name: object) -> str:
    if not isinstance(name, str):
        return ""
    import difflib  # for a mistake only

    close = ALIASES.get(name.lower()) or next(
        iter(difflib.get_close_matches(name.lower(), [*ORDER, *LIBRARIES], 1)), None
    )
    return f" (did you mean {close!r}?)" if close else ""


def _lacks(name: str, missing: list[str], left_out: set[str]) -> str:
    names = " and ".join(map(repr, missing))
    if left_out.intersection(missing):
        return f"the patch {name!r} needs {names}: do not skip that, or skip {name!r} as well"
    return f"the patch {name!r} needs {names}: name that in only as well"
