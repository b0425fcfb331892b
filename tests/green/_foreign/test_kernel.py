"""Calls that wait in the kernel without a descriptor that tells of the end: file locks, disks, splice."""

from __future__ import annotations

import os

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode

# `take(how)` takes a lock on the file in whatever way, and returns what has to live as long as the lock.
LOCKS = """
    import fcntl, struct, subprocess

    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "locked")
    HOLDER = '''
import fcntl, sys
file = open(sys.argv[1], "a+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("taken", flush=True)
sys.stdin.readline()
'''
    WHOLE = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)

    def take(how):
        file = open(path, "a+b")
        file.seek(0)
        if how == "flock":
            fcntl.flock(file, fcntl.LOCK_EX)
        elif how == "lockf":
            fcntl.lockf(file, fcntl.LOCK_EX)
        elif how == "F_SETLKW":
            fcntl.fcntl(file, fcntl.F_SETLKW, WHOLE)
        elif how == "F_OFD_SETLKW":
            fcntl.fcntl(file, fcntl.F_OFD_SETLKW, WHOLE)
        elif how == "os.lockf":
            os.lockf(file.fileno(), os.F_LOCK, 0)
        return file

    ticks = []
    def tick():
        while True:
            ticks.append(time.monotonic())
            time.sleep(0.005)
"""

FILE_LOCKS = ["flock", "lockf", "F_SETLKW", "F_OFD_SETLKW", "os.lockf"]
# Those that threads of one process keep from each other.
AMONG_THREADS = ["flock", "F_OFD_SETLKW"]


class TestFileLocks:
    @pytest.mark.parametrize("how", AMONG_THREADS)
    @both_modes
    def test_between_threads(self, how: str, mode: Mode) -> None:
        run(
            LOCKS
            + f"""
    inside, most = [], []
    def work():
        for _ in range(3):
            with take({how!r}):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()
    for thread in [Thread(work) for _ in range(5)]:
        thread.end()
    assert max(most) == 1 and len(most) == 15, most
    """,
            mode,
        )

    @pytest.mark.parametrize("how", FILE_LOCKS)
    @both_modes
    def test_with_another_process(self, how: str, mode: Mode) -> None:
        if how == "flock":
            change = 'HOLDER = HOLDER.replace("lockf", "flock")'
        else:
            change = "pass"
        run(
            LOCKS
            + f"""
    {change}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"taken\\n"
    waiter = Thread(take, {how!r})
    Thread(tick)
    while len(ticks) < 5:  # only if the waiter lets the others run
        time.sleep(0.005)
    assert waiter.is_alive()
    holder.communicate(b"\\n")
    waiter.end().close()
    """,
            mode,
        )

    @pytest.mark.parametrize("how", AMONG_THREADS)
    def test_nothing_is_locked_after_a_kill(self, how: str) -> None:
        run(
            LOCKS
            + f"""
    import greenify
    holder = take({how!r})
    waiter = greenify.spawn(take, {how!r})
    time.sleep(0.02)
    waiter.kill()
    waiter.join()
    holder.close()
    take({how!r}).close()
    """,
            "patch_all",
        )

    @both_modes
    def test_ctrl_c(self, mode: Mode) -> None:
        run(
            LOCKS
            + """
    import signal
    holder = take("flock")
    def interrupt():
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    thread = Thread(interrupt)
    try:
        take("flock")
        raise AssertionError
    except KeyboardInterrupt:
        pass
    thread.end()
    holder.close()
    take("flock").close()
    """,
            mode,
        )

    @both_modes
    def test_without_waiting(self, mode: Mode) -> None:
        run(
            LOCKS
            + """
    holder = take("flock")
    with open(path) as other:
        print(outcome(fcntl.flock, other, fcntl.LOCK_SH | fcntl.LOCK_NB))
        print(outcome(fcntl.flock, other, "x"), outcome(fcntl.flock, -1, fcntl.LOCK_SH))
        print(outcome(fcntl.fcntl, other, fcntl.F_GETFD))
        fcntl.flock(other, fcntl.LOCK_UN)
    """,
            mode,
        )

    @both_modes
    def test_two_processes_wait_for_each_other(self, mode: Mode) -> None:
        """The kernel refuses who blocks in it; who tries again waits, as long as the program lets it."""
        run(
            LOCKS
            + """
    OTHER = '''
import fcntl, sys
file = open(sys.argv[1], "a+b")
fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)
print("taken", flush=True)
sys.stdin.readline()
fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)
print("both", flush=True)
'''
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"taken\\n"

    def waits():
        with open("/proc/locks") as table:  # "7: -> POSIX  ADVISORY  WRITE 1234 ..."
            return any("->" in line and f" {other.pid} " in line for line in table)

    with open(path, "a+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)
        other.stdin.write(b"go on\\n")
        other.stdin.flush()
        limit = time.monotonic() + LONG
        while not waits():
            assert time.monotonic() < limit, "the other one does not wait"
            time.sleep(0.001)
        if PATCHED:
            import greenify
            try:
                with greenify.Timeout(0.1):
                    fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)
                raise AssertionError("taken")
            except greenify.Timeout:
                pass
        else:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)
                raise AssertionError("taken")
            except OSError as exc:
                assert exc.errno == errno.EDEADLK, exc
    # Closed, and with it free.
    assert other.communicate(timeout=LONG)[0] == b"both\\n"
    """,
            mode,
        )


WAITS = {
    "splice from a pipe": """
        r, w = os.pipe()
        out, into = os.pipe()
        waiter = Thread(os.splice, r, into, 100)
        settle()
        os.write(w, b"abc")
        assert waiter.end() == 3 and os.read(out, 10) == b"abc"
        """,
    "splice from a socket": """
        a, b = socket.socketpair()
        out, into = os.pipe()
        waiter = Thread(os.splice, a.fileno(), into, 100)
        settle()
        b.send(b"abc")
        assert waiter.end() == 3 and os.read(out, 10) == b"abc"
        a.close()
        b.close()
        """,
    "splice into a full pipe": """
        r, w = os.pipe()
        out, into = os.pipe()
        os.set_blocking(into, False)
        try:
            while True:
                os.write(into, bytes(4096))
        except BlockingIOError:
            pass
        os.set_blocking(into, True)
        os.write(w, b"abc")
        waiter = Thread(os.splice, r, into, 100)
        settle()
        while waiter.is_alive():
            os.read(out, 4096)
            waiter.join(0.01)
        assert waiter.end() == 3
        """,
    "the end of a splice": """
        r, w = os.pipe()
        out, into = os.pipe()
        waiter = Thread(os.splice, r, into, 100)
        settle()
        os.close(w)
        assert waiter.end() == 0
        """,
    "eventfd_write": """
        fd = os.eventfd(0)
        os.eventfd_write(fd, 2**64 - 2)
        waiters = [Thread(os.eventfd_write, fd, 1), Thread(os.eventfd_write, fd, 5)]
        settle()
        assert os.eventfd_read(fd) == 2**64 - 2
        for waiter in waiters:
            assert waiter.end() is None
        assert os.eventfd_read(fd) == 6
        """,
    "eventfd_read": """
        class File:
            def fileno(self):
                return fd
        fd = os.eventfd(0)
        waiter = Thread(os.eventfd_read, File())
        settle()
        os.eventfd_write(File(), 7)
        assert waiter.end() == 7
        os.eventfd_write(fd, 2**64 - 2)
        waiter = Thread(os.eventfd_write, File(), 1)
        settle()
        assert os.eventfd_read(File()) == 2**64 - 2
        assert waiter.end() is None
        for wrong in (-1, 1 << 40, "x", None, 1.5):
            for error in (outcome(os.eventfd_read, wrong), outcome(os.eventfd_write, wrong, 1)):
                assert error.split(":")[0] in ("ValueError", "OverflowError", "TypeError"), error
        """,
    "sendfile": """
        class Number:
            def __init__(self, value):
                self.value = value
            def __index__(self):
                return self.value
        a, b = socket.socketpair()
        with open(__file__, "rb") as file:
            assert os.sendfile(Number(a.fileno()), Number(file.fileno()), Number(1), Number(10)) == 10
            assert b.recv(20) == os.pread(file.fileno(), 10, 1)
            for wrong in ("x", 1.5, []):
                assert "TypeError" in outcome(os.sendfile, a.fileno(), file.fileno(), wrong, 1)
                assert "TypeError" in outcome(os.sendfile, a.fileno(), file.fileno(), 0, wrong)
        # The reader leaves in the middle: what has been sent is told, and the next call fails.
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "file"), "w+b") as file:
            file.truncate(8 << 20)
            sender = Thread(os.sendfile, a.fileno(), file.fileno(), 0, 8 << 20)
            while len(b.recv(1 << 16, socket.MSG_PEEK)) < 1 << 10:
                time.sleep(0.001)
            b.close()
            assert 1 << 10 <= sender.end() < 8 << 20
            assert "BrokenPipeError" in outcome(os.sendfile, a.fileno(), file.fileno(), 0, 10)
            a.close()
        """,
    "fsync": """
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "file"), "wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            assert os.fsync(file.fileno()) is None and os.fdatasync(file) is None
            os.posix_fallocate(file.fileno(), 0, 2 << 20)
            assert os.fstat(file.fileno()).st_size == 2 << 20
        os.sync()
        print(outcome(os.fsync, -1), outcome(os.fsync, "x"))
        """,
    "copy_file_range": """
        name = os.path.join(os.path.dirname(os.path.abspath(__file__)), "file")
        with open(name, "w+b") as source, open(name + "2", "w+b") as target:
            source.write(b"x" * (3 << 20))
            source.flush()
            done = os.copy_file_range(source.fileno(), target.fileno(), 3 << 20, 0)
            done += os.copy_file_range(source.fileno(), target.fileno(), 10, offset_src=0, offset_dst=0)
            assert done == (3 << 20) + 10, done
        """,
    "getrandom": """
        assert len(os.getrandom(20)) == 20 and len(os.getrandom(5, os.GRND_NONBLOCK)) == 5
        print(outcome(os.getrandom, -1))
        """,
}


class TestWaits:
    @pytest.mark.parametrize("what", WAITS)
    @both_modes
    def test_like_threads(self, what: str, mode: Mode) -> None:
        function = what.split()[-1] if what.startswith("the end") else what.split()[0]
        if not hasattr(os, function):
            pytest.skip(f"there is no os.{function} in this version or on this system")
        run(WAITS[what], mode)
