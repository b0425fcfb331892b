"""``python -m greenify``: run a program as Python itself would, but patched."""
