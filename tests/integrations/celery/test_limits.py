"""Time limits of the pool by itself, called as a worker of celery calls it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.integrations.celery.alone import run

pytestmark = pytest.mark.skipif(
    find_spec("celery") is None, reason="needs celery: pip install 'greenify[celery]'"
)


class TestLimits:
    def test_soft_is_raised_where_the_task_waits(self) -> None:
        lines, _ = run(
            """
            import celery.app.trace
            from celery.exceptions import SoftTimeLimitExceeded
            def wait():
                try:
                    threading.Event().wait()
                except SoftTimeLimitExceeded:
                    return "tidied up"
            def trace_task(function):  # as celery's: its frame is looked for
                return function()
            trace_task = type(trace_task)(trace_task.__code__, vars(celery.app.trace))
            pool = started(1)
            begin(pool, trace_task, wait, soft_timeout=0.05)
            until("time", "soft", 0.05)
            until("returned", "tidied up")
            """
        )
        assert lines == []

    @pytest.mark.parametrize(
        "body", ["threading.Event().wait()", "compute()"], ids=["waits", "computes"]
    )
    def test_hard_ends_it(self, body: str) -> None:
        lines, _ = run(
            f"""
            def compute():
                while True: pass
            def task():
                try:
                    {body}
                except Exception:
                    print("caught")
                finally:
                    tell("tidied up")
            pool = started(1, timeout=0.05)
            begin(pool, task)
            until("tidied up")
            until("time", "hard", 0.05)
            pool.stop()
            print(len(told))
            """
        )
        assert lines == ["3"]

    def test_one_that_has_ended_in_time_is_left_alone(self) -> None:
        lines, _ = run(
            """
            pool = started(1)
            gate = threading.Event()
            def callback(result):
                tell("returned")
                gate.wait()  # for longer than the limit
                tell("acknowledged")
            pool.apply_async(str, (), callback=callback, timeout=0.02, soft_timeout=0.01)
            until("returned")
            begin(started(1), threading.Event().wait, timeout=0.05)
            until("time", "hard", 0.05)
            gate.set()
            until("acknowledged")
            """
        )
        assert lines == []

    def test_the_worker_waits_until_it_has_been_told(self) -> None:
        lines, _ = run(
            """
            import celery.app.trace
            over = threading.Event()
            def insist():
                while True:
                    try:
                        over.wait()
                        return tell("over")
                    except BaseException:
                        pass
            def trace_task(function):  # as celery's: its frame and variables are looked for
                task_request, state = Context(), None
                return function()
            trace_task = type(trace_task)(trace_task.__code__, vars(celery.app.trace))
            def store(soft, limit):
                tell("stores")
                until("over")
                time.sleep(0.1)
                tell("stored")
            pool = started(1)
            pool.apply_async(trace_task, (insist,), timeout=0.02, timeout_callback=store)
            until("stores")
            pool.close()
            over.set()
            pool.stop()
            print(told)
            """
        )
        assert lines == ["[('stores',), ('over',), ('stored',)]"]

    def test_one_in_c_is_named(self) -> None:
        lines, _ = run(
            """
            import ctypes, logging, os
            reader, writer = os.pipe()
            class Handler(logging.Handler):
                def emit(self, record):
                    print(record.getMessage(), flush=True)
                    os.write(writer, b".")  # lets the task end
            logging.getLogger().addHandler(Handler())
            def sit():
                ctypes.CDLL(None).read(reader, ctypes.create_string_buffer(1), 1)
            pool = started(1)
            begin(pool, sit, timeout=0.05)
            pool.stop()
            """
        )
        text = "\n".join(lines)
        assert (
            "job 1 is past its hard time limit of 0.05 s and cannot be ended, for it does" in text
        )
        assert "in sit" in text

    def test_one_that_keeps_the_interpreter_is_named(self) -> None:
        lines, _ = run(
            """
            import ctypes, os
            reader, writer = os.pipe()
            os.dup2(writer, 2)
            text = ctypes.create_string_buffer(100)
            def sit():
                ctypes.PyDLL(None).read(reader, text, 100)
            pool = started(1)
            begin(pool, sit, timeout=0.05)
            pool.stop()
            print(text.value.decode(), os.read(reader, 10000).decode())
            """
        )
        text = "\n".join(lines)
        assert text.startswith("Timeout (0:00:0")
        assert "in sit" in text
