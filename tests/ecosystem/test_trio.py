"""trio and anyio: trio's own tests of threads, and threads that go in and out of both."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import Mode, child_env, run_python

BOTH = pytest.mark.parametrize("mode", [False, True], ids=["threads", "green"])

# Of those that trio installs with itself; the others are about its own scheduler.
OWN_TESTS = (
    "trio._tests.test_threads",
    "trio._core._tests.test_thread_cache",
    "trio._tests.test_signals",
)


# They ask the operating system for the name of a thread; a green thread has none of its own there.
EXPECTED = {"test_named_thread_os"}
if sys.version_info >= (3, 12):
    # CPython warns of a fork when the process has several threads of the operating system: here it has one.
    EXPECTED.add("test_clear_thread_cache_after_fork")


@BOTH
def test_trios_own_tests(tmp_path: Path, mode: Mode) -> None:
    launcher = ["-m", "greenify"] if mode else []
    options = ["-q", "-p", "no:cacheprovider", "-p", "trio._tests.pytest_plugin", "-W", "ignore"]
    result = subprocess.run(
        [
            sys.executable,
            *launcher,
            "-m",
            "pytest",
            *options,
            "--timeout=60",
            "--pyargs",
            *OWN_TESTS,
        ],
        cwd=tmp_path,
        env=child_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
    )
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S*::(\w+)", result.stdout, re.MULTILINE))
    assert failed == (EXPECTED if mode else set()), result.stdout[-5000:] + result.stderr
    assert " passed" in result.stdout


@BOTH
def test_threads_from_trio_and_back(mode: Mode) -> None:
    run_python(
        """
        import threading, time, trio
        async def main():
            async with trio.open_nursery() as nursery:
                done = []
                async def one(number):
                    await trio.to_thread.run_sync(time.sleep, 0.01)
                    done.append(await trio.to_thread.run_sync(trio.from_thread.run, trio.sleep, 0))
                for number in range(20):
                    nursery.start_soon(one, number)
            assert done == [None] * 20
            return "ok"
        assert trio.run(main) == "ok"
        results = []
        threads = [threading.Thread(target=lambda: results.append(trio.run(main))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert results == ["ok"] * 3
        """,
        greenify=mode,
        check=True,
    )


@BOTH
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_anyio(mode: Mode, backend: str) -> None:
    run_python(
        f"""
        import anyio, time
        from anyio import from_thread, to_thread
        def blocking(number):
            time.sleep(0.01)
            return from_thread.run(double, number)
        async def double(number):
            await anyio.sleep(0)
            return 2 * number
        async def main():
            found = []
            async with anyio.create_task_group() as group:
                async def one(number):
                    found.append(await to_thread.run_sync(blocking, number))
                for number in range(10):
                    group.start_soon(one, number)
            assert sorted(found) == [2 * number for number in range(10)]
        anyio.run(main, backend={backend!r})
        with from_thread.start_blocking_portal({backend!r}) as portal:
            assert portal.call(double, 4) == 8
            assert portal.start_task_soon(double, 5).result(20) == 10
        """,
        greenify=mode,
        check=True,
    )
