"""Cooperative twins of standard library modules, usable with nothing patched.

    from greenify.green import queue, select, socket, ssl, subprocess, threading, time

There are also io, os, selectors, signal and _thread.  Each has everything that the standard module has: what
waits lets the other tasks run, the rest is the standard library's own.  For modules that use these,
`greenify.import_patched` makes copies.
"""
