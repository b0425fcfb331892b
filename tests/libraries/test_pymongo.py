"""pymongo needs no patch: it waits through `socket`, locks and conditions.

The server is a stand-in that speaks the protocol (`mongo_server`), for there is no package with a real one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode

needs("pymongo")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    command = [sys.executable, "-I", str(Path(__file__).with_name("mongo_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None and server.stdin is not None
        yield int(server.stdout.readline())
        server.stdin.close()
        assert server.wait(20) == 0


READY = """
    import pymongo
    from pymongo import errors
    def connect(**options):
        return pymongo.MongoClient("127.0.0.1", int(sys.argv[1]), directConnection=True, **options)
    def later(milliseconds):
        return {"$where": f"sleep({milliseconds}) || true"}
    client = connect()
    things = client.test[f"things of {os.getpid()}"]
"""


def _check(program: str, mode: Mode, port: int) -> None:
    check(f"{READY}{program}\n    client.close()", mode, port)


@both_modes
def test_concurrency(mode: Mode, port: int) -> None:
    _check(
        """
    things.insert_one({"_id": "all", "n": 0})
    # The counters of one server under one client, on as many connections as there are threads.
    def work(number):
        for turn in range(5):
            things.insert_one({"worker": number, "turn": turn})
            things.find_one_and_update({"_id": "all"}, {"$inc": {"n": 1}})
            assert [each["turn"] for each in things.find({"worker": number})] == list(range(turn + 1))
    for thread in [Thread(work, number) for number in range(10)]:
        thread.end()
    assert things.find_one({"_id": "all"})["n"] == 50
    assert ticks_during(things.find_one, {"_id": "all", **later(200)})["n"] == 50

    # Twenty that wait at once take as long as one.
    begun = time.monotonic()
    for thread in [Thread(things.find_one, {"_id": "all", **later(500)}) for _ in range(20)]:
        assert thread.end()["n"] == 50
    assert time.monotonic() - begun < 20 * 0.5 / 2
        """,
        mode,
        port,
    )


@both_modes
def test_large_results_and_cursors(mode: Mode, port: int) -> None:
    _check(
        """
    things.insert_many([{"_id": number, "text": "x" * 1000} for number in range(5000)])
    def read():
        return sum(each["_id"] for each in things.find(batch_size=500))
    threads = [Thread(read) for _ in range(5)]
    assert [thread.end() for thread in threads] == [sum(range(5000))] * 5
    # One cursor that several threads take from in turn; it is given back before its end.
    cursor, turn = things.find(batch_size=10), threading.Lock()
    def take():
        with turn:
            return next(cursor)["_id"]
    assert sorted(thread.end() for thread in [Thread(take) for _ in range(25)]) == list(range(25))
    assert client.admin.command("cursors")["open"] >= 1
    cursor.close()
    assert client.admin.command("cursors")["open"] == 0
        """,
        mode,
        port,
    )


@both_modes
def test_time_outs(mode: Mode, port: int) -> None:
    _check(
        """
    things.insert_one({"_id": 1})
    hasty = connect(socketTimeoutMS=200, retryReads=False)
    same = hasty.test[things.name]
    assert same.find_one({"_id": 1}) == {"_id": 1}
    def ask():
        try:
            return same.find_one(later(3000))
        except errors.NetworkTimeout as exc:
            return type(exc)
    begun = time.monotonic()
    assert ticks_during(ask) is errors.NetworkTimeout
    assert 0.15 < time.monotonic() - begun < 2.5
    assert [thread.end() for thread in [Thread(ask) for _ in range(5)]] == [errors.NetworkTimeout] * 5
    # The connection is given up: what the server says later is nobody's answer.
    assert same.find_one({"_id": 1}) == {"_id": 1}
    hasty.close()

    try:
        list(things.find(later(3000)).max_time_ms(100))
    except errors.ExecutionTimeout as exc:
        assert exc.code == 50
    else:
        raise AssertionError("no time-out of the server's")
    with pymongo.timeout(0.3):
        try:
            things.find_one(later(3000))
        except errors.PyMongoError as exc:
            assert exc.timeout
        else:
            raise AssertionError("no time-out of the block's")
        """,
        mode,
        port,
    )


@both_modes
def test_pools(mode: Mode, port: int) -> None:
    _check(
        """
    things.insert_one({"_id": 1})
    # More threads than connections: they wait for their turn.
    small = connect(maxPoolSize=2).test[things.name]
    threads = [Thread(small.find_one, {"_id": 1, **later(50)}) for _ in range(8)]
    assert [thread.end() for thread in threads] == [{"_id": 1}] * 8

    # Who waits for one in vain is told so, and the connection comes back when its holder is done.
    single = connect(maxPoolSize=1, waitQueueTimeoutMS=200).test[things.name]
    single.find_one()
    holder = Thread(single.find_one, {"_id": 1, **later(1500)})
    until = time.monotonic() + LONG
    refused = None
    while refused is None and time.monotonic() < until:
        try:
            single.find_one({"_id": 1})
        except errors.WaitQueueTimeoutError as exc:
            refused = exc
    assert refused is not None
    assert holder.end() == {"_id": 1}
    assert single.find_one({"_id": 1}) == {"_id": 1}
    small.database.client.close()
    single.database.client.close()
        """,
        mode,
        port,
    )


@both_modes
def test_errors(mode: Mode, port: int) -> None:
    _check(
        """
    def insert():
        try:
            return things.insert_one({"_id": "once"}).inserted_id
        except errors.DuplicateKeyError as exc:
            return exc.code
    assert sorted(map(str, [thread.end() for thread in [Thread(insert) for _ in range(5)]])) == \\
        ["11000"] * 4 + ["once"]
    try:
        client.test.command("nothing of the kind")
    except errors.OperationFailure as exc:
        assert exc.code == 59
    else:
        raise AssertionError("not refused")
    assert things.delete_many({"_id": "once"}).deleted_count == 1

    # A listener that is gone.
    with socket.create_server(("127.0.0.1", 0)) as gone:
        place = gone.getsockname()
    absent = pymongo.MongoClient(*place, serverSelectionTimeoutMS=300, directConnection=True)
    def ask():
        try:
            absent.test.command("ping")
        except errors.ServerSelectionTimeoutError as exc:
            return "refused" in str(exc)
    assert ticks_during(ask) is True
    assert [thread.end() for thread in [Thread(ask) for _ in range(5)]] == [True] * 5
    absent.close()
        """,
        mode,
        port,
    )


@both_modes
def test_interrupts_and_children(mode: Mode, port: int) -> None:
    _check(
        """
    import signal
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    things.insert_one({"_id": 1})
    def interrupt():
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
    thread = Thread(interrupt)
    begun = time.monotonic()
    try:
        things.find_one(later(5000))
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    assert time.monotonic() - begun < 4
    thread.end()
    assert things.find_one({"_id": 1}) == {"_id": 1}

    child = os.fork()
    if not child:
        result = 1
        try:
            mine = connect().test[things.name]
            threads = [Thread(mine.find_one, {"_id": 1}) for _ in range(3)]
            assert [thread.end() for thread in threads] == [{"_id": 1}] * 3
            result = 0
        finally:
            os._exit(result)
    assert os.waitpid(child, 0)[1] == 0
    assert things.find_one({"_id": 1}) == {"_id": 1}
        """,
        mode,
        port,
    )


def test_time_outs_and_kills_of_greenify(port: int) -> None:
    _check(
        """
    import greenify
    things.insert_one({"_id": 1})
    try:
        with greenify.Timeout(0.2):
            things.find_one(later(5000))
    except greenify.Timeout:
        pass
    else:
        raise AssertionError("no time-out")
    # The answer to the one that was left is not taken for the next one's.
    assert things.find_one({"_id": 1}) == {"_id": 1}
    task = greenify.spawn(things.find_one, later(5000))
    time.sleep(0.2)
    begun = time.monotonic()
    task.kill()
    task.join()
    assert time.monotonic() - begun < 4
    assert things.find_one({"_id": 1}) == {"_id": 1}
        """,
        "patch_all",
        port,
    )


@both_modes
def test_where_nobody_answers(mode: Mode) -> None:
    check(
        """
    import pymongo
    from pymongo.errors import ServerSelectionTimeoutError
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = pymongo.MongoClient(
            *silent.getsockname(), serverSelectionTimeoutMS=300, connectTimeoutMS=200, directConnection=True
        )
        def ask():
            try:
                client.test.command("ping")
            except ServerSelectionTimeoutError as exc:
                return type(exc)
        begun = time.monotonic()
        asking = [Thread(ask) for _ in range(20)]
        assert ticks_during(ask) is ServerSelectionTimeoutError
        assert [thread.end() for thread in asking] == [ServerSelectionTimeoutError] * 20
        assert time.monotonic() - begun < 20 * 0.3
        client.close()
        """,
        mode,
    )
