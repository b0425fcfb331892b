"""The counterparts in asyncio's own idiom; uvloop runs the same on its loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.sample import Sample
from benchmarks.workloads.network import tls_pair

__all__ = [
    "condition_contended",
    "echo",
    "event_contended",
    "fan_out",
    "fresh",
    "held_alone",
    "held_in_turn",
    "keep_alive",
    "lookups",
    "ping_pong",
    "sleepers",
    "slow_answers",
    "spawn",
    "subprocesses",
    "switch",
    "tls_echo",
]


def _timed(operations: int, body: Callable[[], Coroutine[Any, Any, object]]) -> Sample:
    async def main() -> float:
        begun = time.perf_counter()
        await body()
        return time.perf_counter() - begun

    return Sample(asyncio.run(main()) / operations)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    try:
        while True:
            writer.write(await reader.readexactly(size))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    size: int,
    operations: int,
    timeout: float | None,
) -> None:
    message = b"x" * size
    for _ in range(operations):
        writer.write(message)
        await writer.drain()
        if timeout is None:
            await reader.readexactly(size)
        else:
            await asyncio.wait_for(reader.readexactly(size), timeout)
    writer.close()


def _echo(
    connections: int,
    operations: int,
    size: int,
    timeout: float | None,
    server_context: ssl.SSLContext | None = None,
    client_context: ssl.SSLContext | None = None,
) -> Sample:
    async def main() -> float:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _serve(reader, writer, size)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context, backlog=4096)
        port = server.sockets[0].getsockname()[1]
        name = "localhost" if client_context else None
        ends = [
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=client_context, server_hostname=name
            )
            for _ in range(connections)
        ]
        begun = time.perf_counter()
        each = operations // connections
        await asyncio.gather(*(_ask(*end, size, each, timeout) for end in ends))
        return time.perf_counter() - begun

    return Sample(asyncio.run(main()) / operations)


def echo(
    connections: int, operations: int, size: int = 100, timeout: float | None = None
) -> Sample:
    """Streams at both ends, a task each."""
    return _echo(connections, operations, size, timeout)


def tls_echo(connections: int, operations: int, certificate: str, size: int = 100) -> Sample:
    """`echo` over TLS."""
    client, server = tls_pair(certificate)
    return _echo(connections, operations, size, None, server, client)


def switch(operations: int) -> Sample:
    """``asyncio.sleep(0)`` in two tasks by turns."""

    async def work() -> None:
        for _ in range(operations // 2):
            await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(work(), work())

    return _timed(operations, run)


def spawn(operations: int) -> Sample:
    """A task started and waited for."""

    async def nothing() -> None:
        pass

    async def run() -> None:
        for _ in range(operations):
            await asyncio.create_task(nothing())

    return _timed(operations, run)


def sleepers(threads: int, naps: int) -> Sample:
    """Many tasks that sleep several times; the cost is processor time per nap."""

    async def work(number: int) -> None:
        for nap in range(naps):
            await asyncio.sleep(0.1 + (number * 7919 + nap * 104729) % 1000 / 10000)

    async def run() -> float:
        begun = time.process_time()
        await asyncio.gather(*(work(number) for number in range(threads)))
        return time.process_time() - begun

    return Sample(asyncio.run(run()) / (threads * naps))


_HOLDERS: dict[str, Callable[[], Any]] = {"Lock": asyncio.Lock, "Semaphore": asyncio.Semaphore}


def held_alone(kind: str, operations: int) -> Sample:
    """A lock taken and given back."""

    async def run() -> None:
        lock = _HOLDERS[kind]()
        for _ in range(operations):
            async with lock:
                pass

    return _timed(operations, run)


def held_in_turn(kind: str, operations: int, threads: int = 10) -> Sample:
    """A lock that several tasks want, and that is held across a switch."""

    async def run() -> None:
        lock = _HOLDERS[kind]()

        async def work() -> None:
            for _ in range(operations // threads):
                async with lock:
                    await asyncio.sleep(0)

        await asyncio.gather(*(work() for _ in range(threads)))

    return _timed(operations, run)


def condition_contended(operations: int) -> Sample:
    """Two tasks that hand a turn to each other."""

    async def run() -> None:
        condition = asyncio.Condition()
        turn = [0]

        async def work(mine: int) -> None:
            for _ in range(operations):
                async with condition:
                    while turn[0] != mine:
                        await condition.wait()
                    turn[0] = 1 - mine
                    condition.notify()

        await asyncio.gather(work(0), work(1))

    return _timed(operations, run)


def event_contended(operations: int) -> Sample:
    """Two tasks that wake each other by an event each."""

    async def run() -> None:
        events = [asyncio.Event(), asyncio.Event()]

        async def work(mine: int) -> None:
            for _ in range(operations):
                await events[mine].wait()
                events[mine].clear()
                events[1 - mine].set()

        events[0].set()
        await asyncio.gather(work(0), work(1))

    return _timed(operations, run)


def ping_pong(kind: str, operations: int) -> Sample:
    """One item there, one back; asyncio has one kind of queue."""

    async def run() -> None:
        there: asyncio.Queue[int] = asyncio.Queue()
        back: asyncio.Queue[int] = asyncio.Queue()

        async def answer() -> None:
            for _ in range(operations):
                back.put_nowait(await there.get())

        other = asyncio.create_task(answer())
        for number in range(operations):
            there.put_nowait(number)
            await back.get()
        await other

    return _timed(operations, run)


def fan_out(kind: str, operations: int, consumers: int = 100) -> Sample:
    """One producer, many consumers."""

    async def run() -> None:
        items: asyncio.Queue[int | None] = asyncio.Queue()

        async def consume() -> None:
            while await items.get() is not None:
                pass

        tasks = [asyncio.create_task(consume()) for _ in range(consumers)]
        for number in range(operations):
            items.put_nowait(number)
            if number % 100 == 99:
                await asyncio.sleep(0)
        for _ in tasks:
            items.put_nowait(None)
        await asyncio.gather(*tasks)

    return _timed(operations, run)


def lookups(operations: int, threads: int = 20) -> Sample:
    """Names looked up by several tasks, which asyncio leaves to native threads."""

    async def run() -> None:
        loop = asyncio.get_running_loop()

        async def work() -> None:
            for _ in range(operations // threads):
                await loop.getaddrinfo("localhost", 80, family=socket.AF_UNSPEC)

        await asyncio.gather(*(work() for _ in range(threads)))

    return _timed(operations, run)


def subprocesses(operations: int, threads: int = 20) -> Sample:
    """Programs run to their end by several tasks."""

    async def run() -> None:
        async def work() -> None:
            for _ in range(operations // threads):
                process = await asyncio.create_subprocess_exec(
                    "true", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
                )
                await process.communicate()

        await asyncio.gather(*(work() for _ in range(threads)))

    return _timed(operations, run)


def _fetch(operations: int, url: str, workers: int, shared: bool) -> Sample:
    import aiohttp

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=not shared)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def work() -> None:
                for _ in range(operations // workers):
                    async with session.get(url) as response:
                        if response.status != 200 or len(await response.read()) < 2:
                            raise RuntimeError(f"unexpected answer {response.status}")

            await asyncio.gather(*(work() for _ in range(workers)))

    return _timed(operations, run)


def keep_alive(operations: int, nginx: str, workers: int = 10) -> Sample:
    """aiohttp, connections kept."""
    return _fetch(operations, nginx, workers, shared=True)


def fresh(operations: int, nginx: str, workers: int = 10) -> Sample:
    """aiohttp, a connection per request."""
    return _fetch(operations, nginx, workers, shared=False)


def slow_answers(operations: int, slow: str, workers: int = 1000) -> Sample:
    """aiohttp, many workers, each waiting 200 ms for every answer."""
    return _fetch(operations, slow, workers, shared=True)
