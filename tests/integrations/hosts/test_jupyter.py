"""A Jupyter kernel that is patched by a cell; tests/libraries/test_pyzmq.py has one that starts patched."""

from __future__ import annotations

from tests.integrations.hosts.hosting import needs
from tests.support import run_python

KERNEL = r"""
import sys
from jupyter_client.manager import KernelManager

manager = KernelManager()
manager.start_kernel()
client = manager.client()
client.start_channels()

def run(code):
    output = []
    def hook(message):
        if message["msg_type"] in ("stream", "error"):
            output.append(message["content"].get("text") or message["content"]["evalue"])
    reply = client.execute_interactive(code, timeout=60, output_hook=hook)
    print(reply["content"]["status"], "".join(output).strip() or "-", flush=True)

try:
    client.wait_for_ready(timeout=60)
    # A thread from before, which waits through the patch.
    run("import threading, time, queue\n"
        "questions, answers = queue.Queue(), queue.Queue()\n"
        "old = threading.Thread(target=lambda: answers.put(questions.get() + 1)); old.start()")
    run("import warnings; warnings.simplefilter('ignore'); import greenify; greenify.patch_all()")
    run("questions.put(41); print(answers.get(timeout=60)); old.join()")
    run("import os, socket\n"
        "natives, barrier = set(), threading.Barrier(20)\n"
        "def work(number):\n"
        "    barrier.wait(60); time.sleep(0.01); natives.add(os.readlink('/proc/thread-self'))\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(len(natives), natives == {os.readlink('/proc/thread-self')})")
    # A thread that outlives its cell.
    run("go = threading.Event(); later = threading.Thread(target=lambda: go.wait(60)); later.start()")
    run("go.set(); later.join(60); print(later.is_alive())")
    # A program of the shell, and a cell that awaits.
    run("import subprocess, sys\n"
        "print(subprocess.check_output([sys.executable, '-c', 'print(7)'], text=True))")
    run("import asyncio; await asyncio.sleep(0.01); print(await asyncio.to_thread(sum, [1, 2]))")
    client.execute("print('running'); time.sleep(100)")
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["msg_type"] == "stream" and "running" in message["content"]["text"]:
            break
    manager.interrupt_kernel()
    print(client.get_shell_msg(timeout=60)["content"]["ename"])
    run("print('still here')")
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def test_patched_by_a_cell() -> None:
    needs("ipykernel", "jupyter_client")
    done = run_python(KERNEL, greenify=False, timeout=120)
    assert done.stdout.splitlines() == [
        "ok -",
        "ok -",
        "ok 42",
        "ok 1 True",
        "ok -",
        "ok False",
        "ok 7",
        "ok 3",
        "KeyboardInterrupt",
        "ok still here",
    ], (done.stdout, done.stderr[-3000:])
