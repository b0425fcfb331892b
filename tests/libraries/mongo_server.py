"""A server that speaks a little of MongoDB's wire protocol, for pymongo's tests: it is not MongoDB.

No package of Debian's, PyPI's or npm's carries a server that does: Debian has none since MongoDB changed its
licence, what PyPI and npm have either downloads one or runs inside of the client's process, and FerretDB is
to be had as source in Go only.  So this is what the client needs of one, over real sockets, in a process of
its own that knows nothing of greenify: OP_MSG and the OP_QUERY of the first greeting, with pymongo's own
``bson``.  It keeps documents in memory, and does exactly this much:

- ``insert`` (a second one with the same ``_id`` is refused), ``delete`` and ``find`` by equal fields;
- ``findAndModify`` with ``$inc``, atomically;
- cursors: ``batchSize``, ``getMore``, ``killCursors``; `cursors` tells how many are open;
- a `find` with ``{"$where": "sleep(300) || true"}`` answers 300 milliseconds later, or is refused after
  ``maxTimeMS``.

Run it as a program: it prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import itertools
import re
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

# pymongo's, which need not be installed where this is only checked.
bson: Any = import_module("bson")

# The numbers of the kinds of messages.
REPLY, QUERY, MESSAGE = 1, 2004, 2013

_MORE_TO_COME = 1 << 1


class Refused(Exception):
    """A command that fails, with MongoDB's number for the error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


Command = Callable[[dict[str, Any]], dict[str, Any]]


class Store:
    """What the connections share: the documents and the cursors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._documents: dict[str, list[dict[str, Any]]] = {}
        self._cursors: dict[int, tuple[str, list[dict[str, Any]]]] = {}
        self._numbers = itertools.count(1)
        self._commands: dict[str, Command] = {
            "hello": self._hello,
            "ismaster": self._hello,
            "isMaster": self._hello,
            "ping": lambda _: {},
            "endSessions": lambda _: {},
            "insert": self._insert,
            "delete": self._delete,
            "find": self._find,
            "findAndModify": self._find_and_modify,
            "getMore": self._get_more,
            "killCursors": self._kill_cursors,
            "cursors": lambda _: {"open": len(self._cursors)},
        }

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(asked))
        try:
            command = self._commands.get(name)
            if command is None:
                raise Refused(59, f"no such command: '{name}'")
            return {**command(asked), "ok": 1.0}
        except Refused as exc:
            return {"ok": 0.0, "errmsg": str(exc), "code": exc.code}

    def _hello(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "helloOk": True,
            "ismaster": True,
            "isWritablePrimary": True,
            "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "logicalSessionTimeoutMinutes": 30,
            "connectionId": threading.get_native_id(),
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": False,
        }

    def _insert(self, asked: dict[str, Any]) -> dict[str, Any]:
        errors = []
        with self._lock:
            kept = self._documents.setdefault(asked["insert"], [])
            known = {each["_id"] for each in kept}
            for index, document in enumerate(asked["documents"]):
                if document["_id"] in known:
                    text = f"E11000 duplicate key error: {document['_id']!r}"
                    errors.append({"index": index, "code": 11000, "errmsg": text})
                    break
                known.add(document["_id"])
                kept.append(document)
        done = len(asked["documents"]) - len(errors)
        return {"n": done, **({"writeErrors": errors} if errors else {})}

    def _delete(self, asked: dict[str, Any]) -> dict[str, Any]:
        count = 0
        with self._lock:
            for each in asked["deletes"]:
                kept = self._documents.get(asked["delete"], [])
                left = [one for one in kept if not _fits(one, each["q"])]
                count += len(kept) - len(left)
                self._documents[asked["delete"]] = left
        return {"n": count}

    def _find(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = dict(asked.get("filter", {}))
        pause = re.fullmatch(r"sleep\((\d+)\) \|\| true", wanted.pop("$where", "sleep(0) || true"))
        if pause is None:
            raise Refused(2, "this server knows no JavaScript but a sleep")
        delay, limit = int(pause[1]), asked.get("maxTimeMS", 0)
        if limit and delay > limit:
            time.sleep(limit / 1000)
            raise Refused(50, "operation exceeded time limit")
        time.sleep(delay / 1000)
        with self._lock:
            found = [each for each in self._documents.get(asked["find"], []) if _fits(each, wanted)]
        if asked.get("limit"):
            found = found[: asked["limit"]]
        place = f"{asked['$db']}.{asked['find']}"
        return self._batch(place, found, asked.get("batchSize", 101), "firstBatch")

    def _batch(
        self, place: str, left: list[dict[str, Any]], size: int, name: str, number: int = 0
    ) -> dict[str, Any]:
        batch, left = left[:size], left[size:]
        with self._lock:
            if left:
                number = number or next(self._numbers)
                self._cursors[number] = place, left
            else:
                self._cursors.pop(number, None)
                number = 0
        return {"cursor": {"id": bson.Int64(number), "ns": place, name: batch}}

    def _get_more(self, asked: dict[str, Any]) -> dict[str, Any]:
        number = asked["getMore"]
        if number not in self._cursors:
            raise Refused(43, f"cursor id {number} not found")
        place, left = self._cursors[number]
        return self._batch(place, left, asked.get("batchSize", len(left)), "nextBatch", number)

    def _kill_cursors(self, asked: dict[str, Any]) -> dict[str, Any]:
        killed = [each for each in asked["cursors"] if self._cursors.pop(each, None)]
        return {"cursorsKilled": killed}

    def _find_and_modify(self, asked: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            for each in self._documents.get(asked["findAndModify"], []):
                if _fits(each, asked["query"]):
                    before = dict(each)
                    for name, amount in asked["update"]["$inc"].items():
                        each[name] = each.get(name, 0) + amount
                    return {"value": dict(each) if asked.get("new") else before}
        return {"value": None}


def _fits(document: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(document.get(name) == value for name, value in wanted.items())


class Connection(socketserver.StreamRequestHandler):
    """Answers one message after the other, as MongoDB does."""

    disable_nagle_algorithm = True
    store: Store

    def handle(self) -> None:
        try:
            while head := self.rfile.read(16):
                size, number, _, kind = struct.unpack("<iiii", head)
                self._message(number, kind, self.rfile.read(size - 16))
        except OSError:
            pass  # the client has gone, in the middle of its wait for instance

    def _message(self, number: int, kind: int, body: bytes) -> None:
        if kind == QUERY:
            # flags, the collection's name, how many to skip and to return
            start = body.index(b"\0", 4) + 1 + 8
            size = struct.unpack_from("<i", body, start)[0]
            answer = self.store.answer(bson.decode(body[start : start + size]))
            self._send(number, REPLY, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(answer))
        elif kind == MESSAGE:
            flags = struct.unpack_from("<I", body)[0]
            answer = self.store.answer(_sections(body, 4))
            if not flags & _MORE_TO_COME:
                self._send(number, MESSAGE, struct.pack("<IB", 0, 0) + bson.encode(answer))
        else:
            raise OSError(f"an unknown kind of message: {kind}")

    def _send(self, number: int, kind: int, body: bytes) -> None:
        self.wfile.write(struct.pack("<iiii", 16 + len(body), 0, number, kind) + body)


def _sections(body: bytes, start: int) -> dict[str, Any]:
    """The command of an OP_MSG, with the lists of documents that stand beside it."""
    asked: dict[str, Any] = {}
    lists: dict[str, Any] = {}
    while start < len(body):
        kind, size = struct.unpack_from("<Bi", body, start)
        section = body[start + 1 : start + 1 + size]
        if kind:
            name, _, documents = section[4:].partition(b"\0")
            lists[name.decode()] = bson.decode_all(documents)
        else:
            asked = bson.decode(section)
        start += 1 + size
    return {**asked, **lists}


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    Connection.store = Store()
    with Server(("127.0.0.1", 0), Connection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
