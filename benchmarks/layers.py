"""The layers: how a child process comes to run under each of them."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from dataclasses import dataclass

__all__ = ["LAYERS", "Layer", "version_of"]


@dataclass(frozen=True)
class Layer:
    """One way to run a workload.

    Attributes:
        name: as on the command line and in the tables.
        enter: what a program of the user says at its very top, as source; empty if there is nothing to say.
        packages: what has to be installed for it.
        idiom: it has programs of its own (asyncio) or a plain loop (floor) in place of the common source.
        launcher: arguments for Python that come before the program.
    """

    name: str
    enter: str = ""
    packages: tuple[str, ...] = ()
    idiom: bool = False
    launcher: tuple[str, ...] = ()

    def missing(self) -> str:
        """The name of the first package that is not installed, or an empty string."""
        for package in self.packages:
            try:
                importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                return package
        return ""


# The same gevent on other loops than libev: for the rows that compare loops.
_GEVENT_ON = (
    "import os; os.environ['GEVENT_LOOP'] = '{}'\nfrom gevent import monkey; monkey.patch_all()"
)

_ALL = (
    Layer(
        "greenify",
        "import greenify; greenify.patch_all()",
        launcher=("-m", "greenify"),
    ),
    # Everything is written down and packed; where it is kept does not matter.
    Layer(
        "greenify-traced", f"import greenify; greenify.patch_all(); greenify.trace({os.devnull!r})"
    ),
    Layer("greenify-watched", "import greenify; greenify.patch_all(); greenify.watch(0.1)"),
    Layer("gevent", "from gevent import monkey; monkey.patch_all()", ("gevent",)),
    Layer("eventlet", "import eventlet; eventlet.monkey_patch()", ("eventlet",)),
    Layer("gevent-libuv", _GEVENT_ON.format("libuv-cffi"), ("gevent",)),
    Layer("gevent-greenify", _GEVENT_ON.format("greenify.integrations.gevent.loop"), ("gevent",)),
    Layer("threads"),
    Layer("asyncio", idiom=True),
    Layer(
        "uvloop",
        "import asyncio, uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())",
        ("uvloop",),
        idiom=True,
    ),
    # One request after the other: for the rows of servers.
    Layer("sync", packages=("gunicorn",)),
    Layer("floor", idiom=True),
)
LAYERS = {layer.name: layer for layer in _ALL}


def version_of(layer: Layer) -> str:
    """The version of what makes the layer; Python's own where it is Python itself."""
    if layer.name in ("greenify", "greenify-traced", "greenify-watched"):
        return str(importlib.import_module("greenify").__version__)
    if layer.packages:
        return importlib.metadata.version(layer.packages[0])
    return "Python " + sys.version.split()[0]
