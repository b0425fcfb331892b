"""python-ldap against Debian's slapd."""

from __future__ import annotations

import pytest

from tests.libraries.programs import both_modes, check, needs
from tests.libraries.servers import Server
from tests.support import Mode, run_python

needs("ldap")

READY = """
    import ldap
    HOST, PORT, USER, PASSWORD, BASE = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]

    def connect(port=None):
        return ldap.initialize(f"ldap://{HOST}:{port or PORT}")
"""


def _check(code: str, mode: Mode, server: Server) -> None:
    check(
        READY + code, mode, server.host, server.port, server.user, server.password, server.database
    )


@both_modes
@pytest.mark.servers
class TestLdap:
    def test_operations(self, mode: Mode, slapd: Server) -> None:
        _check(
            """
    connection = connect()
    connection.simple_bind_s(USER, PASSWORD)
    assert connection.whoami_s() == f"dn:{USER}"
    found = connection.search_s(BASE, ldap.SCOPE_ONELEVEL, "(cn=user*)", ["cn"])
    assert len(found) == 20 and found[0][1]["cn"][0].startswith(b"user")
    name = f"cn=other,{BASE}"
    connection.add_s(name, [("objectClass", [b"person"]), ("cn", [b"other"]), ("sn", [b"Other"])])
    connection.modify_s(name, [(ldap.MOD_REPLACE, "sn", [b"Changed"])])
    assert connection.compare_s(name, "sn", b"Changed") is True
    connection.rename_s(name, "cn=another")
    assert connection.read_s(f"cn=another,{BASE}")["sn"] == [b"Changed"]
    connection.delete_s(f"cn=another,{BASE}")
    try:
        connection.read_s(f"cn=another,{BASE}")
    except ldap.NO_SUCH_OBJECT as exc:
        assert exc.args[0]["matched"] == BASE
    number = connection.search(BASE, ldap.SCOPE_SUBTREE)
    kinds = []
    while not kinds or kinds[-1] != ldap.RES_SEARCH_RESULT:
        kinds.append(connection.result(number, all=0)[0])
    assert len(kinds) == 22
    connection.unbind_s()
    assert "no attribute '_l'" in outcome(connection.whoami_s)
    assert "Invalid credentials" in outcome(connect().simple_bind_s, USER, "wrong")
            """,
            mode,
            slapd,
        )

    def test_many_threads(self, mode: Mode, slapd: Server) -> None:
        _check(
            """
    shared = connect()
    def work(number):
        mine = connect()
        mine.simple_bind_s(f"cn=user{number},{BASE}", f"secret{number}")
        for connection in (mine, shared):
            [(name, entry)] = connection.search_s(BASE, ldap.SCOPE_SUBTREE, f"(cn=user{number})")
            assert entry["sn"] == [b"Number %d" % number]
        mine.unbind_s()
        return number
    threads = [Thread(work, number) for number in range(20)]
    assert [thread.end() for thread in threads] == list(range(20))
    shared.unbind_s()
            """,
            mode,
            slapd,
        )


@both_modes
def test_all_wait_side_by_side(mode: Mode) -> None:
    """For a server that says nothing until all have asked."""
    check(
        """
    import ldap
    server = socket.create_server(("127.0.0.1", 0))
    def connect():
        return ldap.initialize(f"ldap://127.0.0.1:{server.getsockname()[1]}")
    threads = [Thread(lambda: outcome(connect().simple_bind_s, "cn=a", "b")[:11]) for _ in range(10)]
    accepted = [server.accept()[0] for _ in threads]
    for sock in accepted:
        assert sock.recv(1000)
    for sock in accepted:
        sock.close()
    assert [thread.end() for thread in threads] == ["SERVER_DOWN"] * 10
    silent = connect()
    silent.timeout = 0.1
    assert ticks_during(outcome, silent.simple_bind_s, "cn=a", "b")[:7] == "TIMEOUT"
    server.close()
        """,
        mode,
    )


def test_restored() -> None:
    run_python(
        """
        import ldap, _ldap
        native = id(_ldap.initialize)  # no reference, which would be replaced
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("ldap") and id(_ldap.initialize) != native
        assert ldap.initialize("ldap://127.0.0.1:1").get_option(ldap.OPT_URI) == "ldap://127.0.0.1:1"
        greenify.restore()
        assert id(_ldap.initialize) == native
        """,
        greenify=False,
        check=True,
    )
