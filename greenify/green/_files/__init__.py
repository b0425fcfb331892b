"""Pipes, terminals and the standard streams."""
