"""The main thread, as a copy of `threading` sees it."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["set_main_thread"]


def set_main_thread(copy: Any) -> None:
    """Let the main thread of a copy of `threading` be the process's: it takes whoever makes it for that."""
    real = threading.main_thread()
    main = copy._main_thread
    if main._ident != real.ident:
        copy._active.pop(main._ident, None)
        main._ident = real.ident
        main._native_id = real.native_id
        copy._active[real.ident] = main
