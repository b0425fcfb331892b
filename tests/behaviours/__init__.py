"""What passes with real threads passes under greenify: the behaviours that other layers are known to break.

One file for each of them.  A scenario is ordinary user code; it runs with real threads first, and the same
code has to do the same under greenify.
"""
