"""Every name of ours that a page mentions exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
from markdown_it.token import Token

from tests.docs.pages import DOCS, PAGES, tokens

COMING_FROM = [DOCS / "coming-from" / f"{name}.md" for name in ("gevent", "eventlet", "evergreen")]

# The name at the beginning of an inline code: before arguments, an index, or a space.
_NAME = re.compile(r"@?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?=$|[\s(\[=:])")


def resolve(name: str) -> object:
    """What a dotted name stands for.  AttributeError or ImportError: nothing."""
    parts = name.split(".")
    for number in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(parts[:number]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[number:], module)
    raise ModuleNotFoundError(name)


def codes(inline: Token) -> Iterator[str]:
    """The inline codes of a paragraph or a cell, without those that are part of a role."""
    children = inline.children or []
    for before, child in zip([None, *children], children, strict=False):
        if child.type == "code_inline":
            role = before is not None and before.content.endswith("}")
            if not role:
                yield child.content


def greenify_names() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for token in tokens(page):
            if token.type == "inline":
                for code in codes(token):
                    name = _NAME.match(code)
                    # A name of the project's folder (greenify/core) is none of Python.
                    if name and name[1].startswith("greenify.") and not code.endswith(".py"):
                        yield page.relative_to(DOCS).as_posix(), name[1]


def our_cells(page: Path) -> Iterator[tuple[int, Token]]:
    """The cells in the second column of the page's tables: what is ours."""
    column = 0
    for token in tokens(page):
        if token.type in ("tr_open", "thead_open"):
            column = 0
        elif token.type == "td_open":
            column += 1
        elif token.type == "inline" and column == 2 and token.map:
            yield token.map[0] + 1, token
            column = -100  # only the cell itself, not what follows the table


MENTIONED = sorted(set(greenify_names()))


@pytest.mark.parametrize(("page", "name"), MENTIONED, ids=map(":".join, MENTIONED))
def test_mentioned(page: str, name: str) -> None:
    resolve(name)


@pytest.mark.parametrize("page", COMING_FROM, ids=lambda page: page.stem)
def test_tables(page: Path) -> None:
    """Every code in the column of our names is a name that exists, ours or the standard library's."""
    names = 0
    for line, cell in our_cells(page):
        for code in codes(cell):
            if code.startswith("python -m greenify "):
                continue
            name = _NAME.match(code)
            assert name, f"{page.name}:{line}: {code!r} does not begin with a name"
            try:
                resolve(name[1])
            except (AttributeError, ImportError):
                pytest.fail(f"{page.name}:{line}: there is no {name[1]}")
            names += 1
    assert names >= 30


def test_no_such_name() -> None:
    for name in ("greenify.spam", "greenify.Task.spam", "spam"):
        with pytest.raises((AttributeError, ImportError)):
            resolve(name)
