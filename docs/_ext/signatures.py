"""A Sphinx extension: type variables in signatures, in the words of the source.

Sphinx writes `~greenify.task.T` and, for a ParamSpec, `*args: ~typing.~P`, which its own parser then cannot
read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_REPLACED = (
    (re.compile(r"\*\*(\w+): ~typing\.~P"), r"**\1: P.kwargs"),
    (re.compile(r"\*(\w+): ~typing\.~P"), r"*\1: P.args"),
    (re.compile(r"\[\[~P\], "), r"[P, "),
    (re.compile(r"~greenify\.\w+\.([A-Z])\b"), r"\1"),
    (re.compile(r"~(collections\.abc|typing)\."), ""),
)


def clean(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str
) -> tuple[str, str]:
    """The signature and what is returned, as they are shown."""
    texts = []
    for text in (signature, returns):
        for pattern, replacement in _REPLACED:
            text = pattern.sub(replacement, text) if text else text
        texts.append(text)
    return texts[0], texts[1]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-signature", clean)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
