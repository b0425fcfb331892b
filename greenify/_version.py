"""The version, in its one place: setup.cfg reads it from here without importing greenify."""

__version__ = "0.2.0"
