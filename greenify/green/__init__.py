"""Cooperative twins of standard library modules, usable with nothing patched."""
