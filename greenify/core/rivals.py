"""Whether another layer has replaced what the engine is built on; then this cannot be imported."""

from __future__ import annotations

import sys
from typing import Any

from greenify.errors import HubError

__all__ = ["rival"]


def _gevent() -> bool:
    state: Any = sys.modules.get("gevent.monkey._state") or sys.modules.get("gevent.monkey")
    saved = getattr(state, "saved", {})
    return any(saved.get(name) for name in ("_thread", "os", "select", "signal", "socket", "time"))


def _eventlet() -> bool:
    patcher: Any = sys.modules.get("eventlet.patcher")
    return bool(getattr(patcher, "already_patched", None))


def rival() -> str | None:
    """What is wrong and what helps, if gevent or eventlet has patched this process; else None."""
    if _gevent():
        return (
            "gevent.monkey has patched this process, and two layers cannot replace the same functions. "
            "Remove the call of gevent.monkey, or run gevent itself on greenify's loop: set "
            "GEVENT_LOOP=greenify.integrations.gevent.loop in the environment, or call "
            "greenify.integrations.gevent.install() before gevent.monkey"
        )
    if _eventlet():
        return (
            "eventlet has patched this process, and two layers cannot replace the same functions. Remove the "
            "call of eventlet.monkey_patch()"
        )
    return None


# The engine's files keep the functions of the operating system as they find them.
_problem = rival()
if _problem is not None:
    raise HubError(_problem)
