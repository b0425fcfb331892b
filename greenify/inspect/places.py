"""Where the sockets lie by which processes are asked, and how both ends make sure whose they are.

A socket lies in a directory of the user's own that nobody else may enter: ``/run/user/UID/greenify``, which
the system provides for users who have logged in, or ``/tmp/greenify-UID``.  Each is called by the process:
``4242.sock``.
"""

from __future__ import annotations

import _socket
import os
import stat
import struct
import sys
from collections.abc import Iterator

__all__ = ["candidates", "directory", "peer_pid", "peer_uid", "refusal", "socket_name"]

# Of macOS: see unix(4) there.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1


def socket_name(pid: int) -> str:
    """What the socket of a process is called."""
    return f"{pid}.sock"


def candidates(uid: int) -> Iterator[str]:
    """The directories that may have the sockets of a user, the best first."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if own and uid == os.geteuid() and os.path.isabs(own):
        yield os.path.join(own, "greenify")
    yield f"/run/user/{uid}/greenify"
    yield f"/tmp/greenify-{uid}"


def refusal(path: str, uid: int) -> str | None:
    """What is wrong with a directory for sockets of the user `uid`; None if nothing is."""
    try:
        found = os.lstat(path)
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{path} is no directory"
    if found.st_uid != uid:
        return f"{path} belongs to user {found.st_uid}, not to {uid}"
    if found.st_mode & 0o077:
        return f"{path} is open to others ({stat.S_IMODE(found.st_mode):o} instead of 700)"
    return None


def directory() -> str:
    """The directory for this process's socket, made if need be.

    Raises:
        PermissionError: every place for it belongs to somebody else, or others may enter it.
    """
    uid = os.geteuid()
    problems = []
    for path in candidates(uid):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        except OSError as exc:
            problems.append(f"{path}: {exc.strerror}")
            continue
        problem = refusal(path, uid)
        if problem is None:
            return path
        problems.append(problem)
    raise PermissionError("there is no safe place for the socket: " + "; ".join(problems))


def peer_uid(sock: _socket.socket) -> int | None:
    """The user at the other end of a local socket; None if the system does not tell."""
    return _peer(sock)[1]


def peer_pid(sock: _socket.socket) -> int | None:
    """The process at the other end, or which listens there; None if the system does not tell."""
    return _peer(sock)[0]


def _peer(sock: _socket.socket) -> tuple[int | None, int | None]:
    if sys.platform == "linux":
        data = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", data)
        return pid, uid
    try:
        data = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
    except OSError:
        return None, None
    return None, struct.unpack_from("2I", data)[1]
