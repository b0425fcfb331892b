"""greenify: blocking Python made cooperative."""

from greenify._version import __version__

__all__ = ["__version__"]
