"""pymongo needs no patch: it waits through `socket`, locks and conditions.

The server speaks MongoDB's protocol and answers at once, so what has to wait goes through `slow_proxy`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.libraries import servers
from tests.libraries.programs import both_modes, check, needs
from tests.libraries.servers import Server
from tests.support import Mode

needs("pymongo")


@pytest.fixture(scope="module")
def slow(mongo: Server) -> Iterator[int]:
    """The port of the proxy in front of the server."""
    proxy = str(Path(__file__).with_name("slow_proxy.py"))
    command = [sys.executable, "-I", proxy, mongo.host, str(mongo.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        assert process.wait(20) == 0


READY = """
    import pymongo
    from pymongo import errors, monitoring
    def connect(**options):
        return pymongo.MongoClient("127.0.0.1", int(sys.argv[1]), **options)
    def fails(error, function, *args, **kwargs):
        try:
            raise AssertionError(f"it has succeeded: {function(*args, **kwargs)!r}")
        except error as exc:
            return exc
    client = connect()
    things = client.test[f"things{os.getpid()}"]
    things.insert_one({"_id": 1})
    CLOSE = True
"""


def _check(program: str, mode: Mode, *args: object) -> None:
    check(f"{READY}{program}\n    if CLOSE: client.close()", mode, *args)


@both_modes
@pytest.mark.servers
class TestTogether:
    def test_commands(self, mode: Mode, slow: int) -> None:
        _check(
            """
    # On as many connections as there are threads, of one client.
    def work(number):
        for turn in range(5):
            things.insert_one({"worker": number, "turn": turn})
            things.update_one({"_id": 1}, {"$inc": {"n": 1}})
            after = things.find_one_and_update(
                {"worker": number, "turn": turn}, {"$set": {"seen": "yes"}}, return_document=True)
            assert after["seen"] == "yes"
            assert [each["turn"] for each in things.find({"worker": number})] == list(range(turn + 1))
    for thread in [Thread(work, number) for number in range(20)]:
        thread.end()
    assert things.find_one({"_id": 1})["n"] == 100
    totals = things.aggregate([
        {"$match": {"seen": "yes"}}, {"$group": {"_id": "$worker", "sum": {"$sum": "$turn"}}}])
    assert sorted((each["_id"], each["sum"]) for each in totals) == [(number, 10) for number in range(20)]
    assert things.count_documents({"worker": 3}) == 5
    assert things.delete_many({"worker": {"$lt": 5}}).deleted_count == 25
            """,
            mode,
            slow,
        )

    def test_waits(self, mode: Mode, slow: int) -> None:
        _check(
            """
    assert ticks_during(things.find_one, {"_id": 1}, comment="wait 200") == {"_id": 1}
    once = {"$inc": {"n": 1}}
    assert ticks_during(things.update_one, {"_id": 1}, once, comment="wait 200").modified_count == 1
    assert ticks_during(things.insert_one, {"_id": 2}, comment="wait 200").inserted_id == 2
    cursor = ticks_during(things.aggregate, [{"$match": {"_id": 2}}], comment="wait 200")
    assert list(cursor) == [{"_id": 2}]
    # Twenty that wait at once take as long as one.
    begun = time.monotonic()
    for thread in [Thread(things.find_one, {"_id": 1}, comment="wait 500") for _ in range(20)]:
        assert thread.end() == {"_id": 1, "n": 1}
    assert time.monotonic() - begun < 20 * 0.5 / 2
            """,
            mode,
            slow,
        )

    def test_large_results_and_cursors(self, mode: Mode, slow: int) -> None:
        _check(
            """
    things.delete_many({})
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
    more = {"getMore": cursor.cursor_id, "collection": things.name, "batchSize": 1}
    assert [each["_id"] for each in client.test.command(more)["cursor"]["nextBatch"]] == [30]
    cursor.close()
    assert client.test.command(more)["cursor"]["nextBatch"] == []
            """,
            mode,
            slow,
        )

    def test_changes_and_transactions(self, mode: Mode, slow: int) -> None:
        _check(
            """
    seen, opened = [], threading.Event()
    def watch():
        with things.watch() as stream:
            opened.set()
            for change in stream:
                seen.append((change["operationType"], change["documentKey"]["_id"]))
                if len(seen) == 3:
                    return
    watching = Thread(watch)
    assert opened.wait(LONG)
    for name in "abc":
        things.insert_one({"_id": name})
    watching.end()
    assert seen == [("insert", "a"), ("insert", "b"), ("insert", "c")], seen

    with client.start_session() as session:
        with session.start_transaction():
            ticks_during(things.insert_one, {"_id": "given up"}, session=session, comment="wait 100")
            session.abort_transaction()
        with session.start_transaction():
            things.insert_one({"_id": "kept"}, session=session)
    assert things.find_one({"_id": "given up"}) is None and things.find_one({"_id": "kept"})
            """,
            mode,
            slow,
        )


@both_modes
@pytest.mark.servers
class TestErrors:
    def test_time_outs(self, mode: Mode, slow: int) -> None:
        _check(
            """
    hasty = connect(socketTimeoutMS=200, retryReads=False)
    same = hasty.test[things.name]
    assert same.find_one({"_id": 1}) == {"_id": 1}
    begun = time.monotonic()
    def give_up():
        fails(errors.NetworkTimeout, same.find_one, comment="wait 3000")
    ticks_during(give_up)
    assert 0.15 < time.monotonic() - begun < 2.5
    for thread in [Thread(give_up) for _ in range(5)]:
        thread.end()
    # The connection is given up: what the server says later is nobody's answer.
    assert same.find_one({"_id": 1}) == {"_id": 1}
    hasty.close()
    with pymongo.timeout(0.3):
        assert fails(errors.PyMongoError, things.find_one, comment="wait 3000").timeout
    assert things.find_one({"_id": 1}) == {"_id": 1}
            """,
            mode,
            slow,
        )

    def test_refused_commands(self, mode: Mode, slow: int) -> None:
        _check(
            """
    def insert():
        try:
            return things.insert_one({"_id": "once"}, comment="wait 50").inserted_id
        except errors.DuplicateKeyError as exc:
            return exc.code
    assert sorted(map(str, [thread.end() for thread in [Thread(insert) for _ in range(5)]])) == \\
        ["11000"] * 4 + ["once"]
    bulk = fails(errors.BulkWriteError, things.insert_many, [{"_id": 7}, {"_id": 1}, {"_id": 8}])
    assert bulk.details["nInserted"] == 1 and bulk.details["writeErrors"][0]["index"] == 1, bulk.details
    assert "no such thing" in str(fails(errors.OperationFailure, client.test.command, "no such thing"))
            """,
            mode,
            slow,
        )

    def test_lost_connections(self, mode: Mode, slow: int) -> None:
        _check(
            """
    once = connect(retryReads=False, retryWrites=False).test[things.name]
    for thread in [Thread(fails, errors.AutoReconnect, once.find_one, comment="cut") for _ in range(5)]:
        thread.end()
    fails(errors.AutoReconnect, once.insert_one, {"_id": 2}, comment="cut")
    assert once.find_one({"_id": 2}) is None and once.find_one({"_id": 1})
    once.database.client.close()
            """,
            mode,
            slow,
        )

    def test_a_server_that_stands_still_and_ends(self, mode: Mode, tmp_path: Path) -> None:
        if servers.missing("mongo") and not servers.required():
            pytest.skip(str(servers.missing("mongo")))
        with servers.running("mongo", tmp_path) as server:
            _check(
                """
    import signal
    pid = int(sys.argv[2])
    other = connect(serverSelectionTimeoutMS=2000, retryReads=False)
    same = other.test[things.name]
    assert same.find_one() == {"_id": 1}
    client.close()
    os.kill(pid, signal.SIGSTOP)
    waiting = [Thread(fails, errors.AutoReconnect, same.find_one) for _ in range(5)]
    ticks_during(time.sleep, 0.2)
    assert all(thread.is_alive() for thread in waiting)
    # Killed while all wait: they are told, the next ones as well.
    os.kill(pid, signal.SIGKILL)
    fails(errors.AutoReconnect, other.test.command, "ping")
    gone = errors.ServerSelectionTimeoutError
    raised = [Thread(fails, gone, other.test.command, "ping") for _ in range(5)]
    assert "refused" in str(ticks_during(fails, gone, other.test.command, "ping"))
    for thread in waiting + raised:
        thread.end()
    other.close()
                """,
                mode,
                server.port,
                server.pid,
            )

    def test_where_nobody_answers(self, mode: Mode) -> None:
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


@both_modes
@pytest.mark.servers
def test_pools(mode: Mode, slow: int) -> None:
    _check(
        """
    class Counting(monitoring.ConnectionPoolListener):
        out = most = created = 0
        def connection_created(self, event): self.created += 1
        def connection_checked_out(self, event):
            self.out += 1
            self.most = max(self.most, self.out)
        def connection_checked_in(self, event): self.out -= 1
        # The other events.
        pool_created = pool_ready = pool_cleared = pool_closed = connection_ready = connection_closed = \\
            connection_check_out_started = connection_check_out_failed = lambda self, event: None

    # More threads than connections: they wait for their turn.
    counting = Counting()
    small = connect(maxPoolSize=2, event_listeners=[counting]).test[things.name]
    threads = [Thread(small.find_one, {"_id": 1}, comment="wait 50") for _ in range(8)]
    assert [thread.end() for thread in threads] == [{"_id": 1}] * 8
    assert (counting.most, counting.created) == (2, 2), vars(counting)

    # Who waits for one in vain is told so, and the connection comes back when its holder is done.
    single = connect(maxPoolSize=1, waitQueueTimeoutMS=200).test[things.name]
    single.find_one()
    holder = Thread(single.find_one, {"_id": 1}, comment="wait 1500")
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
        slow,
    )


@both_modes
@pytest.mark.servers
class TestTheProcess:
    def test_interrupts(self, mode: Mode, slow: int) -> None:
        _check(
            """
    import signal
    def interrupt():
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
    thread = Thread(interrupt)
    begun = time.monotonic()
    fails(KeyboardInterrupt, things.find_one, comment="wait 5000")
    assert time.monotonic() - begun < 4
    thread.end()
    assert things.find_one({"_id": 1}) == {"_id": 1}
            """,
            mode,
            slow,
        )

    def test_children(self, mode: Mode, slow: int) -> None:
        _check(
            """
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="MongoClient opened before fork")
    waiting = Thread(things.find_one, {"_id": 1}, comment="wait 500")
    settle()
    child = os.fork()
    if not child:
        result = 1
        try:
            # The parent's client, whose connections and monitor stay the parent's, and one of its own.
            for mine in (things, connect().test[things.name]):
                threads = [Thread(mine.find_one, {"_id": 1}, comment="wait 50") for _ in range(3)]
                assert [thread.end() for thread in threads] == [{"_id": 1}] * 3
            result = 0
        finally:
            os._exit(result)
    assert os.waitpid(child, 0)[1] == 0
    assert waiting.end() == {"_id": 1} == things.find_one({"_id": 1})
            """,
            mode,
            slow,
        )

    def test_the_end_with_clients_left_open(self, mode: Mode, slow: int) -> None:
        """Their monitors are running, one thread waits for an answer and one for a connection."""
        _check(
            """
    warnings.filterwarnings("ignore", message="Unclosed MongoClient")
    for number in range(3):
        other = connect(heartbeatFrequencyMS=500, maxPoolSize=1).test[things.name]
        assert other.find_one({"_id": 1})
        Thread(other.find_one, comment="wait 60000")
        Thread(other.find_one)
    settle()
    assert sum("monitor" in thread.name for thread in threading.enumerate()) >= 3, threading.enumerate()
    CLOSE = False
            """,
            mode,
            slow,
        )


@pytest.mark.servers
def test_time_outs_and_kills_of_greenify(slow: int) -> None:
    _check(
        """
    import greenify
    try:
        with greenify.Timeout(0.2):
            things.find_one(comment="wait 5000")
    except greenify.Timeout:
        pass
    else:
        raise AssertionError("no time-out")
    # The answer to the one that was left is not taken for the next one's.
    assert things.find_one({"_id": 1}) == {"_id": 1}
    task = greenify.spawn(things.find_one, comment="wait 5000")
    time.sleep(0.2)
    begun = time.monotonic()
    task.kill()
    task.join()
    assert time.monotonic() - begun < 4
    assert things.find_one({"_id": 1}) == {"_id": 1}
        """,
        "patch_all",
        slow,
    )
