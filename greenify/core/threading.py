"""The outermost frame of a native thread of greenify's own, which has to look like that of `threading`.

pydevd, the debugger in debugpy, sees the code of all threads from CPython 3.12 on, by `sys.monitoring`, and
has a stand-in made for one that `threading` does not know: a thread Dummy-1 that nobody has started.  Unless
the outermost frame is ``_bootstrap`` of a file ``threading.py``: then it waits for more.
"""

from __future__ import annotations

from collections.abc import Callable

__all__: list[str] = []


def _bootstrap(run: Callable[[], object]) -> None:
    """Call ``run()``."""
    run()
