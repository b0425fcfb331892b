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


class _PyMySQL(DriverTests):
    dialect = MYSQL
    driver = """
    import pymysql
    from pymysql import Error
    MARK = "%s"

    def connect(**more):
        return pymysql.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, **more)
    """


class _Pg8000(DriverTests):
    driver = """
    import pg8000.dbapi
    from pg8000.dbapi import Error
    MARK = "%s"

    def connect(**more):
        return pg8000.dbapi.connect(host=HOST, port=PORT, user=USER, database=DATABASE, **more)
    """


SIDE_BY_SIDE = """
    holder, observer = connect(), connect()
    rows(holder, LOCK)
    def wait():
        connection = connect()
        got = rows(connection, LOCK)
        rows(connection, UNLOCK)
        return len(got)
    threads = [Thread(wait) for _ in range(5)]
    until(lambda: sees(observer, WAITING, 5))
    rows(holder, UNLOCK)
    assert [thread.end() for thread in threads] == [1] * 5
    ticks_during(rows, holder, SLEEP.format(0.1))
"""


@both_modes
@pytest.mark.servers
def test_pymysql(mode: Mode, mariadb: Server) -> None:
    _PyMySQL().check(SIDE_BY_SIDE, mode, mariadb)


@both_modes
@pytest.mark.servers
def test_pg8000(mode: Mode, postgres: Server) -> None:
    _Pg8000().check(SIDE_BY_SIDE, mode, postgres)


@both_modes
@pytest.mark.servers
def test_redis(mode: Mode, redis: Server) -> None:
    check(
        """
    import redis
    client = redis.Redis(host=sys.argv[1], port=int(sys.argv[2]))
    threads = [Thread(client.blpop, "queue", LONG) for _ in range(5)]
    settle()
    for number in range(5):
        client.rpush("queue", number)
    assert sorted(int(thread.end()[1]) for thread in threads) == list(range(5))
    assert ticks_during(client.blpop, "queue", 1) is None
    client.connection_pool.disconnect()
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
