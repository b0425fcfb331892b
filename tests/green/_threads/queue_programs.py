"""What programs about `queue.Queue` begin with."""

from __future__ import annotations

__all__ = ["START"]

START = """
import queue, sys, threading, time

def start(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread

def until(condition):
    while not condition():
        time.sleep(0)
"""
