"""examples/chat.py: tasks and channels, with nothing patched; many clients at once."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.support import EXAMPLES, RunningPython, run_python, running_python

CHAT = EXAMPLES / "chat.py"

# Under the launcher the same program shares the hub with patched code.
everywhere = pytest.mark.parametrize("patched", [False, True], ids=["unpatched", "patched"])


class Person:
    """A client that knows what it should hear."""

    def __init__(self, address: str, name: str) -> None:
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), 20)
        self.lines = self.sock.makefile("r", encoding="utf-8")
        self.say(name)

    def say(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\n")

    def hear(self) -> str:
        return self.lines.readline().rstrip("\n")

    def leave(self) -> None:
        self.sock.close()
        self.lines.close()


@contextlib.contextmanager
def chatting(patched: bool) -> Iterator[tuple[RunningPython, str]]:
    with running_python(CHAT, "serve", greenify=patched) as server:
        yield server, server.readline().removeprefix("listening on ")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.stderr == ""


@everywhere
def test_conversation(patched: bool) -> None:
    with chatting(patched) as (_, address):
        ada = Person(address, "Ada")
        assert ada.hear() == "* hello Ada, here are: nobody"
        bob = Person(address, "Bob")
        assert bob.hear() == "* hello Bob, here are: Ada"
        assert ada.hear() == "* Bob has joined"
        bob.say("good morning")
        assert ada.hear() == "Bob: good morning"
        ada.say("ça va?")
        assert bob.hear() == "Ada: ça va?"
        impostor = Person(address, "Bob")
        assert impostor.hear() == "* the name 'Bob' is taken"
        assert impostor.hear() == ""
        impostor.leave()
        bob.leave()
        assert ada.hear() == "* Bob has left"
        again = Person(address, "Bob")
        assert again.hear() == "* hello Bob, here are: Ada"
        for each in (ada, again):
            each.leave()


@everywhere
def test_a_crowd(patched: bool) -> None:
    """Everybody hears everything the others say, each speaker's lines in order."""
    with chatting(patched) as (_, address):
        people = []
        for number in range(20):
            people.append(Person(address, f"P{number}"))
            assert people[-1].hear().startswith("* hello")
        for number, person in enumerate(people):
            for _ in range(number + 1, 20):
                assert person.hear().endswith("has joined")
        for line in range(3):
            for person in people:
                person.say(str(line))
        for number, person in enumerate(people):
            heard = [person.hear() for _ in range(19 * 3)]
            for other in set(range(20)) - {number}:
                said = [text for text in heard if text.startswith(f"P{other}:")]
                assert said == [f"P{other}: {line}" for line in range(3)]
        for person in people:
            person.leave()


@everywhere
def test_who_reads_too_slowly_is_shown_out(patched: bool) -> None:
    with chatting(patched) as (_, address):
        slow = Person(address, "Slow")
        assert slow.hear().startswith("* hello")
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        fast = Person(address, "Fast")
        assert fast.hear() == "* hello Fast, here are: Slow"
        fast.sock.settimeout(0.001)
        heard = b""
        text = b"x" * 900 + b"\n"
        for _ in range(200_000):
            fast.sock.settimeout(20)
            fast.sock.sendall(text)
            fast.sock.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                heard += fast.sock.recv(1000)
                break
        assert heard == b"* Slow has left\n"
        for each in (slow, fast):
            each.leave()


@everywhere
def test_the_client(patched: bool) -> None:
    with chatting(patched) as (_, address):
        ada = Person(address, "Ada")
        assert ada.hear().startswith("* hello")
        done = run_python(
            CHAT, "talk", address, "Bob", input="hello\nbye\n", greenify=patched, check=True
        )
        assert done.stdout == "* hello Bob, here are: Ada\n"
        heard = [ada.hear() for _ in range(4)]
        assert heard == ["* Bob has joined", "Bob: hello", "Bob: bye", "* Bob has left"]
        ada.leave()


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        done = run_python(CHAT, "talk", address, "Ada", greenify=False)
    assert done.returncode == 1 and "refused" in done.stderr
