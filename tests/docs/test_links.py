"""Links of the project's own pages lead to files that are there.

Those between pages of docs/ are checked by ``make docs``, headings included.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, tokens
from tests.support import EXAMPLES, ROOT

PAGES = sorted(ROOT.glob("*.md"))


def links(page: Path) -> Iterator[str]:
    """The addresses of the page's links."""
    for token in tokens(page):
        for child in token.children or []:
            if child.type == "link_open":
                yield str(child.attrs["href"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    for address in links(page):
        parts = urlsplit(address)
        if not parts.scheme:
            assert (page.parent / parts.path).exists(), f"{page.name} links to {address}"


def test_the_documentation_is_linked() -> None:
    assert "docs/index.md" in set(links(ROOT / "README.md"))


def test_every_example_is_listed() -> None:
    text = (DOCS / "examples.md").read_text(encoding="utf-8")
    examples = [path.name for path in EXAMPLES.glob("*.py")]
    assert examples
    assert [name for name in examples if f"`{name}`" not in text] == []
