"""The bundled pyuv 1.4.0 with its libuv: what ``import pyuv`` would give, under greenify's own name.

The compiled module is made from pyuv's published sdist when greenify is built (see ``build_backend/``).
Importing it leaves no trace under the name ``pyuv``: that belongs to a pyuv of the user's own.
"""

import sys

# pyuv enters its submodules in sys.modules under its own full name, whatever package it is in.
_names = [f"pyuv._cpyuv.{name}" for name in ("dns", "errno", "error", "fs", "thread", "util")]
_theirs = {name: sys.modules.pop(name) for name in _names if name in sys.modules}
try:
    from greenify._vendor.pyuv._cpyuv import *  # noqa: F403  # as pyuv's own __init__
finally:
    for _name in _names:
        sys.modules.pop(_name, None)
    sys.modules.update(_theirs)
    del _name, _names, _theirs

__version__ = "1.4.0"
