"""py-spy, which looks into a process from outside: it shows whoever runs, and none of those who wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.hosts.hosting import needs
from tests.support import child_env, running_python


def program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def may_look() -> bool:
    """Whether the kernel lets a process look into one that it has not started."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


DUMPED = """
import threading, time, greenify
block_all = greenify.original("time", "sleep")

def waits():
    threading.Event().wait()

def blocks():
    print("blocking", flush=True)
    block_all(1000)

threading.Thread(target=waits, daemon=True).start()
time.sleep(0.01)
threading.Thread(target=blocks, daemon=True).start()
time.sleep(1000)
"""


@pytest.mark.skipif(not may_look(), reason="kernel.yama.ptrace_scope forbids it: needs root")
def test_dump_names_the_call_that_keeps_all_others() -> None:
    needs("py-spy")
    with running_python(DUMPED) as child:
        assert child.readline() == "blocking"
        done = subprocess.run(
            [program("py-spy"), "dump", "--nonblocking", "--pid", str(child.pid)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "blocks (" in done.stdout
    assert "waits (" not in done.stdout


RECORDED = """
import threading, time

def one():
    compute(time.process_time() + 0.5)

def other():
    compute(time.process_time() + 0.5)

def compute(end):
    while time.process_time() < end:
        sum(range(1000))

threads = [threading.Thread(target=target) for target in (one, other)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("launcher", [(), ("-m", "greenify")], ids=["threads", "greenify"])
def test_record_counts_for_the_thread_that_runs(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    needs("py-spy")
    (tmp_path / "program.py").write_text(RECORDED)
    command = [str(program("py-spy")), "record", "--nonblocking", "-f", "raw", "-o", "out", "--"]
    done = subprocess.run(
        [*command, sys.executable, *launcher, "program.py"],
        cwd=tmp_path,
        env=child_env(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    samples = {"one": 0, "other": 0}
    for line in (tmp_path / "out").read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        for name in samples:
            if f";{name} (" in stack and ";compute (" in stack:
                samples[name] += int(count)
    assert all(samples.values()), (samples, done.stderr)
