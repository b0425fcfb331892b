"""Lines edited by readline, at a terminal: whoever prompts lets the others run."""

from __future__ import annotations

import pytest

from tests.green._foreign.terminals import Terminal, terminal
from tests.support import Mode

readline = pytest.importorskip("readline", reason="this Python has no readline")
if "libedit" in (readline.__doc__ or ""):
    pytest.skip("readline is libedit's here, which is left alone", allow_module_level=True)

# A thread that tells when it has run for a while at a time when the program does nothing but wait.
READY = """
    import os, sys, threading, time
    import readline
    waiting = threading.Event()
    def tick():
        waiting.wait()
        for _ in range(5):
            time.sleep(0.01)
        os.write(1, b"<ticked>")
    threading.Thread(target=tick, daemon=True).start()
"""


both_modes = pytest.mark.parametrize("mode", [False, True], ids=["plain", "patched"])

PROMPTS = {
    "input": ("waiting.set(); print(repr(input('? ')))", "? ", "'word'"),
    "code": ("import code; waiting.set(); code.interact('', local={'word': 5})", ">>> ", "5"),
    "pdb": ("import pdb; word = 5; waiting.set(); pdb.set_trace()\n    word = 6", "(Pdb) ", "5"),
}


@both_modes
@pytest.mark.parametrize("name", PROMPTS)
def test_others_run_at_the_prompt(mode: Mode, name: str) -> None:
    statement, prompt, answer = PROMPTS[name]
    with terminal(mode, f"{READY}    {statement}\n") as it:
        it.until(prompt)
        it.until("<ticked>")
        it.type("wo")
        it.type("rd\n")
        it.until(answer)


def type_and_see(it: Terminal, mode: Mode, keys: str, answer: str) -> None:
    it.type(keys)
    # CPython overlooks a signal that comes between the prompt and its waiting for a key, until the next one.
    if not mode and keys.endswith("\x03") and not it.comes(answer, 5):
        it.type("\x03")
    it.until(answer)


@both_modes
def test_the_interpreter_s_own_prompt(mode: Mode) -> None:
    with terminal(mode, READY, "-i") as it:
        it.until(">>> ")
        it.type("waiting.set()\n")
        it.until("<ticked>")
        type_and_see(it, mode, "1+\x03", "KeyboardInterrupt")
        it.until(">>> ")
        it.type("1+1\n")
        it.until("2\r\n>>> ")
        it.type("if 1:\n")
        it.until("... ")
        it.type("    print('in' 'dented')\n\n")
        it.until("indented")
        it.until(">>> ")  # while the terminal edits the lines itself, the end would be no character
        it.type("\x04")
        it.end()


@both_modes
def test_editing_history_and_the_end(mode: Mode) -> None:
    code = (
        READY
        + """
    readline.parse_and_bind("tab: complete")
    readline.set_completer(lambda text, state: (time.sleep(0.01), [text + "pleted", None][state])[1])
    print("got", repr(input("1? ")))
    print("got", repr(input("2? ")))
    print("got", repr(input("3? ")), readline.get_current_history_length())
    readline.set_auto_history(False)
    print("got", repr(input("4? ")), readline.get_current_history_length())
    try:
        input("5? ")
    except KeyboardInterrupt:
        print("got interrupted")
    try:
        input("6? ")
    except EOFError:
        print("got the end")
    """
    )
    with terminal(mode, code) as it:
        for prompt, keys, answer in (
            ("1? ", "bc\x01a\n", "got 'abc'"),  # ^A: to the beginning
            ("2? ", "\x10d\n", "got 'abcd'"),  # ^P: the line before
            ("3? ", "com\t\n", "got 'completed' 3"),
            ("4? ", "forgotten\n", "got 'forgotten' 3"),
            ("5? ", "lost\x03", "got interrupted"),
            ("6? ", "\x04", "got the end"),
        ):
            it.until(prompt)
            type_and_see(it, mode, keys, answer)


@both_modes
def test_two_threads_ask(mode: Mode) -> None:
    code = (
        READY
        + """
    def ask():
        line = input("?")
        # In one piece: the other one prompts meanwhile, and readline writes each character by itself.
        os.write(1, f"got {line}\\n".encode())
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("both")
    """
    )
    with terminal(mode, code) as it:
        it.until("?")
        it.type("one\n")
        # The other one may ask before the first has told.
        if "?" not in it.until("got one"):
            it.until("?")
        it.type("two\n")
        it.until("got two")
        it.until("both")


def test_a_time_out_ends_the_line() -> None:
    code = """
    import greenify
    import readline
    try:
        with greenify.Timeout(0.1):
            input("? ")
    except greenify.Timeout:
        print("got a time-out")
    print("got", input("again? "))
    greenify.restore()
    print("got", input("natively? "))
    """
    with terminal(True, code) as it:
        it.until("got a time-out")
        it.until("again? ")
        it.type("line\n")
        it.until("got line")
        it.until("natively? ")
        it.type("line\n")
        it.until("got line")
