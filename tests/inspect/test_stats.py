"""`greenify.stats`, and what prometheus_client gets of it."""

from __future__ import annotations

import json

from tests.support import run_python


def test_numbers() -> None:
    result = run_python(
        """
        import json, os, threading, time
        import greenify
        door = greenify.original("threading").Event()
        @greenify.offload
        def call(): door.wait()
        for _ in range(5):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        caller = threading.Thread(target=call)
        caller.start()
        time.sleep(0)
        while greenify.stats().waiting_deadlines < 5:
            time.sleep(0)
        before = greenify.stats()
        time.sleep(0); time.sleep(0)
        after = greenify.stats()
        number = os.dup(0)
        more = greenify.stats().open_descriptors
        door.set()
        caller.join()
        end = greenify.stats()
        print(json.dumps({
            "threads": before.threads, "deadlines": before.waiting_deadlines, "lent": before.handed_over,
            "native": before.native_threads, "rounds": after.rounds > before.rounds, "hubs": before.hubs,
            "fds": more - after.open_descriptors, "end": [end.threads, end.handed_over],
            "delays": before.delays,
        }))
        os._exit(0 if not print(end="", flush=True) else 1)
        """,
        check=True,
    )
    assert json.loads(result.stdout) == {
        "threads": 7,
        "deadlines": 5,
        "lent": 1,
        "native": json.loads(result.stdout)["native"],
        "rounds": True,
        "hubs": 1,
        "fds": 1,
        "end": [6, 0],
        "delays": None,
    }
    assert json.loads(result.stdout)["native"] >= 1


def test_switches() -> None:
    result = run_python(
        """
        import json, os, threading, time
        import greenify
        from greenify import inspect

        over = []
        def turns(number):
            for _ in range(number):
                time.sleep(0)
        def other():
            while not over:
                time.sleep(0)
        def on_another_hub():
            task = greenify.Task(target=greenify.sleep, args=(0,))
            task.start()
            task.join()
        switches = lambda: greenify.stats().switches

        assert switches() is None  # off, nothing is counted
        threading.Thread(target=other).start()
        turns(10)
        inspect.listen()
        begun = switches()
        turns(100)
        here = switches() - begun
        # Those of an OS thread are still counted when it has ended; meanwhile this one stands still.
        before = switches()
        thread = greenify.original("threading").Thread(target=on_another_hub)
        thread.start()
        thread.join()
        print(json.dumps([here, switches() - before]))
        over.append(1)
        """,
        check=True,
    )
    here, there = json.loads(result.stdout)
    # Both threads have given way a hundred times, and now and then at the end of a slice.
    assert 200 <= here <= 220
    # In the join, in the sleep.
    assert 2 <= there <= 4


def test_delays_of_a_blocked_loop() -> None:
    result = run_python(
        """
        import time
        import greenify
        from greenify.inspect import measure_delays
        native_sleep = greenify.original("time").sleep
        measure_delays(); measure_delays()
        while not sum(greenify.stats().delays.counts):
            time.sleep(0.01)
        native_sleep(0.6)
        while greenify.stats().delays.worst < 0.4:
            time.sleep(0.01)
        delays = greenify.stats().delays
        print(delays.worst >= 0.4, sum(delays.counts[9:]) >= 1, delays.total >= delays.worst)
        """,
        check=True,
    )
    assert result.stdout.split() == ["True"] * 3


def test_prometheus() -> None:
    result = run_python(
        """
        import threading, time
        from prometheus_client import CollectorRegistry, generate_latest
        from greenify.inspect import measure_delays
        from greenify.integrations.prometheus import register
        registry = CollectorRegistry()
        register(registry)
        try:
            register(registry)
        except ValueError:
            print("once")
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        time.sleep(0)
        print(b"loop_delay" in generate_latest(registry))
        measure_delays()
        print(generate_latest(registry).decode())
        """,
        check=True,
    )
    first, second, *lines = result.stdout.splitlines()
    assert (first, second) == ("once", "False")
    assert "greenify_threads 2.0" in lines
    assert any(line.startswith("greenify_rounds_total ") for line in lines)
    assert 'greenify_loop_delay_seconds_bucket{le="+Inf"} 0.0' in lines
