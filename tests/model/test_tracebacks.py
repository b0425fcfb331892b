"""What a time-out or a kill shows: the program's own frames, down to the call that waited."""

from __future__ import annotations

import re

from tests.support import run_python

CODE = """
    import logging, sys, traceback
    import greenify
    if sys.argv[1] == "patched":
        greenify.patch_all()
    import queue, socket, threading, time

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    events = greenify.Event(), greenify.Queue(), greenify.Lock()
    events[2].acquire()
    left, right = socket.socketpair()
    calls = [greenify.sleep, events[0].wait, events[1].get, events[2].acquire]
    if sys.argv[1] == "patched":
        lock = threading.Lock()
        lock.acquire()
        calls += [time.sleep, threading.Event().wait, queue.Queue().get, lock.acquire]
    arguments = {greenify.sleep: (100,), time.sleep: (100,)}

    def waits(call):
        call(*arguments.get(call, ()))

    def show(title):
        print(title)
        traceback.print_exc(file=sys.stdout)

    for call in calls:
        try:
            with greenify.Timeout(0.001):
                waits(call)
        except greenify.Timeout:
            show("with")
        try:
            with greenify.Timeout(0.001, KeyError("own")):
                waits(call)
        except KeyError:
            show("own exception")
        timeout = greenify.Timeout(0.001)
        timeout.start()
        try:
            try:
                waits(call)
            finally:
                timeout.cancel()
        except greenify.Timeout:
            show("start and cancel")
        for error in (greenify.TaskExit, ValueError("killed")):
            task = greenify.spawn(waits, call)
            greenify.sleep(0)
            task.kill(error)
            task.join()
            try:
                task.result
            except BaseException:
                show("task")
    left.close()
    right.close()
"""

OURS = re.compile(r'File ".*/greenify/(?:core|green|[a-z_]+\.py).*')


def shown(*args: str, options: tuple[str, ...] = ()) -> str:
    return run_python(CODE, *args, greenify=False, check=True, options=options).stdout


def test_ends_in_the_programs_code() -> None:
    for which, calls in (("unpatched", 4), ("patched", 8)):
        text = shown(which)
        assert text.count("in waits\n") == 6 * calls, text  # the log has one more of each kill
        ours = [line for line in OURS.findall(text) if not line.endswith("in result")]
        assert ours == []


def test_development_mode_shows_all() -> None:
    assert "hub.next().switch()" in shown("unpatched", options=("-X", "dev"))


def test_errors_of_the_programs_keep_theirs() -> None:
    # An error that has only happened within a time-out, or in a task, is shown whole below the program.
    code = """
        import traceback, sys, greenify

        def work():
            greenify.Channel(-1)

        def fails(call):
            try:
                call()
            except ValueError:
                traceback.print_exc(file=sys.stdout)

        def limited():
            with greenify.Timeout(10):
                work()

        fails(limited)
        task = greenify.spawn(work)
        task.join()
        fails(lambda: task.result)
    """
    done = run_python(code, greenify=False, check=True)
    assert done.stdout.count("channel.py") == 2, done.stdout
