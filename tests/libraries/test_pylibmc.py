"""pylibmc against memcached."""

from __future__ import annotations

import pytest

from tests.libraries.programs import both_modes, check, needs
from tests.libraries.servers import Server
from tests.support import Mode, run_python

needs("pylibmc")


@both_modes
@pytest.mark.servers
class TestPylibmc:
    def test_operations(self, mode: Mode, memcached: Server) -> None:
        check(
            """
    import pylibmc
    client = pylibmc.Client([f"{sys.argv[1]}:{sys.argv[2]}"], behaviors={"tcp_nodelay": True, "cas": True})
    client.flush_all()
    assert client.set("key", {"a": [1, "text"]}) and client.get("key") == {"a": [1, "text"]}
    assert client["key"] == client.get("key") and "none" not in client and client.get("none", 5) == 5
    assert client.add("number", 1) and not client.add("number", 1) and client.incr("number", 4) == 5
    assert client.set_multi({"a": 1, "b": 2}) == [] and client.get_multi(["a", "b", "c"]) == {"a": 1, "b": 2}
    value, token = client.gets("a")
    assert client.cas("a", 7, token) and not client.cas("a", 8, token)
    assert client.delete("a") and not client.delete("a")
    assert "NotFound" in outcome(client.incr, "none") and client.get_stats()[0][1]["pid"]
    other = client.clone()
    assert other.get("b") == 2 and client.behaviors["tcp_nodelay"]
    client.disconnect_all()
            """,
            mode,
            memcached.host,
            memcached.port,
        )

    def test_threads_and_pools(self, mode: Mode, memcached: Server) -> None:
        check(
            """
    import pylibmc
    client = pylibmc.Client([f"{sys.argv[1]}:{sys.argv[2]}"])
    for pool, args in ((pylibmc.ClientPool(client, 4), [True]), (pylibmc.ThreadMappedPool(client), [])):
        def work(number):
            for _ in range(10):
                with pool.reserve(*args) as mine:
                    assert mine.set(f"key-{number}", number)
                    assert mine.get(f"key-{number}") == number
            if not args:
                pool.relinquish()
            return number
        threads = [Thread(work, number) for number in range(12)]
        assert [thread.end() for thread in threads] == list(range(12))
            """,
            mode,
            memcached.host,
            memcached.port,
        )


@both_modes
def test_all_wait_side_by_side(mode: Mode) -> None:
    """For a server that says nothing until all have asked."""
    check(
        """
    import pylibmc
    server = socket.create_server(("127.0.0.1", 0))
    where = f"127.0.0.1:{server.getsockname()[1]}"
    behaviors = {"receive_timeout": 20000000}
    threads = [Thread(lambda: pylibmc.Client([where], behaviors=behaviors).get("key")) for _ in range(10)]
    accepted = [server.accept()[0] for _ in threads]
    for sock in accepted:
        assert sock.recv(1000).startswith(b"get key")
    for sock in accepted:
        sock.sendall(b"END\\r\\n")
    assert [thread.end() for thread in threads] == [None] * 10
    for sock in (server, *accepted):
        sock.close()
        """,
        mode,
    )


def test_restored() -> None:
    run_python(
        """
        import pylibmc
        import greenify
        greenify.patch_all()
        assert greenify.is_patched("pylibmc") and "get" in vars(pylibmc.Client)
        greenify.restore()
        assert "get" not in vars(pylibmc.Client)
        """,
        greenify=False,
        check=True,
    )
