"""Making gevent use this loop."""

from __future__ import annotations

import gevent
from gevent._hub_local import get_hub_if_exists

from greenify.errors import HubError
from greenify.integrations.gevent.loop import loop

__all__ = ["install"]


def install() -> None:
    """Make gevent use greenify's loop in every OS thread.

    The environment variable ``GEVENT_LOOP=greenify.integrations.gevent.loop`` does the same without a change
    in the program.

    Raises:
        HubError: gevent's hub exists already, with another loop.
    """
    hub = get_hub_if_exists()
    if hub is not None and not isinstance(hub.loop, loop):
        raise HubError(
            f"gevent's hub runs on {type(hub.loop).__module__} already: call install() before anything that "
            "waits, spawns or patches (gevent.monkey.patch_all() makes the hub), or set "
            "GEVENT_LOOP=greenify.integrations.gevent.loop in the environment"
        )
    gevent.config.loop = loop
