"""An HTTP server that answers every request after 200 ms: ``python -m benchmarks.slow_server PORT``."""

from __future__ import annotations

import asyncio
import sys

__all__ = ["main"]

_DELAY = 0.2  # seconds
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(_DELAY)
            writer.write(_ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has gone
    finally:
        writer.close()


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Serve until the process is ended."""
    asyncio.run(_main(int(sys.argv[1])))


if __name__ == "__main__":
    main()
