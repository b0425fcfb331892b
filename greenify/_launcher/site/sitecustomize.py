"""Imported by every Python that is started with this folder on its path; see `greenify._launcher.children`.

The child's own `sitecustomize`, which this one stands in front of, runs first.  When all is done `sys.path`
and `sys.modules` are as they would be without, but for what patching imports.

Pythons of any age get to see this file: nothing in it is newer than they are.
"""

import os
import sys

__all__ = ["VARIABLE", "this_python"]

VARIABLE = "GREENIFY_CHILDREN"


def this_python():
    # type: () -> str
    """What tells one Python from another: which version it is, and where its packages are."""
    name = getattr(getattr(sys, "implementation", None), "cache_tag", "")
    return " ".join((name, hex(sys.hexversion), os.path.realpath(sys.prefix)))


def _patch(here):
    # type: (str) -> None
    lines = os.environ.get(VARIABLE, "").split("\n")
    if lines[0] != this_python():
        return
    home = os.path.dirname(os.path.dirname(os.path.dirname(here)))
    # Where the parent has found greenify may not be on the path of the child.
    added = home not in sys.path
    if added:
        sys.path.append(home)
    try:
        from greenify._launcher.children import begin

        begin(lines[1:])
    except ImportError as exc:
        # Without what greenify needs: the parent has found it somewhere else.
        sys.stderr.write("greenify: this child is not patched: " + str(exc) + "\n")
    finally:
        if added:
            sys.path.remove(home)


def _customize():
    # type: () -> None
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path != here]
    this = sys.modules.pop(__name__)
    try:
        # The next one on the path.  If there is none, the error tells Python so, as it would without us.
        __import__(__name__)
    finally:
        sys.modules.setdefault(__name__, this)
        _patch(here)


if __name__ == "sitecustomize":
    _customize()
