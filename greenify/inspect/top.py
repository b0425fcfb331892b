"""The launcher's command ``top``: who waits for what in a process, live."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenify.features import seconds
from greenify.inspect.asking import NoAnswerError, ask
from greenify.inspect.commands import fail, parser
from greenify.inspect.report import deadlock_lines, natural, records, state_text

__all__ = ["Screen", "top"]

_STATES = {"running": 0, "ready": 1, "new": 2, "waiting": 3}
_COLOURS = {"running": "bold green", "ready": "yellow", "new": "cyan", "waiting": "dim"}

# By their keys: what the rows are sorted by.
_ORDERS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "s": ("state", lambda row: (_STATES[row["state"]], natural(row["name"]))),
    "n": ("name", lambda row: natural(row["name"])),
    "k": ("kind", lambda row: (row["kind"], natural(row["name"]))),
    "w": ("what they wait for", lambda row: (natural(row["what"]), natural(row["name"]))),
    "t": ("time", lambda row: (-(row.get("for") or 0.0), natural(row["name"]))),
}

# A terminal of fewer columns has no room for the kinds.
_NARROW = 80

_KEYS = "s n k w t sort   up down choose   enter open   esc back   q quit"

# What terminals send.
_NAMED_KEYS = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\r": "enter",
    "\n": "enter",
    "\x1b": "escape",
    "\x7f": "escape",
}


class Screen:
    """What is shown, without a terminal: the rows of the last answer, their order, and the one that is open.

    Args:
        pid: the process.
        height, width: how many lines and columns there are.
    """

    def __init__(self, pid: int, height: int, width: int = 110) -> None:
        self.pid = pid
        self.height = height
        self.width = width
        self.order = "s"
        self.chosen: int | None = None  # the identifier of a row
        self.opened = False
        self.over = False
        self.rows: list[dict[str, Any]] = []
        self._answer: dict[str, Any] = {}

    @property
    def request(self) -> dict[str, Any]:
        """What to ask for: the stack of the row that is open."""
        return {"stacks": True} if self.opened else {}

    def update(self, answer: dict[str, Any]) -> None:
        """Take an answer of the process."""
        self._answer = answer
        self.rows = records(answer)
        self._sort()

    def _sort(self) -> None:
        self.rows.sort(key=_ORDERS[self.order][1])

    def press(self, key: str) -> None:
        """A key: a letter, or one of the names in the table above."""
        if key == "q":
            self.over = True
        elif key in _ORDERS:
            self.order = key
            self._sort()
        elif key == "enter":
            self.opened = bool(self.rows)
            if self.chosen is None:
                self._move(0)
        elif key == "escape":
            self.opened = False
        elif key in ("up", "down"):
            self._move(-1 if key == "up" else 1)
        elif key in ("page up", "page down"):
            self._move(-self._room if key == "page up" else self._room)

    @property
    def _room(self) -> int:
        return max(1, self.height - 6)

    def _position(self) -> int:
        for number, row in enumerate(self.rows):
            if row["ident"] == self.chosen:
                return number
        return -1

    def _move(self, by: int) -> None:
        if self.rows:
            position = self._position()
            target = max(position, 0) if by == 0 or position < 0 else position + by
            self.chosen = self.rows[max(0, min(len(self.rows) - 1, target))]["ident"]

    def render(self) -> Any:
        """What to draw, for rich."""
        from rich.console import Group
        from rich.text import Text

        counts = Counter(row["state"] for row in self.rows)
        parts = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
        title = Text(f"process {self.pid}: {len(self.rows)} threads and tasks, ", style="bold")
        title.append(", ".join(parts))
        title.append(f"   by {_ORDERS[self.order][0]}", style="dim")
        lines = list(deadlock_lines(self._answer, self.rows)) if self._answer else []
        warning = [Text("\n".join(lines), style="bold red")] if lines else []
        body = self._stack() if self.opened else self._table(len(lines))
        keys = Text(_KEYS, style="dim")
        for line in (title, keys):
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(title, *warning, body, keys)

    def _table(self, taken: int) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(expand=True, box=None, padding=(0, 1), header_style="bold")
        headings = {"NAME": self.width // 4, "KIND": None, "STATE": None}
        if self.width < _NARROW:
            del headings["KIND"]
        for heading, most in headings.items():
            table.add_column(heading, max_width=most, no_wrap=True, overflow="ellipsis")
        table.add_column("WAITS FOR, OR IS AT", ratio=1, no_wrap=True, overflow="ellipsis")
        room = max(1, self._room - taken)
        first = max(0, min(self._position() - room // 2, len(self.rows) - room))
        for row in self.rows[first : first + room]:
            style = "reverse" if row["ident"] == self.chosen else ""
            state = Text(state_text(row), style=_COLOURS[row["state"]])
            # As they are: square brackets in a name are no markup.
            cells = {"NAME": Text(row["name"]), "KIND": Text(row["kind"]), "STATE": state}
            table.add_row(*(cells[name] for name in headings), Text(row["what"]), style=style)
        return table

    def _stack(self) -> Any:
        from rich.text import Text

        row = next((row for row in self.rows if row["ident"] == self.chosen), None)
        if row is None:
            return Text("it has ended")
        text = Text(f"{row['name']} ({row['kind']}, {state_text(row)}): {row['what']}\n")
        for filename, line, function in row["stack"][: self._room]:
            text.append(f"  {filename}:{line} ", style="dim")
            text.append(f"{function}\n")
        return text


@contextmanager
def _keys() -> Iterator[Callable[[float], str | None]]:
    """A function that waits for a key, for so many seconds; the terminal gives each at once meanwhile."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    if not os.isatty(fd):
        yield _no_key
        return
    before = termios.tcgetattr(fd)

    def key(seconds: float) -> str | None:
        if not select.select([fd], [], [], seconds)[0]:
            return None
        text = os.read(fd, 16).decode("utf-8", "replace")
        return _NAMED_KEYS.get(text, text[:1])

    try:
        tty.setcbreak(fd)
        yield key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _no_key(seconds: float) -> str | None:
    time.sleep(seconds)
    return None


def top(prog: str, args: list[str]) -> int:
    """Who waits for what, live."""
    reader = parser(prog, f"Show who waits for what in a process, again and again.  Keys: {_KEYS}.")
    reader.add_argument(
        "-d", "--delay", type=_seconds, default=1.0, help="seconds between two looks"
    )
    reader.add_argument("-n", "--count", type=int, default=0, help="end after so many looks")
    reader.add_argument("--svg", metavar="FILE", help="write one look as a picture, and end")
    options = reader.parse_args(args)
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return fail(prog, NoAnswerError("top needs the package rich: pip install greenify[top]"))
    try:
        if options.svg is not None:
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                console = Console(record=True, width=110, file=nowhere, color_system="truecolor")
                screen = Screen(options.pid, 30)
                screen.update(ask(options.pid, "snapshot"))
                console.print(screen.render())
                console.save_svg(options.svg, title=f"python -m greenify top {options.pid}")
            return 0
        console = Console()
        screen = Screen(options.pid, console.height, console.width)
        screen.update(ask(options.pid, "snapshot"))
        with _keys() as key, Live(console=console, screen=console.is_terminal) as live:
            _run(screen, key, live.update, options.delay, options.count, lambda: console.size)
    except NoAnswerError as exc:
        return fail(prog, exc)
    except KeyboardInterrupt:
        return 0
    return 0


def _run(
    screen: Screen,
    key: Callable[[float], str | None],
    draw: Callable[..., None],
    delay: float,
    count: int,
    size: Callable[[], tuple[int, int]],
) -> None:
    looks = 1
    while True:
        screen.width, screen.height = size()
        draw(screen.render(), refresh=True)
        if looks == count:
            return
        pressed = key(delay)
        if pressed is not None:
            opened = screen.opened
            screen.press(pressed)
            if screen.over:
                return
            if screen.opened == opened:
                continue
        screen.update(ask(screen.pid, "snapshot", **screen.request))
        looks += 1
