"""A client of the Debug Adapter Protocol, over a socket: as much as a test of breakpoints needs."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integrations.hosts.hosting import TIMEOUT

Message = dict[str, Any]


class Debugger:
    """One session with debugpy."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(TIMEOUT)
        self._file = self._sock.makefile("rb")
        self._numbers = itertools.count(1)
        self._seen: list[Message] = []

    def close(self) -> None:
        self._file.close()
        self._sock.close()

    def send(self, command: str, **arguments: object) -> int:
        number = next(self._numbers)
        message = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self._sock.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return number

    def _read(self) -> Message:
        length = 0
        while line := self._file.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, f"the adapter has hung up; before: {self._seen}"
        message: Message = json.loads(self._file.read(length))
        return message

    def _until(self, wanted: Callable[[Message], bool]) -> Message:
        for index, message in enumerate(self._seen):
            if wanted(message):
                return self._seen.pop(index)
        while True:
            try:
                message = self._read()
            except TimeoutError:
                raise AssertionError(f"nothing more; before: {self._seen}") from None
            if wanted(message):
                return message
            self._seen.append(message)

    def answer(self, number: int) -> Message:
        """The body of the answer to a request that was sent."""
        message = self._until(lambda m: m["type"] == "response" and m["request_seq"] == number)
        assert message["success"], message
        body: Message = message.get("body") or {}
        return body

    def ask(self, command: str, **arguments: object) -> Message:
        return self.answer(self.send(command, **arguments))

    def event(self, name: str) -> Message:
        """The body of the next event of that name."""
        message = self._until(lambda m: m["type"] == "event" and m["event"] == name)
        body: Message = message.get("body") or {}
        return body

    def begin(self, kind: str, path: Path, lines: list[int], **arguments: object) -> None:
        """Initialise, ``launch`` or ``attach``, and set breakpoints; the program runs from here on."""
        self.ask("initialize", adapterID="python", pathFormat="path")
        number = self.send(kind, justMyCode=True, **arguments)
        self.event("initialized")
        points = [{"line": line} for line in lines]
        found = self.ask("setBreakpoints", source={"path": str(path)}, breakpoints=points)
        assert all(point["verified"] for point in found["breakpoints"]), found
        self.ask("configurationDone")
        self.answer(number)

    def stopped(self) -> tuple[int, int, str]:
        """Wait for a stop: the thread, the line, and what `name` evaluates to there."""
        thread: int = self.event("stopped")["threadId"]
        frame = self.ask("stackTrace", threadId=thread)["stackFrames"][0]
        value: str = self.ask("evaluate", expression="name", frameId=frame["id"])["result"]
        return thread, frame["line"], value
