"""A chat server: a task for each client, and channels between them.  Nothing is patched.

    $ python examples/chat.py serve --port 8000
    $ python examples/chat.py talk 127.0.0.1:8000 Ada          # what is typed is said

A client sends its name in the first line and then what it has to say, a line at a time.  One task, the room,
knows who is there; the others talk to it through a channel, so nothing is shared and nothing needs a lock.  A
client that reads too slowly is shown out: its channel has a buffer, and the room never waits for it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import dataclass, field

import greenify
from greenify import Channel, ChannelClosed, TaskExit, spawn
from greenify.green import socket

BACKLOG = 100  # lines that a client may be behind
LONGEST = 1000  # bytes of a line


@dataclass(eq=False)
class Client:
    """Somebody in the room."""

    name: str
    outgoing: Channel[str] = field(default_factory=lambda: Channel(BACKLOG))


@dataclass
class Joined:
    """To the room: somebody has come."""

    client: Client


@dataclass
class Said:
    """To the room: somebody has said something."""

    client: Client
    text: str


@dataclass
class Left:
    """To the room: somebody has gone."""

    client: Client


Message = Joined | Said | Left


def room(messages: Channel[Message]) -> None:
    """The one task that knows who is there."""
    clients: dict[str, Client] = {}

    def tell(text: str, besides: Client | None = None) -> None:
        for client in list(clients.values()):
            if client is besides:
                continue
            try:
                client.outgoing.send(text, timeout=0)
            except (TimeoutError, ChannelClosed):
                remove(client)  # too slow, or its writer has found that it has hung up

    def remove(client: Client) -> None:
        if clients.get(client.name) is client:
            del clients[client.name]
            client.outgoing.close()
            tell(f"* {client.name} has left")

    for message in messages:
        client = message.client
        match message:
            case Joined() if client.name in clients or not client.name:
                client.outgoing.send(f"* the name {client.name!r} is taken")
                client.outgoing.close()
            case Joined():
                others = ", ".join(sorted(clients)) or "nobody"
                client.outgoing.send(f"* hello {client.name}, here are: {others}")
                clients[client.name] = client
                tell(f"* {client.name} has joined", besides=client)
            case Said() if clients.get(client.name) is client:
                tell(f"{client.name}: {message.text}", besides=client)
            case Left():
                remove(client)


def write(connection: socket.socket, outgoing: Channel[str]) -> None:
    """Send a client what it is told, until its channel is closed."""
    try:
        for text in outgoing:
            connection.sendall(text.encode() + b"\n")
        connection.shutdown(socket.SHUT_RDWR)  # its reader wakes up, too
    except OSError:
        outgoing.close()  # it has hung up


def serve_client(connection: socket.socket, messages: Channel[Message]) -> None:
    """Read what a client says."""
    with connection, connection.makefile("rb") as lines:

        def read() -> str:
            return lines.readline(LONGEST).decode("utf-8", "replace").strip()

        client = Client(read())
        writer = spawn(write, connection, client.outgoing)
        messages.send(Joined(client))
        try:
            while text := read():
                messages.send(Said(client, text))
        except OSError:
            pass  # it has hung up
        finally:
            messages.send(Left(client))
            client.outgoing.close()
            writer.join()


def serve(port: int) -> None:
    """Accept clients until SIGTERM or Ctrl-C."""
    messages: Channel[Message] = Channel()
    listener = socket.create_server(("127.0.0.1", port))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            spawn(serve_client, connection, messages)

    spawn(room, messages)
    accepting = spawn(accept)
    for number in (signal.SIGTERM, signal.SIGINT):
        greenify.add_signal_handler(number, greenify.stop)
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    greenify.run()
    accepting.kill(TaskExit)
    accepting.join()
    listener.close()


def talk(address: str, name: str) -> None:
    """Say what comes from standard input; print what the others say."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:

        def show() -> None:
            with connection.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    print(line, end="", flush=True)

        showing = spawn(show)
        connection.sendall(name.encode() + b"\n")
        while line := greenify.run_in_thread(sys.stdin.readline):
            connection.sendall(line.encode())
        connection.shutdown(socket.SHUT_WR)
        showing.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    server = commands.add_parser("serve", help="run the server")
    server.add_argument("--port", type=int, default=0, help="by default any that is free")
    server.set_defaults(run=lambda options: serve(options.port))
    client = commands.add_parser("talk", help="take part")
    client.add_argument("address", help="host:port")
    client.add_argument("name")
    client.set_defaults(run=lambda options: talk(options.address, options.name))
    options = parser.parse_args()
    try:
        options.run(options)
    except (ChannelClosed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
