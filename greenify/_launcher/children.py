"""``--children``: Python programs that the program starts are patched, too.

Two variables in the environment, which children inherit, carry that.  ``PYTHONPATH`` gets, in front, a
folder that holds nothing but a `sitecustomize` (`greenify/_launcher/site`), which every Python imports at its
start; ``GREENIFY_CHILDREN`` says for which Python that is meant, and with which options.  So a child is
patched exactly if it gets this environment: not if it is started with one of its own, nor with ``-E``,
``-I`` or ``-S``.  Taking ``GREENIFY_CHILDREN`` out of the environment ends it; what is then left of the path
has no effect.

Programs in other virtual environments and other versions of Python stay as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence
from itertools import pairwise

from greenify._launcher.site.sitecustomize import VARIABLE, this_python

__all__ = ["FOLDER", "VARIABLE", "begin", "carry", "restart", "take_back"]

PATH = "PYTHONPATH"

#: The folder with our `sitecustomize`.
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")

# What the standard library starts for itself, as the argument of ``-c``: no code of the program's runs there.
_HELPERS = ("from multiprocessing.resource_tracker import main",)

_patched = False


def carry(options: Sequence[str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Have the children that inherit `environ` patched.

    Args:
        options: the launcher's options for them, as on its command line.
    """
    environ[VARIABLE] = "\n".join((this_python(), *options))
    others = _other_paths(environ)
    environ[PATH] = os.pathsep.join((FOLDER, *others))


def take_back(environ: MutableMapping[str, str] = os.environ) -> None:
    """Undo `carry`: the children to come are plain again."""
    environ.pop(VARIABLE, None)
    if FOLDER in environ.get(PATH, "").split(os.pathsep):
        others = _other_paths(environ)
        if others:
            environ[PATH] = os.pathsep.join(others)
        else:
            del environ[PATH]


def _other_paths(environ: MutableMapping[str, str]) -> list[str]:
    text = environ.get(PATH)
    # An empty variable is none, but an empty entry beside others is the current directory.
    return [path for path in text.split(os.pathsep) if path != FOLDER] if text else []


def _is_helper(argv: Sequence[str]) -> bool:
    """Whether `argv`, the whole command line of a Python, is that of a helper of the standard library."""
    return any(
        before == "-c" and argument.startswith(_HELPERS) for before, argument in pairwise(argv)
    )


def begin(options: Sequence[str]) -> None:
    """At the start of a child: patch it.  What is wrong goes to standard error, and the child stays plain.

    Args:
        options: what `carry` was given.
    """
    global _patched
    if _is_helper(sys.orig_argv):
        return
    from greenify._launcher.applying import apply
    from greenify._launcher.options import parse
    from greenify.errors import GreenifyError

    try:
        apply(parse([*options, "-c", ""]))
    except (GreenifyError, Warning) as exc:
        if sys.stderr is not None:
            sys.stderr.write(f"greenify: this child is not patched: {exc}\n")
        return
    _patched = True


def restart() -> None:
    """Take back the patches of `begin`: this child is a launcher itself, with options of its own."""
    global _patched
    if _patched:
        _patched = False
        from greenify.patches import restore

        restore()
