"""gevent on greenify's loop.

Set ``GEVENT_LOOP=greenify.integrations.gevent.loop`` in the environment, or call `install` before gevent's
hub starts; an unmodified gevent program then runs on the loop of greenify's hub, and gevent's greenlets and
greenify's tasks of one OS thread may wait for each other.
"""

from greenify.integrations.gevent.install import install
from greenify.integrations.gevent.loop import loop

__all__ = ["install", "loop"]
