"""The numbers of greenify's own descriptors: out of the way of the numbers that programs choose."""

from __future__ import annotations

import textwrap

import pytest

from tests.core.run import run
from tests.green.programs import both_modes
from tests.green.programs import run as run_program
from tests.support import Mode, run_python

NUMBERS = """
    import os, resource, sys
    from engine_child import *

    def numbers():
        found = set(map(int, os.listdir("/proc/self/fd")))
        return {fd for fd in found if os.path.exists(f"/proc/self/fd/{fd}")}

    def limit(number):
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""


class TestNumbers:
    @pytest.mark.parametrize(
        ("limit", "lowest"), [(1024, 900), (4096, 900), (512, 460), (256, 230), (64, 48)]
    )
    def test_hub(self, limit: int, lowest: int) -> None:
        run(
            NUMBERS
            + """
    most, lowest = map(int, sys.argv[1:])
    limit(most)
    before = numbers()
    core.sleep(0.001)
    private = core.get_hub().private_fds
    assert numbers() - before == private, (numbers(), before, private)
    assert lowest <= min(private) and max(private) < most, private
    # Nothing was left of what lay below.
    assert os.dup(0) == max(before) + 1 or os.dup(0) < 20
    """,
            limit,
            lowest,
        )

    def test_every_hub(self) -> None:
        run(
            NUMBERS
            + """
    import _thread
    core.sleep(0.001)
    before = numbers()
    ended = _thread.allocate_lock()
    ended.acquire()

    def other():
        hub = core.get_hub()
        core.sleep(0.001)
        assert min(hub.private_fds) >= 900
        assert numbers() - before == hub.private_fds
        ended.release()

    _thread.start_new_thread(other, ())
    ended.acquire()
    """
        )

    def test_low_ones_where_there_are_no_others(self) -> None:
        # Everything from 40 on is taken.
        run(
            NUMBERS
            + """
    limit(64)
    taken = [os.dup(0) for _ in range(61 - len(numbers()))]
    for fd in taken:
        if fd < 40:
            os.close(fd)
    core.sleep(0.001)
    private = core.get_hub().private_fds
    assert len(private) == 9, private
    still_works()
    """
        )

    def test_fork_while_the_low_numbers_are_taken(self) -> None:
        run(
            NUMBERS
            + """
    from greenify.core.placement import high_numbers
    before = numbers()
    with high_numbers():
        assert len(numbers()) > 800
        pid = os.fork()
        if not pid:
            os._exit(0 if numbers() == before else 1)
        assert os.waitpid(pid, 0)[1] == 0
    assert numbers() == before
    """
        )


class TestPrograms:
    @both_modes
    def test_low_numbers_are_the_programs(self, mode: Mode) -> None:
        run_program(
            """
            time.sleep(0.001)
            reader, writer = os.pipe()
            thread = Thread(select.select, [reader], [], [], LONG)
            poll = select.poll()
            poll.register(reader)
            assert poll.poll(0) == []
            settle()
            os.dup2(writer, 50)
            os.dup2(reader, 51)
            os.closerange(3, 50)
            for fd in range(3, 50):
                os.dup2(50, fd)
            first, second = os.pipe()
            assert (first, second) == (52, 53)
            again = Thread(os.read, 51, 1)
            settle()
            os.write(3, b"x")
            assert again.end() == b"x"
            os.closerange(3, 64)
            reader, writer = os.pipe()
            assert (reader, writer) == (3, 4)
            again = Thread(os.read, reader, 1)
            settle()
            os.write(writer, b"x")
            assert again.end() == b"x"
            """,
            mode,
        )

    def test_its_own_are_spared(self) -> None:
        run_program(
            """
            from greenify import core

            time.sleep(0.001)
            # select.select of two makes the hub's second queue.
            reader, writer = os.pipe()
            other = os.pipe()[0]
            assert select.select([reader, other], [], [], 0.001) == ([], [], [])
            private = set(core.get_hub().private_fds)
            assert len(private) == 10
            for fd in private:
                try:
                    os.close(fd)
                except OSError as exc:
                    assert exc.errno == errno.EBADF
                else:
                    raise AssertionError(fd)
                try:
                    os.dup2(0, fd)
                except OSError as exc:
                    assert exc.errno == errno.EBUSY and "below 900" in str(exc), exc
                else:
                    raise AssertionError(fd)
            os.closerange(5, 1 << 16)
            assert select.select([reader, reader], [], [], 0.001) == ([], [], [])
            waiting = Thread(os.read, reader, 1)
            settle()
            os.write(writer, b"x")
            assert waiting.end() == b"x"
            """,
            "patch_all",
        )

    @pytest.mark.parametrize(
        "closed", ["<&-", ">&-", "<&- >&-", "2>&-", "<&- >&- 2>&-", ">&- 2>&-"]
    )
    @pytest.mark.parametrize("greenify", [False, True], ids=["plain", "patched"])
    def test_started_without_standard_streams(self, greenify: bool, closed: str) -> None:
        code = """
            import os, socket, subprocess, sys, threading, time
            log = open(sys.argv[1], "w")
            time.sleep(0.001)
            thread = threading.Thread(target=time.sleep, args=(0.01,))
            thread.start()
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                if fd not in (null, log.fileno()):
                    os.dup2(null, fd)
            time.sleep(0.001)
            thread.join()
            left, right = socket.socketpair()
            asked = threading.Event()
            sender = threading.Thread(target=lambda: (asked.wait(), right.send(b"x")))
            sender.start()
            asked.set()
            assert left.recv(1) == b"x"
            sender.join()
            assert subprocess.run(["echo", "hi"], stdout=subprocess.PIPE).stdout == b"hi\\n"
            left.close()
            right.close()
            log.write("fine")
            log.close()
        """
        starter = f"""
            import subprocess, sys, tempfile
            with tempfile.NamedTemporaryFile("r") as log:
                command = [sys.executable, *sys.argv[2:], "-c", sys.argv[1], log.name]
                subprocess.run(["sh", "-c", 'exec "$@" {closed}', "sh", *command], timeout=50)
                print(log.read())
        """
        options = ["-m", "greenify"] if greenify else []
        result = run_python(starter, textwrap.dedent(code), *options, greenify=False, check=True)
        assert result.stdout == "fine\n", result
