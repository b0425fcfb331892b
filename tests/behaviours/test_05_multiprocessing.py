"""5. multiprocessing: processes, pools, queues, managers and connections, in all three ways to start them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviours.scenario import check_file
from tests.green.programs import same_output
from tests.support import Mode

# In a file: children of `spawn` and `forkserver` import it.  The patch is a call there, so that they are
# patched too, and in the forking parent the launcher's.
PRELUDE = """
import sys
if sys.argv[-1] == "call":
    import greenify
    greenify.patch_all()
import multiprocessing, os, threading, time, warnings
warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
"""
METHODS = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
MODES = pytest.mark.parametrize("mode", ["threads", "greenify", "call"])

SIBLINGS = """
class Siblings:
    "Threads that have to make progress while the block runs."
    def __enter__(self):
        self.turns, self.stop = [0, 0], threading.Event()
        self.calls = [Call(self.run, n) for n in range(2)]
        return self
    def run(self, number):
        while not self.stop.wait(0.001):
            self.turns[number] += 1
    def move(self):
        "Whether all of them go on, whatever is happening now."
        before = self.turns[:]
        deadline = time.monotonic() + 30
        while not all(now > was for now, was in zip(self.turns, before)):
            time.sleep(0.001)
            assert time.monotonic() < deadline
    def __exit__(self, *exc_info):
        self.stop.set()
        for call in self.calls:
            call.result()
"""


def run(folder: Path, code: str, method: str, mode: str) -> str:
    import textwrap

    program = PRELUDE + SIBLINGS + textwrap.dedent(code)
    launched: Mode = mode == "greenify"
    return check_file(folder, program, launched, method, mode, timeout=120)


@METHODS
@MODES
class TestMultiprocessing:
    def test_process_and_connections(self, tmp_path: Path, method: str, mode: str) -> None:
        code = """
        def echo(connection, event, lock, value):
            for item in iter(connection.recv, None):
                with lock:
                    value.value += 1
                connection.send((item, os.getpid(), [c.result() for c in [Call(int, "3")]]))
            event.set()
            sys.exit(3)
        def stuck():
            time.sleep(1000)
        def main():
            context = multiprocessing.get_context(sys.argv[1])
            ours, theirs = context.Pipe()
            event, lock, value = context.Event(), context.Lock(), context.Value("i", 0)
            with Siblings() as siblings:
                process = context.Process(target=echo, args=(theirs, event, lock, value))
                process.start()
                about_to = threading.Event()
                def receive():
                    about_to.set()
                    return ours.recv()
                receiver = Call(receive)
                about_to.wait()
                siblings.move()
                ours.send({"a": 1})
                item, pid, three = receiver.result()
                assert item == {"a": 1} and pid == process.pid != os.getpid() and three == [3]
                big = bytes(1 << 20)
                ours.send(big)
                assert ours.recv()[0] == big
                assert not ours.poll() and not ours.poll(0.01) and not event.is_set()
                joiner = Call(process.join)
                siblings.move()
                ours.send(None)
                assert event.wait(30)
                joiner.result()
                assert process.exitcode == 3 and value.value == 2
                other = context.Process(target=stuck)
                other.start()
                assert other.join(0.01) is None and other.is_alive()
                other.terminate()
                other.join()
                assert other.exitcode == -15
                from multiprocessing.connection import wait
                assert wait([process.sentinel, other.sentinel], 30)
            ours.close(), theirs.close()
        if __name__ == "__main__":
            main()
        """
        run(tmp_path, code, method, mode)

    def test_queue_and_pool(self, tmp_path: Path, method: str, mode: str) -> None:
        code = """
        def work(jobs, results):
            for job in iter(jobs.get, None):
                results.put((job, job * job))
            jobs.task_done() if hasattr(jobs, "task_done") else None
        def square(number):
            return number * number
        def fail(_):
            raise LookupError("remote")
        def main():
            context = multiprocessing.get_context(sys.argv[1])
            with Siblings() as siblings:
                jobs, results = context.Queue(), context.Queue(2)
                process = context.Process(target=work, args=(jobs, results))
                process.start()
                # More than the results' queue has room for; one thread feeds, one collects.
                feeder = Call(lambda: [jobs.put(n) for n in [*range(50), None]])
                assert dict(results.get(timeout=60) for _ in range(50)) == {n: n * n for n in range(50)}
                feeder.result()
                process.join()
                import queue
                try:
                    results.get(timeout=0.01)
                except queue.Empty:
                    pass
                getter = Call(results.get)
                siblings.move()
                results.put("last")
                assert getter.result() == "last"
                for made in (jobs, results):
                    made.close()
                    made.join_thread()

                with context.Pool(2) as pool:
                    assert pool.map(square, range(20)) == [n * n for n in range(20)]
                    assert sorted(pool.imap_unordered(square, range(5))) == [0, 1, 4, 9, 16]
                    waiting = pool.apply_async(time.sleep, (0.02,))
                    siblings.move()
                    waiting.get(60)
                    try:
                        pool.map(fail, [1])
                    except LookupError as exc:
                        assert exc.args == ("remote",)
                    else:
                        raise AssertionError
                    pool.close()
                    pool.join()
        if __name__ == "__main__":
            main()
        """
        run(tmp_path, code, method, mode)

    def test_manager(self, tmp_path: Path, method: str, mode: str) -> None:
        code = """
        def fill(shared, lock, number):
            with lock:
                shared[number] = os.getpid()
        def main():
            context = multiprocessing.get_context(sys.argv[1])
            with Siblings() as siblings, context.Manager() as manager:
                shared, lock, items = manager.dict(), manager.Lock(), manager.Queue()
                processes = [context.Process(target=fill, args=(shared, lock, n)) for n in range(2)]
                for process in processes:
                    process.start()
                for process in processes:
                    process.join()
                    assert process.exitcode == 0
                assert dict(shared) == {n: p.pid for n, p in enumerate(processes)}
                # Threads have a connection each to the manager: one that waits holds up no other.
                getter = Call(items.get)
                siblings.move()
                assert len(shared) == 2
                items.put("item")
                assert getter.result() == "item"
                names = manager.list()
                for call in [Call(names.append, n) for n in range(5)]:
                    call.result()
                assert sorted(names) == list(range(5))
        if __name__ == "__main__":
            main()
        """
        run(tmp_path, code, method, mode)


def test_which_thread_of_the_process_has_a_lock() -> None:
    """The C code goes by the OS thread, which green threads share."""
    same_output("""
    import multiprocessing
    for make in (multiprocessing.Lock, multiprocessing.RLock, multiprocessing.Semaphore):
        lock = make()
        told = []

        def tell():
            condition = multiprocessing.Condition(lock)
            told.append((repr(lock), lock._semlock._is_mine(), outcome(condition.wait, 0.01)))

        def take():
            lock.acquire()
            tell()
            taken.set()
            go.wait(LONG)
            tell()
            lock.release()

        taken, go = threading.Event(), threading.Event()
        tell()
        thread = Thread(take)
        assert taken.wait(LONG)
        tell()
        go.set()
        thread.end()
        tell()
        lock.acquire()
        tell()
        Thread(tell).end()
        lock.release()
        for each in (make.__name__, *told):
            print(each)
    """)
