"""An echo server and its clients on greenify's own streams: tasks, with nothing patched.

    $ python examples/echo_tasks.py serve --port 7000          # or --path /tmp/echo, with --limit 100
    $ python examples/echo_tasks.py talk 127.0.0.1:7000 hello  # or the path
    hello

The server sends lines back until a client hangs up, serves at most `--limit` clients at once, prints its
address, and stops on SIGTERM or Ctrl-C: it accepts no more, gives the present clients `--grace` seconds to
finish, and says how much it has echoed.
"""

from __future__ import annotations

import argparse
import signal
import sys

import greenify
from greenify.io import IncompleteReadError, PipeClient, Stream, TCPClient

TIMEOUT = 10.0  # seconds


class Echo:
    """What the connections have in common."""

    def __init__(self) -> None:
        self.connections = 0
        self.lines = 0

    def handle(self, stream: Stream) -> None:
        self.connections += 1
        try:
            while True:
                stream.write(stream.read_until(b"\n", limit=100_000))
                self.lines += 1
        except IncompleteReadError as end:
            stream.write(end.partial)


def serve(options: argparse.Namespace) -> int:
    echo = Echo()
    address = options.path or (options.host, options.port)
    server = greenify.StreamServer(
        address, echo.handle, limit=options.limit, grace=options.grace, name="echo"
    )
    stop = greenify.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        greenify.add_signal_handler(number, stop.set)
    with server:
        shown = options.path or "{}:{}".format(*server.address)
        print(f"listening on {shown}", flush=True)
        stop.wait()
    print(f"{echo.connections} connections, {echo.lines} lines echoed")
    return 0


def talk(options: argparse.Namespace) -> int:
    host, colon, port = options.address.rpartition(":")
    with (
        TCPClient((host, int(port)), timeout=TIMEOUT)
        if colon
        else PipeClient(options.address, timeout=TIMEOUT)
    ) as stream:
        for word in options.words:
            stream.write(f"{word}\n".encode())
        stream.shutdown()
        sys.stdout.write(stream.read_all().decode())
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Echo lines, or have them echoed.")
    commands = parser.add_subparsers(required=True)
    server = commands.add_parser("serve")
    server.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    server.add_argument("--port", type=int, default=0, help="default: a free one")
    server.add_argument("--path", help="a local socket instead")
    server.add_argument("--limit", type=int, default=1000, help="clients at once, default: 1000")
    server.add_argument("--grace", type=float, default=1.0, help="seconds, default: 1")
    server.set_defaults(run=serve)
    client = commands.add_parser("talk")
    client.add_argument("address", help="HOST:PORT or a path")
    client.add_argument("words", nargs="+")
    client.set_defaults(run=talk)
    options = parser.parse_args()
    result: int = options.run(options)
    return result


if __name__ == "__main__":
    sys.exit(main())
