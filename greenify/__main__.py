"""``python -m greenify [options] script.py args...``: run a program as Python would, but patched.

Also the console script ``greenify``.  The parts are in `greenify._launcher`.
"""

from greenify._launcher.launch import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
