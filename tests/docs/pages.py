"""The pages of docs/, and what in them can be run: blocks of Python and commands of the shell.

A block that begins with ```` ```python ```` is a program of its own; it is run, and nothing that it prints is
lost sight of.  A comment in the line before a block says what else it is (readers do not see it):

    <!-- test: continued -->         it goes on where the block of Python before it has ended
    <!-- test: launcher -->          it is run by ``python -m greenify``
    <!-- test: file fetch.py -->     it is a file, for the page's other programs and commands
    <!-- test: compile, REASON -->   it needs what a test has not got; its syntax and its imports are checked
    <!-- test: output -->            (```` ```text ````) what the program before it prints, all of it
    <!-- test: none, REASON -->      (```` ```console ````) the commands are not run

In the commands of a ```` ```console ```` block a line that begins with ``$`` is run by the shell, and what
follows is what it prints.  ``...`` in a shown output stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_markdown = MarkdownIt("commonmark").enable("table")
_MARK = re.compile(r"<!-- test: (?P<kind>\w+)(?:,? (?P<argument>.+))? -->")
_KINDS = {
    "python": {"continued", "launcher", "file", "compile"},
    "text": {"output"},
    "console": {"none"},
}


class PageError(Exception):
    """A page uses a mark that means nothing where it stands."""


@dataclass
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int  # of its first line of text, counted from 1
    kind: str = ""
    argument: str = ""


@dataclass
class Program:
    """A program of a page: one block of Python or several, or the commands of one console."""

    page: str
    line: int
    text: str
    kind: str = "plain"  # launcher, compile, console
    expected: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def tokens(page: Path) -> list[Token]:
    """The page as markdown-it reads it."""
    return _markdown.parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of the page, each with its mark."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for token in tokens(page):
        if token.type != "fence" or token.map is None:
            continue
        language = token.info.strip()
        block = Block(language, token.content, token.map[0] + 2)
        before = lines[token.map[0] - 1] if token.map[0] else ""
        if before.startswith("<!-- test"):
            mark = _MARK.fullmatch(before)
            if mark is None or mark["kind"] not in _KINDS.get(language, ()):
                raise PageError(f"{page}:{token.map[0]}: {before!r} before a block of {language!r}")
            block.kind = mark["kind"]
            block.argument = mark["argument"] or ""
            if block.kind in ("compile", "none", "file") and not block.argument:
                raise PageError(f"{page}:{token.map[0]}: {before!r} does not say why, or which")
        yield block


def programs(page: Path) -> list[Program]:
    """The programs of the page, in its order."""
    name = page.relative_to(DOCS).as_posix()
    found: list[Program] = []
    files: dict[str, str] = {}
    for block in blocks(page):
        if block.language == "python":
            if block.kind == "file":
                files[block.argument] = block.text
            elif block.kind == "continued":
                if not found or found[-1].kind == "console":
                    raise PageError(f"{name}:{block.line}: there is nothing to continue")
                last = found[-1]
                last.text = _at_line(block, last.text)
            else:
                text = _at_line(block, "")
                found.append(Program(name, block.line, text, block.kind or "plain", files=files))
        elif block.language == "console" and block.kind != "none":
            found.append(Program(name, block.line, block.text, "console", files=files))
        elif block.kind == "output":
            if not found or found[-1].kind == "console":
                raise PageError(f"{name}:{block.line}: an output of which program?")
            found[-1].expected = (found[-1].expected or "") + block.text
    return found


def _at_line(block: Block, before: str) -> str:
    """`before`, then the block, at the line it has on its page: so a traceback shows the page's lines."""
    return before + "\n" * (block.line - 1 - before.count("\n")) + block.text


def commands(console: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, and what each prints."""
    command = ""
    output: list[str] = []
    for line in console.splitlines(keepends=True):
        if line.startswith("$ "):
            if command:
                yield command, "".join(output)
            command, output = line[2:].rstrip("\n"), []
        else:
            output.append(line)
    if command:
        yield command, "".join(output)


def matches(expected: str, actual: str) -> bool:
    """Whether `actual` is what the page shows, where ``...`` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.rstrip().split("..."))
    return re.fullmatch(pattern, actual.rstrip(), re.DOTALL) is not None
