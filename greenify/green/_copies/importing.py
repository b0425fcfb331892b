"""`import_patched`: modules over the cooperative twins, with nothing patched.

The copies live in one `Library`, so they share each other: what `import_patched` gives for "http.client" is
what its "urllib.request" uses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType

from greenify.green._copies.copies import Library
from greenify.green._copies.needs import TWINS, Needs
from greenify.green._files.fileobject import open

__all__ = ["import_patched"]

_given: dict[str, Callable[[], ModuleType]] = {
    name: partial(import_module, f"greenify.green.{name}") for name in (*TWINS, "io")
}
_library = Library(_given, Needs().copy, {"open": open})


def import_patched(name: str) -> ModuleType:
    """A private copy of a module, and of what it imports as far as that waits, on cooperative twins::

        request = greenify.import_patched("urllib.request")
        with request.urlopen("https://example.org/") as answer:  # lets the other tasks run
            ...

    Nothing is patched, and the program's own modules, ``sys.modules`` included, know nothing of the copy.
    It is made at the first call and shared by all later ones.  Any thread may call it, several at once.

    A module that is not written in Python cannot be copied, and what a C library waits for is out of reach.
    Classes of a copy are its own: `isinstance` does not connect them with those of the ordinary module.  Only
    the exceptions of the standard library's modules are the ordinary ones; those of other packages have to be
    caught by the copy's names (``requests.ConnectionError``, where ``requests`` is the copy).

    Args:
        name: of any module, or of one that has a twin in `greenify.green`, which is then the result.

    Raises:
        ImportError: there is no such module, it is not written in Python, or importing it fails.
    """
    if name.startswith("."):
        raise ImportError(f"import_patched takes no relative names: {name!r}", name=name)
    return _library.copy(name)
