"""A Sphinx extension: names of the standard library are links to Python's documentation.

Sphinx's own extension for that (intersphinx) fetches an index at every build.  This one needs no network: it
links a name if the module really has it, and only those modules whose names are all on the module's page.
"""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PYTHON = "https://docs.python.org/3/library"
MODULES = (
    "concurrent.futures",
    "faulthandler",
    "os",
    "queue",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Element | None:
    """A link for `node`, if it means something of the standard library."""
    target = node.get("reftarget", "").removesuffix("()")
    for module in MODULES:
        if target == module:
            address = f"{PYTHON}/{module}.html"
        elif target.startswith(f"{module}."):
            try:
                reduce(getattr, target[len(module) + 1 :].split("."), import_module(module))
            except AttributeError:
                continue
            address = f"{PYTHON}/{module}.html#{target}"
        else:
            continue
        return nodes.reference("", "", contnode, internal=False, refuri=address)
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
