"""The numbers and names that gevent's cores have in common."""

from __future__ import annotations

import select
from collections.abc import Iterable

__all__ = [
    "BACKENDS",
    "ERROR",
    "EVENTS",
    "IOFDSET",
    "MAXPRI",
    "MINPRI",
    "NONE",
    "READ",
    "READWRITE",
    "WRITE",
    "backend_flags",
    "events_to_str",
]

NONE = 0
READ = 1
WRITE = 2
READWRITE = READ | WRITE
#: An io watcher whose descriptor has not been shown to the kernel yet; libev's name and number.
IOFDSET = 0x80
#: Reported together with READ and WRITE for a descriptor that is not open.  Negative, as in libev: gevent's
#: ``poll`` recognises it by that.
ERROR = -(1 << 31)

MINPRI = -2
MAXPRI = 2

#: Names of libev's backends.  Users set them (``GEVENT_BACKEND``); here there is only one way to wait.
BACKENDS = {
    "select": 1,
    "poll": 2,
    "epoll": 4,
    "kqueue": 8,
    "devpoll": 16,
    "port": 32,
    "linux_aio": 64,
    "linux_iouring": 128,
}
_FLAGS = {
    "noenv": 0x01000000,
    "forkcheck": 0x02000000,
    "nosigmask": 0x00400000,
    "signalfd": 0x00200000,
}

_EVENT_NAMES = ((READ, "READ"), (WRITE, "WRITE"), (IOFDSET, "_IOFDSET"))


class _Events:
    """Stands for the reported events among the arguments of an io watcher's callback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "gevent.core.EVENTS"


EVENTS = _Events()


def events_to_str(events: int) -> str:
    """The names of the bits in `events`, joined by ``|``."""
    names = []
    if events & ERROR:
        names.append("ERROR")
    # The sign bit of a number of 32 bits.
    rest = events & 0x7FFFFFFF
    for bit, name in _EVENT_NAMES:
        if rest & bit:
            names.append(name)
            rest &= ~bit
    if rest:
        names.append(hex(rest))
    return "|".join(names)


def backend_flags(flags: int | str | Iterable[str] | None) -> int:
    """Check what a user asks of a libev loop and return it as a number.  It has no effect here.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a number nor names.
    """
    if flags is None:
        return 0
    if isinstance(flags, int):
        return flags
    if isinstance(flags, str):
        flags = flags.split(",")
    number = 0
    for name in flags:
        name = name.strip().lower()
        if name:
            try:
                number |= BACKENDS[name] if name in BACKENDS else _FLAGS[name]
            except KeyError:
                known = ", ".join(sorted((*BACKENDS, *_FLAGS)))
                raise ValueError(
                    f"invalid backend or flag: {name!r}; possible values: {known}"
                ) from None
    return number


# A kernel event, to the events of a watcher; as in libev, errors and hang-ups go to both directions.
if hasattr(select, "epoll"):
    _READ_BITS = select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP
    _WRITE_BITS = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP
    #: Indexed by the low bits of what epoll reports.
    REVENTS: tuple[int, ...] = tuple(
        (READ if bits & _READ_BITS else 0) | (WRITE if bits & _WRITE_BITS else 0)
        for bits in range(64)
    )
    #: Indexed by READ and WRITE.
    MASKS: tuple[int, ...] = (0, select.EPOLLIN, select.EPOLLOUT, select.EPOLLIN | select.EPOLLOUT)
