"""`io` and `open`: files that wait for others (pipes, terminals, sockets, FIFOs), and the standard streams.

Regular files keep the standard objects.  Also in `_io`, from which `io` takes everything.
"""

from __future__ import annotations

import _io
import builtins
import io
import sys

from greenify.green._files import buffered, fileobject, standard_streams
from greenify.patches.journal import Journal
from greenify.patches.record import Patch

__all__ = ["PATCHES", "finish"]

_replaced = {
    "open": fileobject.open,
    "FileIO": fileobject.CooperativeFileIO,
    "BufferedReader": buffered.CooperativeBufferedReader,
    "BufferedWriter": buffered.CooperativeBufferedWriter,
    "BufferedRandom": buffered.CooperativeBufferedRandom,
    "BufferedRWPair": buffered.CooperativeBufferedRWPair,
}

PATCHES = (
    Patch(builtins, replace={"open": fileobject.open, "input": standard_streams.input}),
    Patch(io, replace=_replaced),
    Patch(_io, replace=_replaced),
)


def finish(journal: Journal) -> None:
    """Make the standard streams cooperative."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        undo = standard_streams.make_cooperative(stream)
        if undo is not None:
            journal.on_undo(undo)
