"""9. Children: whoever waits for them gets their own, and nobody loses any."""

from __future__ import annotations

import textwrap

from tests.behaviours.scenario import ALL, BOTH, check
from tests.support import Mode

SET_UP = """
import os, signal, subprocess, sys, time, warnings
warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
def child(status=0, gate=None):
    "Fork a child that ends with `status`, as soon as `gate` (a pipe) is closed."
    pid = os.fork()
    if not pid:
        try:
            if gate:
                os.close(gate[1])
                os.read(gate[0], 1)
        finally:
            os._exit(status)
    return pid
"""


def run(code: str, mode: Mode) -> str:
    return check(SET_UP + textwrap.dedent(code), mode)


class TestOwnership:
    @ALL
    def test_waitpid_and_popen_keep_apart(self, mode: Mode) -> None:
        """Each thread waits for its own child, of its own making, and gets its own status."""
        code = """
        def by_hand(status):
            pid = child(status)
            found, result = os.waitpid(pid, 0)
            return found == pid and os.waitstatus_to_exitcode(result)
        def by_popen(status):
            return subprocess.run([sys.executable, "-Sc", f"raise SystemExit({status})"]).returncode
        def by_system(status):
            return os.waitstatus_to_exitcode(os.system(f"exit {status}"))
        calls = [(s, Call(f, s)) for s in range(1, 16) for f in (by_hand, by_popen, by_system)]
        assert [call.result() for _, call in calls] == [status for status, _ in calls]
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("none is left")
        """
        assert run(code, mode) == "none is left\n"

    @BOTH
    def test_popen_that_somebody_else_waits_for(self, mode: Mode) -> None:
        """The kernel gives a status to one caller: the other is told there is none, and does not hang."""
        code = """
        gate = os.pipe()
        process = subprocess.Popen(["cat"], stdin=gate[0])
        waiting = Call(process.wait)
        assert process.poll() is None
        os.close(gate[0])
        os.close(gate[1])
        assert waiting.result() == 0 and process.returncode == 0
        # Reaped by hand, behind its back.
        process = subprocess.Popen(["true"])
        assert os.waitpid(process.pid, 0) == (process.pid, 0)
        assert process.wait() == 0 and process.poll() == 0
        # Two threads wait for one.
        gate = os.pipe()
        process = subprocess.Popen(["sh", "-c", "read line; exit 5"], stdin=gate[0])
        waiting = [Call(process.wait) for _ in range(5)]
        os.close(gate[0])
        os.close(gate[1])
        assert [call.result() for call in waiting] == [5] * 5
        """
        run(code, mode)

    @BOTH
    def test_any_child(self, mode: Mode) -> None:
        """``wait`` takes the children in the order in which they end, process groups as asked."""
        code = """
        gates = [os.pipe() for _ in range(3)]
        pids = []
        for number, gate in enumerate(gates):
            pids.append(child(number, gate))
            os.close(gate[0])
        for number in (2, 0, 1):
            waiting = Call(os.wait)
            # Every later child has a copy of the writing end, too: ended by a signal instead.
            os.kill(pids[number], signal.SIGKILL)
            assert waiting.result() == (pids[number], signal.SIGKILL)
            os.close(gates[number][1])
        for wait in (os.wait, lambda: os.waitpid(-1, 0), lambda: os.waitid(os.P_ALL, 0, os.WEXITED)):
            try:
                wait()
            except ChildProcessError:
                print("none")
        pid = child(7)
        assert os.wait3(0)[:2] == (pid, 7 << 8)
        pid = child(8)
        assert os.wait4(pid, 0)[:2] == (pid, 8 << 8)
        pid = child(9)
        seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert (seen.si_pid, seen.si_status) == (pid, 9)
        assert os.waitpid(pid, 0) == (pid, 9 << 8)
        """
        assert run(code, mode) == "none\n" * 3


class TestSigchld:
    @ALL
    def test_handler_of_the_users(self, mode: Mode) -> None:
        """It runs for every kind of child, and may reap; `subprocess` copes."""
        code = """
        seen = []
        signal.signal(signal.SIGCHLD, lambda number, frame: seen.append(number))
        # A child that ends while a lock is being taken or released here has the handler run a moment later: one that ends
        # before Popen, or before fork() is done, may.
        subprocess.run(["true"])
        while len(seen) < 1:
            time.sleep(0.001)
        os.waitpid(child(), 0)
        while len(seen) < 2:
            time.sleep(0.001)
        Call(subprocess.run, ["true"]).result()
        while len(seen) < 3:
            time.sleep(0.001)
        assert seen == [signal.SIGCHLD] * 3
        reaped = {}
        def reap(number, frame):
            try:
                while True:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                    if not pid:
                        break
                    reaped[pid] = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                pass
        signal.signal(signal.SIGCHLD, reap)
        pids = [child(status) for status in range(10)]
        while len(reaped) < 10:
            time.sleep(0.001)
        assert reaped == dict(zip(pids, range(10)))
        """
        run(code, mode)

    @BOTH
    def test_ignored(self, mode: Mode) -> None:
        """With SIGCHLD ignored the kernel throws statuses away: `subprocess` says 0."""
        code = """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        assert subprocess.run(["false"]).returncode == 0
        pid = child(3)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            print("thrown away")
        """
        assert run(code, mode) == "thrown away\n"


class TestMany:
    @ALL
    def test_two_hundred_short_children(self, mode: Mode) -> None:
        code = """
        def one(number):
            process = subprocess.Popen(["sh", "-c", f"echo {number}; exit {number % 100}"], stdout=subprocess.PIPE)
            out, _ = process.communicate()
            return int(out) == number and process.returncode == number % 100
        calls = [Call(one, number) for number in range(200)]
        assert all(call.result() for call in calls)
        """
        run(code, mode)

    @BOTH
    def test_pipelines_and_time_outs(self, mode: Mode) -> None:
        code = """
        def pipeline(number):
            with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first, \\
                    subprocess.Popen(["tr", "a-z", "A-Z"], stdin=first.stdout, stdout=subprocess.PIPE) as second:
                first.stdout.close()
                data = b"abc%d" % number * 20000
                feeder = Call(lambda: (first.stdin.write(data), first.stdin.close()))
                out = second.stdout.read()
                feeder.result()
                return out == data.upper()
        assert all(call.result() for call in [Call(pipeline, n) for n in range(5)])
        def late():
            try:
                subprocess.run(["sleep", "1000"], timeout=0.02)
            except subprocess.TimeoutExpired:
                return "late"
        assert [call.result() for call in [Call(late) for _ in range(5)]] == ["late"] * 5
        """
        run(code, mode)
