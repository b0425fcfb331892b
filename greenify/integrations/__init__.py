"""Adapters for other people's systems."""
