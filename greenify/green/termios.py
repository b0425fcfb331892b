"""The cooperative twin of `termios`: who waits until a terminal or a serial line has sent everything."""

from __future__ import annotations

import termios as _termios
from typing import Any

from greenify.green._copies.rest import complete
from greenify.green._foreign import hand_over

__all__ = ["tcdrain", "tcsendbreak", "tcsetattr"]

_tcdrain = _termios.tcdrain
_tcsendbreak = _termios.tcsendbreak
_tcsetattr = _termios.tcsetattr

_AT_ONCE = _termios.TCSANOW


def tcdrain(fd: Any, /) -> None:
    """See `termios.tcdrain`; a native thread waits."""
    hand_over(_tcdrain, fd)


def tcsendbreak(fd: Any, duration: int, /) -> None:
    """See `termios.tcsendbreak`; a native thread waits for its end."""
    hand_over(_tcsendbreak, fd, duration)


def tcsetattr(fd: Any, when: int, attributes: Any, /) -> None:
    """See `termios.tcsetattr`; with TCSADRAIN and TCSAFLUSH a native thread waits."""
    if when == _AT_ONCE:
        _tcsetattr(fd, when, attributes)
    else:
        hand_over(_tcsetattr, fd, when, attributes)


#: What is replaced by a patch.
REPLACED = tuple(__all__)

complete(globals(), _termios)


def __getattr__(name: str) -> Any:
    return getattr(_termios, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_termios)})
