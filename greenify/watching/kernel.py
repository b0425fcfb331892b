"""What an OS thread of this process does in the kernel: its system call by name, and its processor time.

Linux tells that of another thread in /proc; elsewhere nothing is known, and reports say nothing of it.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

from greenify.patches import original

resource: Any
try:
    import resource
except ImportError:
    resource = None
if not hasattr(resource, "RUSAGE_THREAD"):
    resource = None  # not on Linux

__all__ = ["SystemCall", "cpu_time", "queued", "switches_here", "system_call"]

# Those that may wait, by their numbers.
_X86_64 = """
0:read 1:write 2:open 3:close 4:stat 5:fstat 6:lstat 7:poll 8:lseek 9:mmap 11:munmap 16:ioctl
17:pread 18:pwrite 19:readv 20:writev 21:access 23:select 26:msync 28:madvise 34:pause
35:nanosleep 40:sendfile 42:connect 43:accept 44:sendto 45:recvfrom 46:sendmsg 47:recvmsg
48:shutdown 56:clone 57:fork 58:vfork 59:execve 61:wait4 65:semop 69:msgsnd 70:msgrcv 72:fcntl
73:flock 74:fsync 75:fdatasync 76:truncate 77:ftruncate 82:rename 83:mkdir 84:rmdir 87:unlink
89:readlink 128:rt_sigtimedwait 130:rt_sigsuspend 162:sync 165:mount 166:umount2 202:futex
208:io_getevents 217:getdents64 219:restart_syscall 220:semtimedop 230:clock_nanosleep
232:epoll_wait 242:mq_timedsend 243:mq_timedreceive 247:waitid 254:inotify_add_watch 257:openat
258:mkdirat 262:newfstatat 263:unlinkat 265:linkat 266:symlinkat 269:faccessat 270:pselect6
271:ppoll 275:splice 276:tee 277:sync_file_range 278:vmsplice 281:epoll_pwait 285:fallocate
288:accept4 295:preadv 296:pwritev 299:recvmmsg 306:syncfs 307:sendmmsg 316:renameat2
318:getrandom 326:copy_file_range 327:preadv2 328:pwritev2 332:statx 333:io_pgetevents
426:io_uring_enter 435:clone3 437:openat2 440:process_madvise 441:epoll_pwait2 449:futex_waitv
"""
# The numbers of arm64, riscv64 and loongarch64.
_GENERIC = """
4:io_getevents 22:epoll_pwait 25:fcntl 27:inotify_add_watch 29:ioctl 32:flock 34:mkdirat
35:unlinkat 36:symlinkat 37:linkat 39:umount2 40:mount 45:truncate 46:ftruncate 47:fallocate
48:faccessat 56:openat 57:close 61:getdents64 62:lseek 63:read 64:write 65:readv 66:writev
67:pread 68:pwrite 69:preadv 70:pwritev 71:sendfile 72:pselect6 73:ppoll 75:vmsplice 76:splice
77:tee 80:fstat 81:sync 82:fsync 83:fdatasync 84:sync_file_range 95:waitid 98:futex
101:nanosleep 115:clock_nanosleep 128:restart_syscall 133:rt_sigsuspend 137:rt_sigtimedwait
182:mq_timedsend 183:mq_timedreceive 188:msgrcv 189:msgsnd 192:semtimedop 193:semop 202:accept
203:connect 206:sendto 207:recvfrom 210:shutdown 211:sendmsg 212:recvmsg 215:munmap 220:clone
221:execve 222:mmap 227:msync 233:madvise 242:accept4 243:recvmmsg 260:wait4 267:syncfs
269:sendmmsg 276:renameat2 278:getrandom 285:copy_file_range 286:preadv2 287:pwritev2 291:statx
292:io_pgetevents 426:io_uring_enter 435:clone3 437:openat2 440:process_madvise 441:epoll_pwait2
449:futex_waitv
"""


def _numbers(text: str) -> dict[int, str]:
    pairs = (entry.split(":") for entry in text.split())
    return {int(number): name for number, name in pairs}


_TABLES = {
    "x86_64": _X86_64,
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
}
_NAMES = _numbers(_TABLES.get(platform.machine(), ""))

# The first argument of these is a descriptor.
_ON_DESCRIPTOR = frozenset(
    "read write close fstat lseek pread pwrite readv writev preadv pwritev preadv2 pwritev2 flock fsync "
    "fdatasync syncfs sync_file_range ftruncate fallocate getdents64 connect accept accept4 sendto recvfrom "
    "sendmsg recvmsg sendmmsg recvmmsg shutdown fcntl ioctl epoll_wait epoll_pwait epoll_pwait2 splice tee "
    "vmsplice".split()
)

# Those from before the patch: a thread that only looks shall not get a hub.
_open = original(os, "open")
_read = original(os, "read")
_close = original(os, "close")
_readlink = os.readlink
_clock = time.clock_gettime


@dataclass(frozen=True)
class SystemCall:
    """A system call that a thread is in.

    Attributes:
        name: its name, or "system call N".
        fd: the descriptor that it is about, or None.
        target: what that is open on, as /proc says: a path, ``socket:[1234]``, ``pipe:[1234]``.
    """

    name: str
    fd: int | None = None
    target: str | None = None


def _look(path: str) -> str | None:
    try:
        fd = _open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data: bytes = _read(fd, 512)
    except OSError:
        return None
    finally:
        _close(fd)
    return data.decode("ascii", "replace")


def system_call(native_id: int) -> SystemCall | None:
    """The system call that the OS thread sits in; None if it is in none, or nobody can tell."""
    words = (_look(f"/proc/self/task/{native_id}/syscall") or "").split()
    if not words or not words[0].isdecimal():
        return None  # "running", or "-1" outside of calls
    name = _NAMES.get(int(words[0]), f"system call {words[0]}")
    if name not in _ON_DESCRIPTOR or len(words) < 2:
        return SystemCall(name)
    # The upper half of the register is not a part of the number.
    fd = int(words[1], 16) & 0xFFFFFFFF
    try:
        target = _readlink(f"/proc/self/fd/{fd}")
    except OSError:
        target = None
    return SystemCall(name, fd, target)


def cpu_time(native_id: int) -> float | None:
    """The processor time that the OS thread has used, in seconds; None if nobody can tell."""
    if sys.platform != "linux":
        return None
    try:
        # The number that pthread_getcpuclockid makes, which must not be asked about a thread that has ended.
        return _clock(~native_id << 3 | 6)
    except OSError:
        return None


def switches_here() -> int | None:
    """How many times the calling OS thread has waited so far; None if nobody can tell."""
    if resource is None:
        return None
    return int(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)


def queued(native_id: int) -> float:
    """How long the OS thread was ready to run and had no processor, in seconds; 0 if nobody can tell."""
    words = (_look(f"/proc/self/task/{native_id}/schedstat") or "").split()
    return int(words[1]) / 1e9 if len(words) > 1 else 0.0
