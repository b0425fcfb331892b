"""A Sphinx extension: `greenify.Task.join()` in the text of a page links to its place in the reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_NAME = re.compile(r"greenify(?:\.\w+)+")


def link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put a reference around every inline code that begins with a name that is documented."""
    objects = app.env.get_domain("py").objects  # type: ignore[attr-defined]
    for literal in list(doctree.findall(nodes.literal)):
        name = _NAME.match(literal.astext())
        found = objects.get(name[0]) if name else None
        if found is None or isinstance(literal.parent, nodes.reference | nodes.title):
            continue
        address = f"{app.builder.get_relative_uri(page, found.docname)}#{found.node_id}"
        reference = nodes.reference("", "", internal=True, refuri=address)
        literal.replace_self(reference)
        reference += literal


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
