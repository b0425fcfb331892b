"""confluent-kafka against librdkafka's own mock broker, with real threads and as green ones."""

from __future__ import annotations

import signal

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode, run_python, running_python

needs("confluent_kafka")

READY = """
    from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

    QUIET = {"log_level": 0}
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", **QUIET})
    broker = next(iter(cluster.list_topics(timeout=LONG).brokers.values()))
    SERVERS = {"bootstrap.servers": f"{broker.host}:{broker.port}", **QUIET}

    def consumer(group="g", **config):
        config = {key.replace("_", "."): value for key, value in config.items()}
        return Consumer({**SERVERS, "group.id": group, "auto.offset.reset": "earliest", **config})

    def messages(source, number):
        found = []
        while len(found) < number:
            message = source.poll(LONG)
            assert message is not None and not message.error(), message
            found.append(message.value())
        return found
"""


@both_modes
class TestConfluentKafka:
    def test_produce_and_consume(self, mode: Mode) -> None:
        check(
            READY
            + """
    reports, here = [], []
    def report(error, message):
        assert error is None
        here.append(threading.get_ident())
        time.sleep(0)
        reports.append(message.value())
    producer = Producer({**SERVERS})
    for number in range(20):
        producer.produce("t", b"%d" % number, on_delivery=report)
        producer.poll(0)
    assert producer.flush(LONG) == 0 and len(reports) == 20 and len(producer) == 0
    assert set(here) == {threading.get_ident()}
    assigned = []
    source = consumer(enable_auto_commit=False)
    source.subscribe(["t"], on_assign=lambda source, parts: assigned.append(parts))
    assert sorted(map(int, messages(source, 20))) == list(range(20))
    assert assigned
    ends = [source.get_watermark_offsets(part, timeout=LONG)[1] for part in assigned[0]]
    assert sum(ends) == 20
    source.commit(asynchronous=False)
    assert sum(max(0, part.offset) for part in source.committed(assigned[0], LONG)) == 20
    assert "t" in source.list_topics(timeout=LONG).topics
    source.close()
    assert outcome(source.poll, 0.1).startswith("RuntimeError: ")
            """,
            mode,
        )

    def test_waiting(self, mode: Mode) -> None:
        check(
            READY
            + """
    cluster.list_topics("later", timeout=LONG)  # or to wait for it is an error
    source = consumer("other")
    source.subscribe(["later"])
    start = time.monotonic()
    assert ticks_during(source.poll, 0.3) is None
    assert 0.29 <= time.monotonic() - start < 5
    assert ticks_during(source.consume, 5, 0.3) == []
    assert source.consume(0, 1) == []
    # Many that wait at once.
    sources = [consumer(f"g{n}") for n in range(10)]
    threads = [Thread(each.poll, 0.5) for each in sources]
    start = time.monotonic()
    assert all(thread.end() is None for thread in threads)
    assert time.monotonic() - start < 3, "one after the other"
    # One waits without limit for what another thread sends.
    thread = Thread(messages, source, 3)
    cluster.produce("later", b"a")
    cluster.produce("later", b"b")
    cluster.produce("later", b"c")
    assert cluster.flush(LONG) == 0
    assert sorted(thread.end()) == [b"a", b"b", b"c"]
    cluster.produce("later", b"d"); cluster.produce("later", b"e"); cluster.flush()
    assert sorted(each.value() for each in source.consume(2, LONG)) == [b"d", b"e"]
    for each in (source, *sources):
        each.close()
            """,
            mode,
        )

    def test_callbacks_and_errors(self, mode: Mode) -> None:
        check(
            READY
            + """
    errors, statistics = queue.Queue(), queue.Queue()
    lost = Producer({"bootstrap.servers": "127.0.0.1:1", "error_cb": errors.put, "log_level": 0,
                     "stats_cb": statistics.put, "statistics.interval.ms": 50,
                     "message.timeout.ms": 200})
    failed = []
    lost.produce("t", b"x", callback=lambda error, message: failed.append(error.name()))
    while errors.empty() or statistics.empty() or not failed:
        lost.poll(0.2)
    assert failed == ["_MSG_TIMED_OUT"] and "{" in statistics.get()
    assert outcome(lost.list_topics, timeout=0.2).startswith("KafkaException: ")
    lost.produce("t", b"x")
    start = time.monotonic()
    assert ticks_during(lost.flush, 0.1) == 1
    assert lost.flush(LONG) == 0
    # An error of a callback is the poll's.
    def crash(error, message):
        raise KeyError("lost")
    cluster.produce("t", b"x", callback=crash)
    assert outcome(cluster.flush, LONG) == "KeyError: 'lost'"
    assert outcome(Consumer, {"group.id": "g", "none": 1}).startswith("KafkaException: ")
    assert outcome(cluster.poll, "x").startswith(("TypeError: ", "ValueError: "))
            """,
            mode,
        )

    def test_transactions_and_the_admin(self, mode: Mode) -> None:
        check(
            READY
            + """
    producer = Producer({**SERVERS, "transactional.id": "it"})
    producer.init_transactions(LONG)
    producer.begin_transaction()
    producer.produce("tx", b"kept")
    producer.commit_transaction(LONG)
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient(SERVERS)
    assert "tx" in admin.list_topics(timeout=LONG).topics
    (future,) = admin.create_topics([NewTopic("made", 1, 1)]).values()
    assert outcome(future.result, LONG) is not False
    source = consumer("reader", isolation_level="read_committed")
    source.subscribe(["tx"])
    assert messages(source, 1) == [b"kept"]
    source.close()
    lost = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    assert outcome(ticks_during, lost.list_topics, timeout=0.3).startswith("KafkaException: ")
            """,
            mode,
        )

    def test_subclasses_and_its_own(self, mode: Mode) -> None:
        check(
            READY
            + """
    from confluent_kafka import DeserializingConsumer, SerializingProducer
    class Mine(Consumer):
        def poll(self, timeout=None):
            return super().poll(timeout)
    mine = Mine({**SERVERS, "group.id": "mine", "auto.offset.reset": "earliest"})
    cluster.list_topics("own", timeout=LONG)
    mine.subscribe(["own"])
    producer = SerializingProducer({**SERVERS, "value.serializer": lambda value, _: value.encode()})
    producer.produce("own", value="text")
    assert producer.flush(LONG) == 0
    assert messages(mine, 1) == [b"text"]
    mine.close()
    theirs = DeserializingConsumer({**SERVERS, "group.id": "theirs", "auto.offset.reset": "earliest",
                                    "value.deserializer": lambda value, _: value.decode()})
    theirs.subscribe(["own"])
    assert messages(theirs, 1) == ["text"]
    theirs.close()
    assert Consumer.__name__ == "Consumer" and isinstance(cluster, Producer)
            """,
            mode,
        )

    def test_ctrl_c(self, mode: Mode) -> None:
        with running_python(
            """
            import signal
            from confluent_kafka import Consumer
            signal.signal(signal.SIGINT, signal.default_int_handler)
            consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
            consumer.subscribe(["x"])
            try:
                print("waiting", flush=True)
                while True:
                    consumer.poll(1)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            consumer.close()
            """,
            greenify=mode,
        ) as child:
            assert child.readline() == "waiting"
            child.process.send_signal(signal.SIGINT)
            assert child.readline() == "interrupted"
            assert child.wait() == 0


def test_what_a_killed_one_has_received_is_kept() -> None:
    run_python(
        """
        import greenify
        greenify.patch_all()
        from confluent_kafka import Consumer, Producer
        cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
        broker = next(iter(cluster.list_topics(timeout=20).brokers.values()))
        source = Consumer({"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": "g",
                           "auto.offset.reset": "earliest", "log_level": 0})
        cluster.list_topics("t", timeout=20)
        source.subscribe(["t"])
        for number in range(10):
            task = greenify.spawn(source.poll)
            greenify.sleep(0.01)
            cluster.produce("t", b"%d" % number)
            cluster.flush()
            task.kill()
        found = set()
        while len(found) < 10:
            message = source.poll(20)
            assert message is not None
            found.add(int(message.value()))
        source.close()
        """,
        greenify=False,
        check=True,
    )
