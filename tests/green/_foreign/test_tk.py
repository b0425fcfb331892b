"""tkinter: while a window waits for its user, the other threads run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("_tkinter") is None or shutil.which("Xvfb") is None,
    reason="needs Python's tkinter and Xvfb (Debian: python3-tk and xvfb)",
)


@pytest.fixture(autouse=True)
def _display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "300x200x24", "-nolisten", "tcp"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            monkeypatch.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
            yield
        finally:
            server.terminate()


TICKING = """
    import tkinter

    root = tkinter.Tk()
    ticks = []

    def tick():
        while len(ticks) < 5:
            ticks.append(1)
            time.sleep(0.01)

    def when_ticked(action):
        # Only a thread that runs while Tk waits gets so far.
        def look():
            if len(ticks) >= 5:
                action()
            else:
                root.after(5, look)
        root.after(5, look)
        return Thread(tick)
"""


@pytest.mark.parametrize(
    "wait",
    [
        "thread = when_ticked(root.quit); root.mainloop()",
        "thread = when_ticked(root.destroy); root.mainloop()",
        "thread = when_ticked(root.quit); tkinter.mainloop()",
        "top = tkinter.Toplevel(root); thread = when_ticked(top.destroy); root.wait_window(top)",
        "var = tkinter.IntVar(root); thread = when_ticked(lambda: var.set(3)); root.wait_variable(var)",
        "thread = Thread(tick); root.after(300); assert len(ticks) >= 5, ticks",
    ],
)
@both_modes
def test_the_others_run_meanwhile(wait: str, mode: Mode) -> None:
    run(TICKING + f"\n    {wait}\n    assert len(ticks) == 5\n    thread.end()\n", mode)


@both_modes
def test_how_it_ends(mode: Mode) -> None:
    run(
        TICKING
        + """
    def leave():
        raise SystemExit(3)
    root.after(5, leave)
    try:
        root.mainloop()
        raise AssertionError
    except SystemExit as exc:
        assert exc.code == 3
    # One loop inside of another: each is ended by a call of its own.
    order = []
    def inner():
        root.after(5, root.quit)
        root.mainloop()
        order.append("inner")
        root.after(5, root.quit)
    root.after(5, inner)
    root.mainloop()
    order.append("outer")
    assert order == ["inner", "outer"], order
    root.destroy()
    print(outcome(root.wait_window), outcome(root.mainloop))
    """,
        mode,
    )
