"""Clients in Python need no patch of their own: they wait through `socket`."""

from __future__ import annotations

import pytest

from tests.libraries.databases import MYSQL, DriverTests
from tests.libraries.programs import both_modes, check, needs
from tests.libraries.servers import Server
from tests.support import Mode

needs("pymysql")
needs("pg8000")
needs("redis")
needs("pika")
needs("pymemcache")


class _InPython(DriverTests):
    def test_interrupted(self, mode: Mode, server: Server) -> None:
        """A Ctrl-C ends the wait at once; the connection, in the middle of an answer, is of no use then."""
        self.check(
            """
    import signal
    first, observer = connect(), connect()

    sent = []

    def interrupt():
        until(lambda: sees(observer, RUNNING))
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = Thread(interrupt)
    try:
        do(first, PAUSE.format(10))
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    assert time.monotonic() - sent[0] < 5
    thread.end()
    assert rows(connect(), "select 5") == [(5,)]
            """,
            mode,
            server,
        )


@both_modes
@pytest.mark.servers
class TestPyMySQL(_InPython):
    dialect = MYSQL
    driver = """
    import pymysql
    from pymysql import Error
    MARK = "%s"

    def connect(**more):
        return pymysql.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, **more)
    """


@both_modes
@pytest.mark.servers
class TestPg8000(_InPython):
    driver = """
    import pg8000.dbapi
    from pg8000.dbapi import Error
    MARK = "%s"

    def connect(**more):
        name = os.environ["PGAPPNAME"]
        return pg8000.dbapi.connect(
            host=HOST, port=PORT, user=USER, database=DATABASE, application_name=name, **more
        )
    """


REDIS = """
    import redis
    where = {"host": sys.argv[1], "port": int(sys.argv[2])}
    client = redis.Redis(**where)
    client.flushall()
"""


@both_modes
@pytest.mark.servers
class TestRedis:
    def test_side_by_side(self, mode: Mode, redis: Server) -> None:
        check(
            REDIS
            + """
    threads = [Thread(client.blpop, "queue", LONG) for _ in range(20)]
    settle()
    for number in range(20):
        client.rpush("queue", number)
    assert sorted(int(thread.end()[1]) for thread in threads) == list(range(20))
    assert ticks_during(client.blpop, "queue", 1) is None

    # Transactions that see each other's writes try again; a lock of the server's keeps the others out.
    def increase():
        client.transaction(
            lambda pipe: (value := int(pipe.get("n") or 0), pipe.multi(), pipe.set("n", value + 1)), "n")
    def locked():
        with client.lock("lock", timeout=LONG, blocking_timeout=LONG, sleep=0.001):
            client.set("m", int(client.get("m") or 0) + 1)
    for thread in [Thread(work) for work in (increase, locked) for _ in range(10)]:
        thread.end()
    assert (client.get("n"), client.get("m")) == (b"10", b"10")

    large = os.urandom(3_000_000)
    threads = [Thread(client.set, f"large {n}", large) for n in range(5)]
    assert all(thread.end() for thread in threads)
    assert [Thread(client.get, f"large {n}").end() == large for n in range(5)] == [True] * 5

    # A thread of the library's own calls back.
    heard, come = [], threading.Event()
    def hear(message):
        heard.append(message["data"])
        if len(heard) == 3:
            come.set()
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(channel=hear)
    thread = listener.run_in_thread(sleep_time=0.01)
    for word in (b"a", b"b", b"c"):
        client.publish("channel", word)
    assert come.wait(LONG) and heard == [b"a", b"b", b"c"]
    thread.stop()
    thread.join(LONG)
    assert not thread.is_alive()
    client.close()
            """,
            mode,
            redis.host,
            redis.port,
        )

    def test_limits_and_errors(self, mode: Mode, redis: Server) -> None:
        check(
            REDIS
            + """
    import signal
    def error(function, *args):
        try:
            raise AssertionError(f"it has succeeded: {function(*args)!r}")
        except redis.RedisError as exc:
            return type(exc).__name__
    hasty = redis.Redis(**where, socket_timeout=0.2, retry=None)
    begun = time.monotonic()
    assert ticks_during(error, hasty.blpop, "nothing", 5) == "TimeoutError"
    assert 0.15 < time.monotonic() - begun < 3
    # What the server says later is nobody's answer.
    hasty.set("a", 1)
    assert hasty.get("a") == b"1"
    assert error(client.lpush, "a", 1) == "ResponseError"

    # More threads than connections: they wait for their turn, and not for ever.
    pool = redis.BlockingConnectionPool(**where, max_connections=2, timeout=LONG)
    small = redis.Redis(connection_pool=pool)
    threads = [Thread(small.incr, "count") for _ in range(20)]
    assert sorted(thread.end() for thread in threads) == list(range(1, 21))
    one = redis.BlockingConnectionPool(**where, max_connections=1, timeout=0.2)
    single = redis.Redis(connection_pool=one)
    holder = Thread(single.blpop, "held", LONG)
    while not client.info("clients")["blocked_clients"]:
        time.sleep(0.001)
    assert ticks_during(error, single.get, "a") in ("ConnectionError", "MaxConnectionsError")
    client.rpush("held", 1)
    assert holder.end() == (b"held", b"1") and single.get("a") == b"1"

    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    absent = redis.Redis(host="127.0.0.1", port=port, retry=None)
    threads = [Thread(error, absent.ping) for _ in range(5)]
    assert [thread.end() for thread in threads] == ["ConnectionError"] * 5

    def interrupt():
        while not client.info("clients")["blocked_clients"]:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
    thread = Thread(interrupt)
    waiting = redis.Redis(**where)
    try:
        waiting.blpop("nothing", 5)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    thread.end()
    assert waiting.get("a") == b"1"

    warnings.filterwarnings("ignore", category=DeprecationWarning)
    child = os.fork()
    if not child:
        result = 1
        try:
            # The parent's connections stay the parent's.
            threads = [Thread(client.incr, "count") for _ in range(3)]
            assert sorted(thread.end() for thread in threads) == [21, 22, 23]
            result = 0
        finally:
            os._exit(result)
    assert os.waitpid(child, 0)[1] == 0 and client.get("count") == b"23"
    for each in (client, hasty, small, single, waiting):
        each.close()
    pool.disconnect()
    one.disconnect()
            """,
            mode,
            redis.host,
            redis.port,
        )


@both_modes
@pytest.mark.servers
def test_pymemcache(mode: Mode, memcached: Server) -> None:
    check(
        """
    import signal
    from pymemcache.client.base import Client, PooledClient
    from pymemcache.client.hash import HashClient
    where, pid = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
    direct = Client(where, timeout=LONG)
    pool = PooledClient(where, max_pool_size=5, timeout=LONG)
    hashed = HashClient([where], use_pooling=True, timeout=LONG)
    direct.flush_all()

    def work(client, number):
        for turn in range(20):
            assert client.set(f"key {number}".replace(" ", "-"), b"%d" % turn, noreply=False)
            assert client.get(f"key-{number}") == b"%d" % turn
            client.incr("all", 1)
    direct.set("all", b"0")
    for thread in [Thread(work, client, number) for number, client in enumerate([pool] * 5 + [hashed] * 5)]:
        thread.end()
    assert direct.get("all") == b"200"
    token = direct.gets("all")[1]
    assert direct.cas("all", b"1", token, noreply=False) and not direct.cas("all", b"2", token, noreply=False)

    # A server that stands still: the others run, and it answers all when it goes on.
    def stopped():
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] != "T":
                    return False
        return True

    os.kill(pid, signal.SIGSTOP)
    try:
        limit = time.monotonic() + LONG
        while not stopped():
            assert time.monotonic() < limit, "it goes on"
            time.sleep(0.001)
        waiting = [Thread(client.get, "all") for client in (direct, pool, pool, hashed)]
        impatient = Client(where, timeout=0.1)
        try:
            ticks_during(impatient.get, "all")
        except TimeoutError:
            pass
        else:
            raise AssertionError("it has answered")
        assert all(thread.is_alive() for thread in waiting)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [thread.end() for thread in waiting] == [b"1"] * 4
    for client in (direct, impatient, pool, hashed):
        client.close()
        """,
        mode,
        memcached.host,
        memcached.port,
        memcached.pid,
    )


PIKA = """
    import pika

    def connect():
        return pika.BlockingConnection(
            pika.ConnectionParameters(sys.argv[1], int(sys.argv[2]), heartbeat=1)
        )
"""


@both_modes
@pytest.mark.servers
class TestPika:
    def test_consumers_side_by_side(self, mode: Mode, rabbitmq: Server) -> None:
        check(
            PIKA
            + """
    def consume(ready):
        with connect() as connection:
            channel = connection.channel()
            name = channel.queue_declare("", exclusive=True).method.queue
            ready.put(name)
            for method, properties, body in channel.consume(name, inactivity_timeout=LONG):
                assert method is not None, "no message"
                channel.basic_ack(method.delivery_tag)
                channel.cancel()
                return int(body)

    ready = queue.Queue()
    consumers = [Thread(consume, ready) for _ in range(5)]
    with connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for number, name in enumerate(sorted(ready.get(timeout=LONG) for _ in consumers)):
            channel.basic_publish("", name, b"%d" % number, mandatory=True)
        assert sorted(thread.end() for thread in consumers) == list(range(5))
        # Nothing comes: the others run, and heartbeats are answered for longer than one may be missing.
        name = channel.queue_declare("", exclusive=True).method.queue
        ticks_during(next, channel.consume(name, inactivity_timeout=0.1))
        channel.cancel()
        ticks_during(connection.sleep, 3)
        assert connection.is_open
        try:
            channel.basic_publish("", "no such queue", b"", mandatory=True)
        except pika.exceptions.UnroutableError:
            pass
        else:
            raise AssertionError("it has been routed")
            """,
            mode,
            rabbitmq.host,
            rabbitmq.port,
        )

    def test_another_thread_answers(self, mode: Mode, rabbitmq: Server) -> None:
        """The documented way: a thread works, and the connection's own thread acknowledges."""
        check(
            PIKA
            + """
    import functools
    done, workers = [], []

    def work(channel, tag, body):
        time.sleep(0.01)
        channel.connection.add_callback_threadsafe(functools.partial(finish, channel, tag, body))

    def finish(channel, tag, body):
        channel.basic_ack(tag)
        done.append(int(body))
        if len(done) == 10:
            channel.stop_consuming()

    with connect() as connection:
        channel = connection.channel()
        name = channel.queue_declare("", exclusive=True).method.queue
        for number in range(10):
            channel.basic_publish("", name, b"%d" % number)
        channel.basic_qos(prefetch_count=5)
        def begin(channel, method, properties, body):
            workers.append(Thread(work, channel, method.delivery_tag, body))
        channel.basic_consume(name, begin)
        ticks_during(channel.start_consuming)
        assert sorted(done) == list(range(10))
        assert channel.queue_declare(name, passive=True).method.message_count == 0
    for worker in workers:
        worker.end()
            """,
            mode,
            rabbitmq.host,
            rabbitmq.port,
        )
