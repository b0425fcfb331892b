"""How waits for the kernel are told: sockets, pipes, names, children, calls on native threads."""

from __future__ import annotations

import _socket
import os
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from greenify.inspect.names import function_name
from greenify.inspect.record import LATER, Context, Wait, completes, describes

__all__ = ["SOCKETS", "address_text", "fds_text"]

_Locals = Mapping[str, Any]

_socket_type = _socket.socket
_fileno = _socket.socket.fileno
_getpeername = _socket.socket.getpeername
_getsockname = _socket.socket.getsockname
_readlink = os.readlink

# How many descriptors are named one by one.
_NAMED = 4


def address_text(address: object) -> str:
    """An address of a socket as people write it."""
    if isinstance(address, tuple) and len(address) >= 2 and isinstance(address[0], str):
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(address, bytes):
        return "@" + address.lstrip(b"\0").decode("utf-8", "backslashreplace")
    if isinstance(address, str):
        return address or "local socket"
    return repr(address)


def _ask(sock: Any, method: Any) -> Any:
    try:
        return method(sock)
    except OSError:
        return None  # not connected, or closed meanwhile


def fds_text(fds: Iterable[int]) -> str:
    """``fd 3, fd 4 and 7 more``."""
    listed = list(fds)
    text = ", ".join(f"fd {fd}" for fd in listed[:_NAMED])
    more = len(listed) - _NAMED
    return f"{text} and {more} more" if more > 0 else text or "nothing"


def _what(fd: int) -> str:
    """What a descriptor is, where the system tells: ``pipe``, a path."""
    try:
        target = _readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
    return target.partition(":")[0] + " " if not target.startswith("/") else target + " "


# Descriptors by number.


def _descriptor(fd: int, writing: bool, until: float | None) -> Wait:
    kind = "writable" if writing else "readable"
    return Wait(kind, LATER, until, facts={"fd": fd})


@completes("readable", "writable")
def _readable(wait: Wait, context: Context) -> str:
    fd = wait.facts["fd"]
    return f"{wait.kind} {_what(fd)}(fd {fd})"


@describes("greenify.core.descriptors", "wait")
@describes("greenify.core.descriptor_set", "wait")
def _side(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    owner = names["self"]
    if "fd" in names:  # of a set of descriptors
        return _descriptor(names["fd"], names["writing"], names.get("deadline"))
    descriptor = owner.descriptor
    return _descriptor(descriptor.fd, owner is descriptor.write, names.get("deadline"))


@describes("greenify.core.waiting", "wait")
@describes("greenify.core.blocking", "wait_natively")
def _by_number(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _descriptor(names["fd"], names["writing"], names.get("deadline"))


@describes("greenify.green._files.descriptor_io", "read_into")
def _read(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    fd = names["fd"]
    return Wait("read", f"read {_what(fd)}(fd {fd})", facts={"fd": fd})


@describes("greenify.green._files.descriptor_io", "_wait_for_room", "write_some", "write_all")
@describes("greenify.green.os", "_send_piece")
def _write(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    fd = names["fd"]
    return Wait("write", f"write {_what(fd)}(fd {fd})", facts={"fd": fd})


@describes("greenify.green._files.descriptor_io", "open_fifo")
def _open_fifo(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    path = os.fspath(names["path"])
    return Wait("open", f"open FIFO {path!s}", facts={"path": path})


# Sockets.


def _of_socket(kind: str, sock: Any, inner: Wait | None, tls: bool = False) -> Wait:
    fd = _fileno(sock)
    address = _ask(sock, _getsockname if kind == "accept" else _getpeername)
    if address is None:
        address = _ask(sock, _getsockname)  # a datagram socket waits for anybody
    text = "" if address is None else f" {address_text(address)}"
    until = None if inner is None else inner.until
    return Wait(
        kind,
        f"{kind}{text} (fd {fd}{', TLS' if tls else ''})",
        until,
        facts={"fd": fd, "peer" if kind != "accept" else "address": address},
        on=sock,
    )


def _socket_of(names: _Locals) -> Any:
    return names["self"] if "self" in names else names["sock"]


@describes(
    "greenify.green._sockets.receiving",
    "recv",
    "recv_into",
    "_receive",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    timed=True,
)
def _recv(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    wait = _of_socket("recv", _socket_of(names), inner)
    if inner is None:
        wait.until = names.get("deadline")
    return wait


@describes(
    "greenify.green._sockets.sending",
    "send",
    "sendall",
    "sendmsg",
    "sendmsg_afalg",
    "sendto",
)
@describes("greenify.green._sockets.methods", "_sendfile_use_sendfile")
def _send(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if inner is not None and inner.kind == "name look-up":
        return None
    return _of_socket("send", _socket_of(names), inner)


@describes("greenify.green._sockets.state", "attempt", "wait_for")
def _either(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    kind = "send" if names.get("writing") else "recv"
    return _of_socket(kind, _socket_of(names), inner)


@describes("greenify.green._sockets.methods", "accept")
def _accept(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _of_socket("accept", names["self"], inner)


@describes("greenify.green._sockets.methods", "_connect")
def _connect(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if inner is not None and inner.kind == "name look-up":
        return None
    address = names["address"]
    fd = _fileno(names["sock"])
    until = None if inner is None else inner.until
    facts = {"fd": fd, "peer": address}
    text = f"connect {address_text(address)} (fd {fd})"
    return Wait("connect", text, until, facts=facts, on=names["sock"])


#: Describers that tell a wait for a descriptor from the variables of one function, whatever that has called.
SOCKETS = frozenset({_recv, _either, _accept, _connect})


@describes("greenify.green.ssl", "read", "_until_done", "write", "send", "sendall")
def _tls(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    kind = "recv" if inner is None else inner.kind
    if kind not in ("recv", "send", "readable", "writable"):
        return None
    kind = {"readable": "recv", "writable": "send"}.get(kind, kind)
    return _of_socket(kind, _socket_of(names), inner, tls=True)


@describes("greenify.green.ssl", "do_handshake")
def _handshake(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    found = _of_socket("recv", names["self"], inner)
    text = found.text.replace("recv", "TLS handshake", 1)
    return Wait("TLS handshake", text, found.until, facts=found.facts, on=found.on)


# Names.


@describes(
    "greenify.green._sockets.dns",
    "getaddrinfo",
    "gethostbyname",
    "gethostbyname_ex",
    "gethostbyaddr",
    "getnameinfo",
    "resolve",
)
@describes("greenify.io.tcp", "resolve")
def _look_up(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    host: Any = None
    for name in ("host", "hostname", "ip_address", "sockaddr", "address"):
        host = names.get(name)
        if host is not None:
            break
    if isinstance(host, tuple) and host:
        host = host[0]
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "backslashreplace")
    return Wait("name look-up", f"name look-up {host}", facts={"host": host})


# Several descriptors at once.


def _select(what: str, fds: Iterable[int], until: float | None) -> Wait:
    return Wait(what, LATER, until, facts={"fds": list(fds)})


@completes("poll", "select")
def _selected(wait: Wait, context: Context) -> str:
    fds = wait.facts["fds"]
    peer = _peer(fds[0]) if len(fds) == 1 else None
    if peer is not None:
        # As drivers in C wait for their server.
        return f"{wait.kind} {address_text(peer)} (fd {fds[0]})"
    return f"{wait.kind} of {fds_text(fds)}"


def _peer(fd: int) -> object:
    """The address that a socket is connected with, or None."""
    try:
        sock = _socket_type(fileno=fd)
    except OSError:
        return None  # no socket, or closed meanwhile
    try:
        return _ask(sock, _getpeername) or None
    finally:
        sock.detach()


@describes("greenify.green._selecting.waits", "alone")
def _alone(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _select("poll", [names["fd"]], names["deadline"])


@describes("greenify.green._selecting.waits", "until", "until_on_thread")
def _until(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _select("poll", tuple(names["masks"]), names["deadline"])


@describes("greenify.green.select", "_select")
def _of_select(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if inner is None:
        return None
    if inner.kind != "poll":
        return Wait("select", "select of nothing", inner.until)
    return _select("select", inner.facts["fds"], inner.until)


@describes("greenify.green._selecting.kernel_queues", "_until", "_until_closed")
def _kernel_queue(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    queue = names["self"]
    what = type(queue).__name__
    fd = queue._native.fileno()
    return Wait(what, f"{what} (fd {fd})", names.get("deadline"), facts={"fd": fd}, on=queue)


@describes("selectors", "select")
def _selector(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    known = getattr(names["self"], "_fd_to_key", None)
    if inner is None or not isinstance(known, dict):
        return None
    return _select("select", tuple(known), inner.until)


# Children and signals.


def _child(pid: object, until: float | None) -> Wait:
    return Wait("child", f"child {pid}", until, facts={"pid": pid})


@describes("greenify.green._processes.children", "wait_for_end", "_wait_without_pidfd")
def _end_of_child(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _child(names["pid"], names["deadline"])


@describes("greenify.green._processes.children", "wait_for_change")
def _change_of_child(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if names["idtype"] == os.P_PID:
        return _child(names["ident"], None)
    if names["idtype"] == os.P_ALL:
        return Wait("child", "any child", facts={"pid": None})
    return Wait("child", f"children of group {names['ident']}", facts={"group": names["ident"]})


@describes("greenify.green.subprocess", "_communicate")
@describes("subprocess", "wait", "_wait", "communicate", "_communicate")
def _popen(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    child = names["self"]
    return _child(getattr(child, "pid", None), None if inner is None else inner.until)


@describes("greenify.green.signal", "pause", "_take")
def _signal(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    wanted = names.get("numbers")
    if wanted is None:
        return Wait("signal", "any signal")
    texts = [
        signal.Signals(number).name
        if number in signal.Signals._value2member_map_
        else f"signal {number}"
        for number in sorted(wanted)
    ]
    return Wait("signal", ", ".join(texts), names.get("deadline"), facts={"signals": texts})


# Calls on native threads.


def _native_call(function: object) -> Wait:
    name = function_name(function)
    return Wait("native call", f"native call {name}", facts={"function": name})


@describes("greenify.core.workers", "run")
def _worker(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _native_call(names["function"])


@describes("greenify.green._foreign.calls", "wait")
def _call(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    function = names["self"]._function
    return Wait("native call", "native call") if function is None else _native_call(function)


@describes("greenify.green._foreign.calls", "_run")
@describes("greenify.green._foreign.own_thread", "_call")
def _handed_over(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _native_call(names["function"])


@describes("greenify.green._foreign.offloading", "offloaded", "offloaded_method")
def _offloaded(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    function = names.get("function")
    return None if function is None else _native_call(function)


@describes("greenify.green._foreign.trying", "until_free")
def _file_lock(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return Wait("file lock", f"file lock{context.where}")


@describes("greenify.green.fcntl", "flock", "lockf")
def _fcntl_lock(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    fd = names["args"][0]
    number = fd if isinstance(fd, int) else fd.fileno()
    return Wait("file lock", f"file lock of {_what(number)}(fd {number})", facts={"fd": number})


@describes("greenify.green._foreign.sqlite_sleep", "_sleep")
def _sqlite(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return Wait("database lock", f"sqlite3 database is locked{context.where}", names["deadline"])


# Streams on libuv's handles.


@describes("greenify.io.handles", "wait_among")
def _stream(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    handle = names["handle"]
    what = str(names["what"])
    fd = getattr(handle, "fd", None)
    text = what if fd is None else f"{what} (fd {fd})"
    return Wait("stream", text, names["deadline"], facts={"fd": fd}, on=handle)


@describes("greenify.io.listeners", "accept")
def _listener(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    sock = names.get("sock")
    return None if sock is None else _of_socket("accept", sock, inner)
