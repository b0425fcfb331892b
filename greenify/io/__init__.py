"""Streams on libuv's own handles: TCP with TLS, local sockets, UDP, terminals, the standard streams.

They need no patching and share the hub with everything else.  Reading keeps what it has not returned,
writing waits for slow readers, every wait can be interrupted, and every error is a `UVError`, which also is
the standard library's error for the same thing.
"""

from greenify.errors import (
    IncompleteReadError,
    ReadLimitError,
    StreamClosedError,
    UVError,
    UVTimeoutError,
)
from greenify.io.pipes import PipeClient, PipeServer, PipeStream
from greenify.io.streams import Stream
from greenify.io.tcp import TCPClient, TCPServer, TCPStream
from greenify.io.terminal import StderrStream, StdinStream, StdoutStream, TTYStream
from greenify.io.udp import UDPEndpoint

__all__ = [
    "IncompleteReadError",
    "PipeClient",
    "PipeServer",
    "PipeStream",
    "ReadLimitError",
    "StderrStream",
    "StdinStream",
    "StdoutStream",
    "Stream",
    "StreamClosedError",
    "TCPClient",
    "TCPServer",
    "TCPStream",
    "TTYStream",
    "UDPEndpoint",
    "UVError",
    "UVTimeoutError",
]
