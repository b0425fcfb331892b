"""curses: who waits for a key at a terminal lets the others run, and gets the same as natively."""

from __future__ import annotations

import contextlib
import textwrap

import pytest

from tests.green._foreign.terminals import Terminal, terminal
from tests.support import Mode, run_python

pytest.importorskip("curses", reason="this Python has no curses")

both_modes = pytest.mark.parametrize("mode", [False, True], ids=["plain", "patched"])

# A thread that tells when it has run for a while at a time when the program does nothing but wait.
READY = """
import curses, locale, os, sys, threading, time
locale.setlocale(locale.LC_ALL, "C.UTF-8")

def say(what):
    os.write(1, f"<{what}>".encode())

waiting, ticked = threading.Event(), []

def tick():
    waiting.wait()
    for _ in range(5):
        time.sleep(0.01)
    ticked.append(1)
    say("ticked")

threading.Thread(target=tick, daemon=True).start()
window = curses.initscr()
curses.noecho()
curses.cbreak()
window.keypad(True)
window.refresh()

def outcome(function, *args):
    try:
        return function(*args)
    except curses.error as exc:
        return f"error: {str(exc).rpartition(': ')[2]}"  # newer ones name the function before
"""


def _curses(mode: Mode, code: str) -> contextlib.AbstractContextManager[Terminal]:
    return terminal(mode, READY + textwrap.dedent(code), term="xterm")


KEYS = {
    "getch": ("window.getch()", "a", "<97>"),
    "getch at a place": ("(window.getch(1, 2), window.getyx())", "a", "<(97, (1, 2))>"),
    "getkey": ("window.getkey()", "b", "<b>"),
    "get_wch": ("window.get_wch()", "\u00e4", "<\u00e4>"),
    "an arrow": ("window.getkey()", "\x1bOC", "<KEY_RIGHT>"),
    "another window": ("curses.newwin(3, 3).getch()", "c", "<99>"),
    "a long time-out": ("(window.timeout(60000), window.getch())", "d", "<(None, 100)>"),
    "halfdelay": ("(curses.halfdelay(200), window.getch())[1]", "e", "<101>"),
}


@both_modes
@pytest.mark.parametrize("name", KEYS)
def test_the_others_run_meanwhile(mode: Mode, name: str) -> None:
    call, keys, answer = KEYS[name]
    with _curses(mode, f"waiting.set()\nsay({call})\n") as it:
        it.until("<ticked>")
        it.type(keys)
        it.until(answer)


@both_modes
def test_napms(mode: Mode) -> None:
    with _curses(
        mode,
        """
        waiting.set()
        begun = time.monotonic()
        say(curses.napms(300))
        say(("slept", time.monotonic() - begun >= 0.299))
        while not ticked:
            curses.napms(1)
        say(outcome(curses.napms, 0))
        """,
    ) as it:
        it.until("<('slept', True)>")
        it.until("<0>")


@both_modes
def test_who_does_not_wait_and_who_waits_in_vain(mode: Mode) -> None:
    with _curses(
        mode,
        """
        def took(function):
            begun = time.monotonic()
            return outcome(function), time.monotonic() - begun >= 0.099

        window.nodelay(True)
        for function in (window.getch, window.getkey, window.get_wch):
            assert took(function)[0] in (-1, "error: no input"), function
        window.timeout(100)
        for function in (window.getch, window.getkey, window.get_wch) * 2:
            assert took(function) in ((-1, True), ("error: no input", True)), function
        window.nodelay(False)
        curses.halfdelay(1)
        for function in (window.getch, window.getkey) * 2:
            assert took(function) in ((-1, True), ("error: no input", True)), function
        curses.nocbreak()
        curses.cbreak()
        for key in (120, 121):
            curses.ungetch(key)
        say((window.getkey(), window.getch()))
        say([type(outcome(call)).__name__ for call in (window.getch, window.getkey)])
        """,
    ) as it:
        it.until("<('y', 120)>")
        it.type("1")
        it.type("2")
        it.until("<['int', 'str']>")


@both_modes
def test_a_new_size_is_a_key(mode: Mode) -> None:
    with _curses(
        mode,
        """
        say("waits")
        while window.getch() != curses.KEY_RESIZE or window.getmaxyx()[1] != 22:
            pass
        say("resized")
        """,
    ) as it:
        it.until("<waits>")
        # Natively one that comes just before it waits is not seen before the next key.
        for lines in range(11, 40):
            it.resize(lines, 22)
            if it.comes("<resized>", 2):
                break
        it.until("<resized>")


@both_modes
def test_ctrl_c(mode: Mode) -> None:
    with _curses(
        mode,
        """
        waiting.set()
        try:
            window.getch()
        except KeyboardInterrupt:
            say("interrupted")
        while (key := window.getch()) == -1:
            pass  # natively the first one after it says once more that there was nothing
        say(key)
        """,
    ) as it:
        it.until("<ticked>")
        it.type("\x03")
        it.until("<interrupted>")
        it.type("a")
        it.until("<97>")


@both_modes
def test_the_end_of_the_input(mode: Mode) -> None:
    with _curses(
        mode,
        """
        null, (reader, writer) = os.open(os.devnull, os.O_RDONLY), os.pipe()
        os.dup2(null, 0)
        say((window.getch(), outcome(window.getkey)))
        os.dup2(reader, 0)
        os.write(writer, b"f")
        os.close(writer)
        say((window.getch(), window.getch()))
        """,
    ) as it:
        it.until("<(-1, 'error: no input')>")
        it.until("<(102, -1)>")


def test_a_time_out_takes_no_key() -> None:
    with _curses(
        True,
        """
        import greenify
        for _ in range(3):
            try:
                with greenify.Timeout(0.05):
                    window.getch()
            except greenify.Timeout:
                pass
        say("waits")
        say(window.getch())
        window.nodelay(True)
        say(window.getch())
        """,
    ) as it:
        it.until("<waits>")
        it.type("a")
        it.until("<97>")
        it.until("<-1>")


def test_restored() -> None:
    run_python(
        """
        import _curses
        native = dict(vars(_curses.window)), _curses.napms, _curses.cbreak
        import greenify
        for _ in range(2):
            greenify.patch_all()
            assert greenify.is_patched("curses") and _curses.window.getch is not native[0]["getch"]
            greenify.restore()
            assert native == (dict(vars(_curses.window)), _curses.napms, _curses.cbreak)
        """,
        greenify=False,
        check=True,
    )
