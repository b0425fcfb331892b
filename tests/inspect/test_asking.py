"""Asking a process from outside: the socket, who may ask, and what happens to it in a program's life."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from greenify.inspect import places
from greenify.inspect.asking import NoAnswerError, ask, processes
from greenify.inspect.report import records
from tests.support import child_env, run_python, running_python

ON = ("--inspect",)

DEADLOCK = """
import os, threading, time
locks = [threading.Lock() for _ in range(3)]
begun = threading.Barrier(3)
def hold(number):
    mine, other = locks[number], locks[(number + 1) % 3]
    with mine:
        begun.wait()
        with other: pass
def boss():
    for number in range(3):
        threading.Thread(target=hold, args=(number,), name=f"worker-{number}", daemon=True).start()
    time.sleep(1000)
threading.Thread(target=boss, name="boss", daemon=True).start()
from greenify.inspect import snapshot
while sum(r.wait is not None and r.wait.kind == "Lock" for r in snapshot().rows) < 3:
    time.sleep(0)
print(os.getpid(), flush=True)
time.sleep(1000)
os._exit(0)
"""


def command(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "greenify", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_env(),
    )


def rows_of(pid: int, **details: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in records(ask(pid, "snapshot", **details))}


def path_of(pid: int) -> str:
    return os.path.join(places.directory(), places.socket_name(pid))


def test_commands(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(DEADLOCK)
    with running_python(script, options=ON) as program:
        pid = int(program.readline())
        assert pid in set(processes())
        listed = command("ps")
        assert listed.returncode == 0
        assert f"{pid}  " in listed.stdout

        shown = command("ps", pid)
        assert (shown.returncode, shown.stderr) == (0, "")
        lines = shown.stdout.splitlines()
        assert lines[0].split()[:3] == ["NAME", "KIND", "STATE"]
        assert [line.split()[0] for line in lines[1:6]] == [
            "MainThread",
            "boss",
            "worker-0",
            "worker-1",
            "worker-2",
        ]
        assert "Lock of stuck.py:9, held by worker-1 (stuck.py:7)" in lines[3]
        assert lines[6] == "Deadlock:"
        assert len(lines) == 10

        found = json.loads(command("ps", "--json", pid).stdout)
        assert found["pid"] == pid
        assert len(found["rows"]) == 5
        assert len(found["deadlocks"][0]) == 3

        tree = command("tree", pid).stdout.splitlines()
        assert tree[0].startswith("MainThread (main):")
        assert tree[1].startswith("  boss (thread, started at stuck.py:14): sleep ")
        assert tree[2].startswith("    worker-0 (thread, started at stuck.py:12): Lock of ")

        stack = command("stacks", pid, "worker-1").stdout
        assert f'File "{script}", line 9, in hold' in stack
        assert "worker-0 (" not in stack
        missing = command("stacks", pid, "nobody")
        assert missing.returncode == 1
        assert "no thread or task is called 'nobody'" in missing.stderr


def test_many_are_told_in_groups() -> None:
    with running_python(
        """
        import threading
        event = threading.Event()
        for number in range(10_000):
            threading.Thread(target=event.wait, name=f"worker-{number}", daemon=True).start()
        from greenify.inspect import snapshot
        while snapshot().count("waiting") < 10_000:
            pass
        print(__import__("os").getpid(), flush=True)
        threading.Event().wait()
        """,
        options=ON,
        timeout=120,
    ) as program:
        pid = int(program.readline())
        lines = command("ps", pid).stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["COUNT", "10000", "1"]
        assert "Event" in lines[1]
        everyone = command("ps", "--all", pid).stdout.splitlines()
        assert len(everyone) == 10_002


class TestWhileTheLoopIsBlocked:
    @pytest.mark.parametrize(
        ("blocking", "at"),
        [
            # C code that gives up the interpreter lock, and Python code that keeps the loop.
            ("greenify.original('time').sleep(1000)", "blocker"),
            ("while True: pass", "blocker"),
        ],
    )
    def test_it_answers(self, blocking: str, at: str) -> None:
        with running_python(
            f"""
            import os, sys, threading, time
            import greenify
            def waiter(): time.sleep(1000)
            def blocker():
                print(os.getpid(), flush=True)
                {blocking}
            for function in (waiter, blocker):
                threading.Thread(target=function, name=function.__name__, daemon=True).start()
            time.sleep(1000)
            """,
            options=ON,
        ) as program:
            pid = int(program.readline())
            while (rows := rows_of(pid, stacks=True))["blocker"]["what"].find("(blocker)") < 0:
                pass
            assert rows["blocker"]["state"] in ("running", "ready")
            assert any(function == at for _, _, function in rows["blocker"]["stack"])
            assert rows["waiter"]["waits"] == "sleep"

    def test_of_c_code_that_keeps_the_interpreter_it_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("greenify.inspect.asking._PATIENCE", 0.3)
        with running_python(
            """
            import ctypes, os
            print(os.getpid(), flush=True)
            ctypes.PyDLL(None).pause()
            """,
            options=ON,
        ) as program:
            pid = int(program.readline())
            # It answers until it is in there.
            with pytest.raises(NoAnswerError, match="C code in it keeps the interpreter lock"):
                while True:
                    ask(pid, "snapshot")
            os.kill(pid, signal.SIGKILL)


def answered_as(uid: int, path: str) -> str:
    """What a process of another user gets there."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = "nothing"
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(path)
            peer.sendall(b'{"ask": "stats"}\n')
            if peer.recv(1000):
                said = "something"
        except OSError as exc:
            said = type(exc).__name__
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


PEERS = """
import os, time
print(os.getpid(), flush=True)
time.sleep(1000)
"""


class TestPeers:
    def test_rubbish_silence_and_deafness_harm_nothing(self) -> None:
        with running_python(PEERS, options=ON) as program:
            pid = int(program.readline())
            peers = []
            for text in (
                b"",
                b"rubbish\n",
                b"[]\n",
                b"[" * 50_000 + b"\n",
                b'{"ask": []}\n',
                b"\xff\n",
            ):
                peer = socket.socket(socket.AF_UNIX)
                peer.connect(path_of(pid))
                peer.sendall(text)
                peers.append(peer)
            # As many silent ones as it takes at a time would be let go after some seconds.
            assert rows_of(pid)["MainThread"]["kind"] == "main"
            for peer in peers[1:]:
                assert "error" in json.loads(peer.makefile().readline())
            for peer in peers:
                peer.close()
            endless = socket.socket(socket.AF_UNIX)
            endless.connect(path_of(pid))
            with pytest.raises(OSError):
                while True:
                    endless.sendall(bytes(10_000))
            endless.close()
            assert rows_of(pid)

    def test_the_directory_and_the_socket_are_the_users_own(self) -> None:
        with running_python(PEERS, options=ON) as program:
            path = path_of(int(program.readline()))
            assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    def test_unsafe_directories_are_refused(self, tmp_path: Path) -> None:
        uid = os.geteuid()
        assert places.refusal(str(tmp_path / "none"), uid) is not None
        open_to_all = tmp_path / "open"
        open_to_all.mkdir(mode=0o755)
        assert "open to others" in str(places.refusal(str(open_to_all), uid))
        mine = tmp_path / "mine"
        mine.mkdir(mode=0o700)
        assert places.refusal(str(mine), uid) is None
        assert "belongs to user" in str(places.refusal(str(mine), uid + 1))
        link = tmp_path / "link"
        link.symlink_to(mine)
        assert "no directory" in str(places.refusal(str(link), uid))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # xdist has threads
    def test_another_user_gets_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A place of its own, for it is opened to all in the middle.
        with tempfile.TemporaryDirectory(dir="/tmp") as place:
            os.chmod(place, 0o711)
            monkeypatch.setenv("XDG_RUNTIME_DIR", place)
            self.refused()

    @staticmethod
    def refused() -> None:
        with running_python(PEERS, options=ON) as program:
            pid = int(program.readline())
            path = path_of(pid)
            folder = os.path.dirname(path)
            assert answered_as(65534, path) == "PermissionError"
            try:
                # Even if the directory were open: the peer's own credentials count.
                os.chmod(folder, 0o711)
                os.chmod(path, 0o666)
                assert answered_as(65534, path) in (
                    "nothing",
                    "ConnectionResetError",
                    "BrokenPipeError",
                )
                assert answered_as(0, path) == "something"
            finally:
                os.chmod(folder, 0o700)
            assert rows_of(pid)

    @pytest.mark.parametrize("pid", [0, -1])
    def test_groups_of_processes_are_none(self, pid: int) -> None:
        with pytest.raises(NoAnswerError, match=f"there is no process {pid}"):
            ask(pid, "snapshot")

    def test_another_user_is_told_whom_to_ask_as(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mine = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
        name = pwd.getpwuid(mine).pw_name
        with pytest.raises(NoAnswerError, match=f"belongs to user {name}: ask as that user"):
            ask(os.getpid(), "snapshot")


class TestLife:
    def test_the_end_removes_it(self) -> None:
        with running_python(
            "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit())" + PEERS,
            options=ON,
        ) as program:
            pid = int(program.readline())
            assert os.path.exists(path_of(pid))
            program.send_signal(signal.SIGUSR1)
            program.wait()
        assert not os.path.exists(path_of(pid))
        with pytest.raises(NoAnswerError, match=f"there is no process {pid}"):
            ask(pid, "snapshot")

    def test_what_a_killed_process_leaves_is_removed_by_the_next(self) -> None:
        with running_python(PEERS, options=ON) as program:
            pid = int(program.readline())
            os.kill(pid, signal.SIGKILL)
            program.wait()
        assert os.path.exists(path_of(pid))
        assert pid not in set(processes())
        run_python("pass", options=ON, check=True)
        assert not os.path.exists(path_of(pid))

    def test_a_forked_child_has_its_own(self) -> None:
        with running_python(
            """
            import os, threading, time
            threading.Thread(target=time.sleep, args=(1000,), name="parent's", daemon=True).start()
            time.sleep(0)
            child = os.fork()
            if not child:
                print(os.getppid(), os.getpid(), flush=True)
                time.sleep(1000)
            time.sleep(1000)
            """,
            options=ON,
        ) as program:
            parent, child = map(int, program.readline().split())
            assert ask(parent, "snapshot")["pid"] == parent
            assert ask(child, "snapshot")["pid"] == child
            assert "parent's" in rows_of(parent)
            assert "parent's" not in rows_of(child)

    def test_programs_that_it_starts_inherit_nothing(self) -> None:
        result = run_python(
            """
            import subprocess, sys
            from greenify.inspect import listening
            show = "import os; print([n for n in range(3, 1024) if os.path.exists(f'/proc/self/fd/{n}')])"
            print(subprocess.run([sys.executable, "-S", "-c", show], close_fds=False,
                                 capture_output=True, text=True).stdout.strip())
            print(min(listening._server.fds) >= 900)
            """,
            options=ON,
            check=True,
        )
        inherited, high = result.stdout.splitlines()
        assert not [fd for fd in json.loads(inherited) if fd >= 800]
        assert high == "True"

    def test_a_program_that_closes_everything_can_still_be_asked(self) -> None:
        for first in ("", "time.sleep(0); "):  # before there is a hub, and after
            # Again and again, so that it is in the middle of it when the socket is opened again.
            closing = f"{first}[os.closerange(3, 1024) for _ in range(100)]"
            telling = "print(os.getpid(), flush=True); time.sleep(1000)"
            with running_python(f"import os, time; {closing}; {telling}", options=ON) as program:
                pid = int(program.readline())
                assert rows_of(pid)

    def test_a_program_that_closes_everything_while_nobody_asks_and_gets_a_hub_then(
        self, tmp_path: Path
    ) -> None:
        fifo = tmp_path / "go"
        os.mkfifo(fifo)
        with running_python(
            """
            import os, sys, time
            import greenify
            print(os.getpid(), flush=True)
            greenify.original("os").open(sys.argv[1], os.O_RDONLY)
            os.closerange(3, 1024)
            time.sleep(0.001)
            print(len(os.listdir("/proc/self/fd")), flush=True)
            time.sleep(1000)
            """,
            fifo,
            options=ON,
        ) as program:
            pid = int(program.readline())
            assert rows_of(pid)
            # The thread sleeps on what is closed now, and the hub's own descriptors come afterwards.
            os.close(os.open(fifo, os.O_WRONLY))
            assert int(program.readline()) > 5
            assert rows_of(pid)

    def test_listening_twice_and_closing(self) -> None:
        result = run_python(
            """
            import os
            from greenify import inspect
            path = inspect.listen()
            assert inspect.listen() == path and os.path.exists(path)
            inspect.close(); inspect.close()
            print(os.path.exists(path), inspect.listen() == path)
            """,
            check=True,
        )
        assert result.stdout.split() == ["False", "True"]

    def test_the_environment_turns_it_on(self) -> None:
        with running_python(PEERS, greenify="patch_all", env={"GREENIFY_INSPECT": "1"}) as program:
            assert rows_of(int(program.readline()))

    def test_without_it_there_is_none(self) -> None:
        with running_python(PEERS) as program:
            pid = int(program.readline())
            assert pid not in set(processes())
            if not hasattr(sys, "remote_exec"):
                with pytest.raises(NoAnswerError, match="GREENIFY_INSPECT=1"):
                    ask(pid, "snapshot")


def test_a_signal_has_it_printed(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(
        DEADLOCK.replace(
            "time.sleep(1000)\nos._exit", "os.kill(os.getpid(), 10); time.sleep(0)\nos._exit"
        )
    )
    result = run_python(script, options=("--dump-on", "USR1"))
    assert "Deadlock:\n" in result.stderr
    assert "worker-1 waits for Lock of stuck.py:9, held by worker-2" in result.stderr
    assert f'File "{script}", line 9, in hold' in result.stderr


@pytest.mark.skipif(not hasattr(sys, "remote_exec"), reason="sys.remote_exec is of CPython 3.14")
@pytest.mark.parametrize("greenify", [True, False])
def test_a_process_that_was_not_prepared(greenify: bool) -> None:
    # Its main thread sleeps on the hub, beside a green thread, or it runs now and then.
    ending = "time.sleep(1000)" if greenify else "while True: time.sleep(0.01)"
    with running_python(
        f"""
        import os, threading, time
        threading.Thread(target=time.sleep, args=(1000,), name="sleeper", daemon=True).start()
        time.sleep(0)
        print(os.getpid(), flush=True)
        {ending}
        """,
        greenify=greenify,
    ) as program:
        assert rows_of(int(program.readline()))["MainThread"]["kind"] == "main"
