"""Users, groups, terminals, the system's log: a native thread asks.  And reading pipes at no offset."""

from __future__ import annotations

import pytest

from tests.green._foreign.foreign import HELD
from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

CALLS = {
    "pwd.getpwnam": "pwd.getpwnam('root')",
    "pwd.getpwuid": "pwd.getpwuid(0)",
    "grp.getgrnam": "grp.getgrnam(grp.getgrgid(0).gr_name)",
    "grp.getgrgid": "grp.getgrgid(0)",
    "syslog.syslog": "outcome(syslog.syslog, syslog.LOG_DEBUG, 'a test')",
    "termios.tcdrain": "termios.tcdrain(terminal)",
    "termios.tcsendbreak": "termios.tcsendbreak(terminal, 0)",
    "termios.tcsetattr": "termios.tcsetattr(terminal, termios.TCSADRAIN, termios.tcgetattr(terminal))",
    "expanduser": "os.path.expanduser('~root')",
}

IMPORTS = """
    import grp, pwd, pty, syslog, termios
    keyboard, terminal = pty.openpty()
"""


@pytest.mark.parametrize("what", CALLS)
def test_the_others_run_meanwhile(what: str) -> None:
    run(
        IMPORTS
        + HELD
        + f"""
    plain = {CALLS[what]}
    hold()
    assert ({CALLS[what]}) == plain
    assert ticked and min(ticked) >= 3, ticked
    """,
        "patch_all",
    )


def test_results_and_errors_are_the_native_ones() -> None:
    same_output(
        IMPORTS
        + """
    import inspect
    print(pwd.getpwnam("root"), pwd.getpwuid(0), grp.getgrgid(0), grp.getgrnam("root"), len(pwd.getpwall()))
    for function, *args in (
        (pwd.getpwnam, "no such user"), (pwd.getpwuid, 2**40), (pwd.getpwnam, 3), (grp.getgrgid, "x"),
        (grp.getgrnam, "no such group"), (termios.tcdrain, -1), (termios.tcsetattr, terminal, 77, []),
        (termios.tcsetattr, terminal, termios.TCSADRAIN, []), (syslog.syslog, "a", "b", "c"),
    ):
        print(function, inspect.getdoc(function), outcome(function, *args))
    with open(terminal, closefd=False) as file:
        print(termios.tcdrain(file), termios.tcsetattr(file, termios.TCSAFLUSH, termios.tcgetattr(file)))
    """
    )


@both_modes
def test_pipes(mode: Mode) -> None:
    run(
        """
    def waits(read):
        r, w = os.pipe()
        thread = Thread(read, r)
        settle()
        os.write(w, b"abc")
        assert thread.end() == 3
        os.close(r), os.close(w)

    buffer = bytearray(10)
    waits(lambda r: os.preadv(r, [buffer], -1))
    assert buffer[:3] == b"abc"
    if hasattr(os, "readinto"):
        waits(lambda r: os.readinto(r, buffer))

    if hasattr(os, "timerfd_create"):
        timer = os.timerfd_create(time.CLOCK_MONOTONIC)
        reader = Thread(os.read, timer, 8)
        settle()  # it would not come back, were the timer read natively
        os.timerfd_settime(timer, initial=0.001)
        assert reader.end() == (1).to_bytes(8, sys.byteorder)
        os.close(timer)

    r, w = os.pipe()
    data = bytes(1 << 18)
    writer = Thread(os.pwritev, w, [data], -1)
    settle()
    got = 0
    while got < len(data):
        got += os.preadv(r, [bytearray(1 << 16)], -1)
    assert writer.end() == len(data)
    print(outcome(os.preadv, r, [buffer], 0), outcome(os.preadv, r, [buffer], -2))
    with open(__file__, "rb") as file:
        assert os.preadv(file.fileno(), [buffer], 0) == 10 == os.preadv(file.fileno(), [buffer], 0, 0)
    """,
        mode,
    )


@both_modes
def test_getpass(mode: Mode) -> None:
    # At a terminal of its own, whose other end the parent holds: it answers when the child's thread has run.
    run(
        """
    import getpass, pty

    said, say = os.pipe()
    told, tell = os.pipe()
    child, terminal = pty.fork()
    if not child:
        def tick():
            os.write(say, os.read(told, 6))
        thread = Thread(tick)
        ok = getpass.getpass("secret: ") == "word"
        thread.end()
        os._exit(0 if ok else 1)
    shown = b""
    while b"secret: " not in shown:
        shown += os.read(terminal, 100)
    os.write(tell, b"ticked")
    assert os.read(said, 6) == b"ticked"
    os.write(terminal, b"word\\n")
    assert os.waitpid(child, 0)[1] == 0
    """,
        mode,
    )
