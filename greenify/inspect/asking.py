"""Asking another process who waits for what there."""

from __future__ import annotations

import _socket
import json
import os
import pwd
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from greenify.errors import GreenifyError
from greenify.inspect.places import candidates, peer_pid, peer_uid, refusal, socket_name

__all__ = ["NoAnswerError", "ask", "processes"]

# Seconds for an answer, and for a process to open its socket when it has been asked to.
_PATIENCE = 5.0
_OPENING = 5.0
# For one that has closed its socket's descriptor to open another one; it tries for two seconds itself.
_REOPENING = 3.0
# Whoever begins to listen removes sockets that nobody listens on, also in the moment in which one is opened
# again: it is missing for so long.
_BREAK = 0.2
# After so many of them the process is woken.
_NUDGE = 0.3


class NoAnswerError(GreenifyError):
    """A process cannot be asked, or does not answer; the message says what to do."""


def _owner(pid: int) -> int:
    """The user of a process."""
    if pid <= 0:
        # To kill(2) these are groups.
        raise NoAnswerError(f"there is no process {pid}")
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise NoAnswerError(f"there is no process {pid}") from None
    except PermissionError:
        raise NoAnswerError(f"process {pid} belongs to another user") from None
    return os.geteuid()


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _find(pid: int, uid: int) -> str | None:
    """The socket of a process, or None."""
    for folder in candidates(uid):
        # A process may have a file system of its own.
        for root in ("", f"/proc/{pid}/root"):
            place = root + folder
            path = os.path.join(place, socket_name(pid))
            try:
                there = os.path.exists(path) and refusal(place, uid) is None
            except OSError:
                continue
            if there:
                return path
    return None


def processes() -> Iterator[int]:
    """The processes of this user that can be asked."""
    uid = os.geteuid()
    seen: set[int] = set()
    for folder in candidates(uid):
        if refusal(folder, uid) is None:
            for name in os.listdir(folder):
                stem, _, end = name.partition(".")
                if stem.isdecimal() and end == "sock" and int(stem) not in seen:
                    pid = int(stem)
                    seen.add(pid)
                    if _connects(os.path.join(folder, name)):
                        yield pid


def _connects(path: str) -> bool:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(_PATIENCE)
        sock.connect(path)
    except OSError:
        return False
    finally:
        sock.close()
    return True


def ask(pid: int, what: str, **details: Any) -> dict[str, Any]:
    """Ask a process, and return its answer.

    Raises:
        NoAnswerError: it does not exist, is another user's, has no socket, or does not answer in time.
    """
    uid = _owner(pid)
    path = _find(pid, uid)
    if path is None:
        if uid != os.geteuid() != 0:
            raise NoAnswerError(f"process {pid} belongs to user {_user(uid)}: ask as that user")
        path = _open_there(pid, uid)
    request = json.dumps({"ask": what, **details}).encode() + b"\n"
    try:
        answer = _exchange_again(path, request, pid, uid)
    except (ConnectionError, FileNotFoundError):
        raise NoAnswerError(f"process {pid} has closed its socket, {path}") from None
    except TimeoutError:
        raise NoAnswerError(
            f"process {pid} does not answer within {_PATIENCE:.0f} s: it is stopped, or C code in it "
            "keeps the interpreter lock"
        ) from None
    except OSError as exc:
        raise NoAnswerError(f"process {pid} cannot be asked: {path}: {exc.strerror}") from None
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise NoAnswerError(f"process {pid} has ended in the middle of its answer") from None
    if "error" in found:
        raise NoAnswerError(f"process {pid}: {found['error']}")
    return found


def _exchange_again(path: str, request: bytes, pid: int, uid: int) -> bytes:
    """`_exchange`, with a process that may have closed the descriptor of its socket, as daemons do.

    It learns of that when somebody comes, lets him go, and opens another one.
    """
    begun = time.monotonic()
    while True:
        try:
            return _exchange(path, request, pid, uid)
        except (ConnectionError, FileNotFoundError) as exc:
            limit = _BREAK if isinstance(exc, FileNotFoundError) else _REOPENING
            if time.monotonic() - begun >= limit:
                raise
        _owner(pid)  # it may have ended
        time.sleep(0.02)


def _exchange(path: str, request: bytes, pid: int, uid: int) -> bytes:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(_PATIENCE)
        sock.connect(path)
        # Who listens there is the process itself: nobody else could have put the socket into the directory.
        if peer_uid(sock) not in (uid, None):
            raise NoAnswerError(f"{path} is not the socket of user {uid}")
        owner = peer_pid(sock)
        if owner not in (pid, None) and not path.startswith("/proc/"):
            raise NoAnswerError(f"{path} is the socket of process {owner}, not of {pid}")
        sock.sendall(request)
        pieces: list[bytes] = []
        while True:
            piece = sock.recv(1 << 20)
            if not piece:
                if not pieces:
                    raise ConnectionResetError
                return b"".join(pieces)
            pieces.append(piece)
    finally:
        sock.close()


# Processes that were not prepared, from CPython 3.14 on.

_PROGRAM = """\
import sys
try:
    import greenify.core
except ImportError:
    sys.path.append({path!r})
import greenify.inspect
greenify.inspect.listen()
"""


def _open_there(pid: int, uid: int) -> str:
    """Have a process open its socket: with `sys.remote_exec`, between two instructions of its main thread."""
    remote_exec = getattr(sys, "remote_exec", None)
    start = (
        "start it with GREENIFY_INSPECT=1, or with python -m greenify --inspect, or call "
        "greenify.inspect.listen() in it"
    )
    if remote_exec is None:
        time.sleep(_BREAK)
        path = _find(pid, uid)
        if path is not None:
            return path
        raise NoAnswerError(f"process {pid} has no socket: {start} (or ask from CPython 3.14 on)")
    folder = str(Path(__file__).parents[2])
    file, name = tempfile.mkstemp(suffix=".py")
    try:
        with open(file, "w", encoding="utf-8") as program:
            program.write(_PROGRAM.format(path=folder))
        if os.geteuid() == 0 and uid != 0:
            os.chown(name, uid, -1)
        try:
            remote_exec(pid, name)
        except (OSError, RuntimeError) as exc:
            raise NoAnswerError(
                f"process {pid} has no socket, and opens none ({exc}): {start}"
            ) from None
        return _await_socket(pid, uid, start)
    finally:
        os.unlink(name)


def _await_socket(pid: int, uid: int, start: str) -> str:
    begin = time.monotonic()
    nudged = False
    while True:
        path = _find(pid, uid)
        if path is not None and _connects(path):
            return path
        passed = time.monotonic() - begin
        if passed > _OPENING:
            raise NoAnswerError(
                f"process {pid} has no socket, and its main thread does not come to opening one: {start}"
            )
        if passed > _NUDGE and not nudged:
            nudged = True
            _wake(pid)
        time.sleep(0.02)


def _wake(pid: int) -> None:
    """Have the main thread of a process that sleeps in the kernel run some instructions.

    By the signal of the time slices, where the process has a handler for it: that changes nothing for it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt" and int(value, 16) >> (signal.SIGVTALRM - 1) & 1:
            os.kill(pid, signal.SIGVTALRM)
