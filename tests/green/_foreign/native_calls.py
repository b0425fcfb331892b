"""Every function of the standard library's C code that gives up the interpreter lock, and what becomes of it.

`ROWS` is the table.  `test_native_calls` compares it with what the running Python has: a name that it lacks,
or that is gone, fails.  The names are those by which C code shows them (`posix`, `_socket`); the page
``docs/reference/native-calls.md`` is made from here: ``python -m tests.green._foreign.native_calls``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["KINDS", "PAGE", "ROWS", "SINCE", "UNTIL", "WHOLE", "Row", "render"]

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "native-calls.md"

KINDS = {
    "cooperative": "waits for its descriptor, or whatever it waits for, on the hub",
    "tried again": "the variant that does not wait is tried again, after pauses that grow to some 10 ms",
    "handed over": "runs on a native thread while the caller waits",
    "pumped": "the loop that waits in C is run in turns, and the hub between them",
    "cannot wait": "it gives the lock up, but nothing it does takes long",
    "holds the lock": "does not give it up: real threads stand still as well",
    "stays": "the others wait until it returns",
}

Version = tuple[int, int]


class Row(NamedTuple):
    """One function.

    Attributes:
        name: ``module.function`` or ``module.class.method``.
        kind: a key of `KINDS`.
        why: how, from which size on, the reason, or what to do instead.
        test: ``file::function`` or ``file::class::function`` in `tests`, for what lets the others run.
    """

    name: str
    kind: str
    why: str
    test: str


@dataclass
class _Group:
    owner: str
    kind: str
    names: str
    why: str = ""
    test: str = ""

    def rows(self) -> Iterator[Row]:
        for name in self.names.split():
            yield Row(f"{self.owner}.{name}", self.kind, self.why, self.test)


_TICKING = "green/_foreign/test_ticking.py::test_a_thread_ticks"
_WORKING = "green/_foreign/test_ticking.py::test_a_thread_ticks_while_a_native_one_works"
_LOCKS = "green/_foreign/test_kernel.py::TestFileLocks::test_with_another_process"
_COMPUTING = "green/_computing/test_computing.py::test_the_others_run_meanwhile"
_INTERPRETERS = "behaviours/test_16_interpreters.py::test_one_that_waits_for_a_thread"
_ASKING = "green/_foreign/test_asking.py::test_the_others_run_meanwhile"
_FILES = (
    "the kernel has no readiness for files and folders: `greenify.files`, or `greenify.offload` for a slow "
    "file system"
)
_QUICK = "the kernel answers from memory"
_LONG_STATEMENT = (
    "what SQLite computes stays; `greenify.offload` gives such a connection a native thread"
)

_HAS_ITS_LOCKS = "the statement before has taken the locks: it waits for nobody. " + _LONG_STATEMENT

# fmt: off
GROUPS = (
    # os
    _Group("posix", "cooperative", "read readv", "pipes, terminals, sockets; files stay",
           _TICKING),
    _Group("posix", "cooperative", "readinto", "as `read`", _TICKING),
    _Group("posix", "cooperative", "preadv pwritev", "at the offset -1, of pipes; files stay",
           _TICKING),
    _Group("posix", "cooperative", "write writev", "pipes, terminals, sockets; files stay",
           _TICKING),
    _Group("posix", "cooperative", "sendfile", "", _TICKING),
    _Group("posix", "cooperative", "eventfd_read", "", _TICKING),
    _Group("posix", "cooperative", "eventfd_write splice", "", _TICKING),
    _Group("posix", "cooperative", "open", "of a FIFO; files stay",
           _TICKING),
    _Group("posix", "cooperative", "wait wait3 wait4 waitid waitpid", "",
           _TICKING),
    _Group("posix", "handed over", "system", "always", _TICKING),
    _Group("posix", "handed over", "fsync fdatasync sync posix_fallocate", "always", _WORKING),
    _Group("posix", "handed over", "copy_file_range", "from 1 MiB on", _WORKING),
    _Group("posix", "handed over", "getrandom", "where the kernel has no entropy yet", _WORKING),
    _Group("posix", "tried again", "lockf", "", _LOCKS),
    _Group("posix", "stays",
           "access chdir chmod chown chroot fchdir fchmod fchown fstat fstatvfs ftruncate getxattr "
           "lchown link "
           "listdir listxattr lstat mkdir mkfifo mknod posix_fadvise pread pwrite readlink remove "
           "removexattr "
           "rename replace rmdir scandir setxattr stat statvfs statx symlink truncate unlink utime", _FILES),
    _Group("posix.DirEntry", "stays", "is_dir is_file is_symlink is_junction stat inode", _FILES),
    _Group("posix", "stays", "close closerange dup2",
           "of a socket with SO_LINGER, a tape or a file on the network: `socket.close` waits cooperatively"),
    _Group("posix", "stays", "execv execve posix_spawn posix_spawnp fork forkpty",
           "the process begins anew; reading the program's file is all that can take time"),
    _Group("posix", "cannot wait",
           "dup eventfd getcwd getcwdb isatty lseek memfd_create openpty pipe pipe2 pidfd_open "
           "sched_yield uname "
           "posix_openpt grantpt unlockpt ptsname timerfd_create timerfd_gettime timerfd_gettime_ns "
           "timerfd_settime timerfd_settime_ns setns unshare urandom device_encoding get_blocking "
           "set_blocking "
           "get_inheritable set_inheritable login_tty", _QUICK),
    _Group("posix", "holds the lock",
           "WCOREDUMP WEXITSTATUS WIFCONTINUED WIFEXITED WIFSIGNALED WIFSTOPPED WSTOPSIG WTERMSIG abort "
           "confstr "
           "cpu_count ctermid fpathconf fspath get_terminal_size getegid geteuid getgid getgrouplist "
           "getgroups "
           "getloadavg getlogin getpgid getpgrp getpid getppid getpriority getresgid getresuid getsid getuid "
           "initgroups kill killpg major makedev minor nice pathconf putenv register_at_fork "
           "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam "
           "sched_getscheduler "
           "sched_rr_get_interval sched_setaffinity sched_setparam sched_setscheduler setegid seteuid setgid "
           "setgroups setpgid setpgrp setpriority setregid setresgid setresuid setreuid setsid setuid "
           "strerror "
           "sysconf tcgetpgrp tcsetpgrp times ttyname umask unsetenv waitstatus_to_exitcode"),
    # Interpreters beside this one.
    _Group("_interpreters", "handed over", "call create destroy exec run_func run_string",
           "always: what runs in another interpreter waits there", _INTERPRETERS),
    _Group("_interpreters", "holds the lock",
           "capture_exception decref get_config get_current get_main incref is_running is_shareable list_all "
           "new_config set___main___attrs whence"),
    _Group("_interpqueues", "holds the lock",
           "bind create destroy get get_count get_maxsize get_queue_defaults is_full list_all put release",
           "`concurrent.interpreters.Queue` asks again and sleeps between, with `time.sleep`"),
    # Other modules of the system.
    _Group("fcntl", "tried again", "flock lockf fcntl", "`fcntl` with F_SETLKW and F_OFD_SETLKW", _LOCKS),
    _Group("fcntl", "stays", "ioctl",
           "what a device does with a request is its own affair: `greenify.offload` for one that waits"),
    _Group("pwd", "handed over", "getpwnam getpwuid",
           "always: a directory on the network may be asked", _ASKING),
    _Group("pwd", "holds the lock", "getpwall"),
    _Group("grp", "handed over", "getgrnam getgrgid", "always", _ASKING),
    _Group("grp", "holds the lock", "getgrall"),
    _Group("spwd", "holds the lock", "getspall getspnam"),
    _Group("_crypt", "holds the lock", "crypt"),
    _Group("syslog", "handed over", "syslog", "always: the daemon may be slow", _ASKING),
    _Group("syslog", "holds the lock", "LOG_MASK LOG_UPTO closelog openlog setlogmask"),
    _Group("termios", "handed over", "tcdrain tcsendbreak tcsetattr",
           "`tcsetattr` with TCSADRAIN and TCSAFLUSH", _ASKING),
    _Group("termios", "cannot wait", "tcflow tcflush tcgetattr tcgetwinsize tcsetwinsize", _QUICK),
    _Group("select", "cooperative", "select poll", "",
           _TICKING),
    _Group("select.epoll", "cooperative", "poll", "",
           _TICKING),
    _Group("select.epoll", "cannot wait", "close modify register unregister", _QUICK),
    _Group("select.epoll", "holds the lock", "fileno"),
    _Group("signal", "cooperative", "pause", "", _TICKING),
    _Group("signal", "cooperative", "sigtimedwait sigwaitinfo", "`sigwait` too",
           _TICKING),
    _Group("signal", "cannot wait", "raise_signal", _QUICK),
    _Group("signal", "holds the lock",
           "alarm default_int_handler getitimer pidfd_send_signal pthread_kill set_wakeup_fd setitimer "
           "siginterrupt strsignal"),
    _Group("time", "cooperative", "sleep", "", "core/test_timers.py::test_10000_sleepers_wake_in_order"),
    _Group("time", "holds the lock",
           "asctime clock_getres clock_gettime clock_gettime_ns clock_settime clock_settime_ns ctime "
           "get_clock_info gmtime localtime mktime monotonic monotonic_ns perf_counter perf_counter_ns "
           "process_time process_time_ns pthread_getcpuclockid strftime strptime thread_time "
           "thread_time_ns time "
           "time_ns tzset"),
    _Group("mmap.mmap", "cannot wait", "close", _QUICK),
    _Group("mmap.mmap", "holds the lock",
           "find flush madvise move read read_byte readline resize rfind seek seekable set_name size "
           "tell write "
           "write_byte", "`flush` waits for the disk; `os.fsync` of the file is handed over"),
    _Group("_posixshmem", "cannot wait", "shm_open shm_unlink",
           "a file system in memory (multiprocessing.shared_memory)"),
    _Group("_multiprocessing.SemLock", "tried again", "acquire", "with other threads about",
           _TICKING),
    _Group("_multiprocessing.SemLock", "holds the lock", "release"),
    _Group("_multiprocessing", "holds the lock", "sem_unlink"),
    _Group("_queue.SimpleQueue", "cooperative", "get", "", _TICKING),
    _Group("_queue.SimpleQueue", "holds the lock", "empty get_nowait put put_nowait qsize"),
    _Group("faulthandler", "holds the lock",
           "cancel_dump_traceback_later disable dump_c_stack dump_traceback dump_traceback_later enable "
           "is_enabled register unregister", "its watchdog is a native thread"),
    _Group("_uuid", "cannot wait", "generate_time_safe",
           "uuid.uuid1: a question to a daemon of this machine"),
    _Group("_dbm", "holds the lock", "open", "and what it opens, and `_gdbm` likewise"),
    # Compressing and hashing.
    _Group("zlib", "handed over", "compress", "from 16 KiB on", _COMPUTING),
    _Group("zlib", "handed over", "decompress", "from 32 KiB of compressed data on", _COMPUTING),
    _Group("zlib", "stays", "adler32 crc32",
           "3.5 GiB/s; 1 KiB takes 0.3 us, and would take 0.4: `greenify.run_in_thread` for hundreds of MiB"),
    _Group("zlib", "holds the lock", "compressobj decompressobj adler32_combine crc32_combine",
           "the methods: `compress` is handed over from 16 KiB on, `decompress` and `flush` of a "
           "decompressor from 32"),
    _Group("zlib._ZlibDecompressor", "handed over", "decompress", "from 32 KiB on",
           _COMPUTING),
    _Group("binascii", "stays", "crc32", "as `zlib.crc32`"),
    _Group("binascii", "holds the lock",
           "a2b_ascii85 a2b_base32 a2b_base64 a2b_base85 a2b_hex a2b_hqx a2b_qp a2b_uu b2a_ascii85 "
           "b2a_base32 "
           "b2a_base64 b2a_base85 b2a_hex b2a_hqx b2a_qp b2a_uu crc_hqx hexlify rlecode_hqx rledecode_hqx "
           "unhexlify"),
    _Group("_bz2.BZ2Compressor", "handed over", "compress", "from 8 KiB on", _COMPUTING),
    _Group("_bz2.BZ2Compressor", "handed over", "flush", "always", _COMPUTING),
    _Group("_bz2.BZ2Decompressor", "handed over", "decompress", "from 1 KiB on", _COMPUTING),
    _Group("_lzma.LZMACompressor", "handed over", "compress", "from 2 KiB on", _COMPUTING),
    _Group("_lzma.LZMACompressor", "handed over", "flush", "always", _COMPUTING),
    _Group("_lzma.LZMADecompressor", "handed over", "decompress", "from 8 KiB on", _COMPUTING),
    _Group("_lzma", "holds the lock", "is_check_supported"),
    _Group("_zstd.ZstdCompressor", "handed over", "compress", "from 32 KiB on",
           "green/_computing/test_computing.py::test_zstd"),
    _Group("_zstd.ZstdDecompressor", "handed over", "decompress", "from 32 KiB on",
           "green/_computing/test_computing.py::test_zstd"),
    _Group("_zstd.ZstdCompressor", "cannot wait", "flush set_pledged_input_size",
           "a block of 128 KiB at most"),
    _Group("_zstd", "stays", "finalize_dict train_dict",
           "made once, not while serving: `greenify.run_in_thread`"),
    _Group("_zstd", "holds the lock", "get_frame_info get_frame_size get_param_bounds set_parameter_types"),
    _Group("_hashlib.HASH", "handed over", "update", "from 64 to 384 KiB on, by the hash", _COMPUTING),
    _Group("_hashlib.HMAC", "handed over", "update", "from 64 to 384 KiB on, by the hash", _COMPUTING),
    _Group("_blake2.blake2b", "handed over", "update", "from 128 KiB on", _COMPUTING),
    _Group("_blake2.blake2b", "cannot wait", "copy digest hexdigest", "some 100 bytes"),
    _Group("_blake2.blake2s", "handed over", "update", "from 64 KiB on", _COMPUTING),
    _Group("_blake2.blake2s", "cannot wait", "copy digest hexdigest", "some 100 bytes"),
    _Group("_hashlib", "handed over", "pbkdf2_hmac", "from 1000 rounds on", _COMPUTING),
    _Group("_hashlib", "handed over", "scrypt", "from n * r * p = 8000 on", _COMPUTING),
    _Group("_hashlib", "handed over", "hmac_digest hmac_new",
           "`hmac.digest` and `hmac.new`, as `update`", _COMPUTING),
    _Group("_hashlib", "stays",
           "new openssl_md5 openssl_sha1 openssl_sha224 openssl_sha256 openssl_sha384 openssl_sha3_224 "
           "openssl_sha3_256 openssl_sha3_384 openssl_sha3_512 openssl_sha512 openssl_shake_128 "
           "openssl_shake_256",
           "hashing data at once: a twin would make a hash of 1 KiB 1.2 times as slow; `update` is "
           "handed over"),
    _Group("_hashlib", "holds the lock", "compare_digest get_fips_mode"),
    _Group("_hashlib.HASH", "cannot wait", "copy digest hexdigest", "some 100 bytes"),
    _Group("_hashlib.HMAC", "cannot wait", "copy digest hexdigest", "some 100 bytes"),
    _Group("_hashlib.HASHXOF", "cannot wait", "digest hexdigest", "as long as the result that is asked for"),
    # sqlite3
    _Group("_sqlite3", "tried again", "connect", _LONG_STATEMENT, _TICKING),
    _Group("_sqlite3.Connection", "tried again",
           "backup blobopen commit execute executemany executescript", _LONG_STATEMENT, _TICKING),
    _Group("_sqlite3.Cursor", "tried again", "execute executemany executescript", _LONG_STATEMENT, _TICKING),
    _Group("_sqlite3.Blob", "tried again", "close", "the end of its transaction", _TICKING),
    _Group("_sqlite3.Connection", "stays", "rollback", _HAS_ITS_LOCKS),
    _Group("_sqlite3.Cursor", "stays", "fetchall fetchmany fetchone", _HAS_ITS_LOCKS),
    _Group("_sqlite3.Blob", "stays", "read write", _HAS_ITS_LOCKS),
    _Group("_sqlite3.Connection", "stays", "close serialize deserialize load_extension",
           "as long as the database's size takes: `greenify.offload`"),
    _Group("_sqlite3.Connection", "holds the lock",
           "create_aggregate create_collation create_function create_window_function cursor "
           "enable_load_extension getconfig getlimit interrupt iterdump set_authorizer set_progress_handler "
           "set_trace_callback setconfig setlimit"),
    _Group("_sqlite3.Cursor", "holds the lock", "close setinputsizes setoutputsize"),
    _Group("_sqlite3.Blob", "holds the lock", "seek tell"),
    _Group("_sqlite3", "holds the lock",
           "adapt complete_statement enable_callback_tracebacks enable_shared_cache register_adapter "
           "register_converter"),
    # Sockets
    _Group("_socket", "handed over",
           "getaddrinfo gethostbyaddr gethostbyname gethostbyname_ex getnameinfo",
           "always, unless the host is a number",
           _WORKING),
    _Group("_socket", "cannot wait",
           "close dup socketpair gethostname getprotobyname getservbyname getservbyport if_indextoname "
           "if_nameindex if_nametoindex sethostname", _QUICK),
    _Group("_socket", "holds the lock",
           "CMSG_LEN CMSG_SPACE getdefaulttimeout htonl htons inet_aton inet_ntoa inet_ntop inet_pton "
           "ntohl ntohs "
           "setdefaulttimeout"),
    _Group("_socket.socket", "cooperative",
           "connect connect_ex recv recv_into recvfrom recvfrom_into recvmsg recvmsg_into send sendall "
           "sendmsg "
           "sendmsg_afalg sendto", "`accept` too", _TICKING),
    _Group("_socket.socket", "cooperative", "close", "with SO_LINGER",
           _TICKING),
    _Group("_socket.socket", "cannot wait",
           "bind getpeername getsockname getsockopt listen setblocking setsockopt settimeout shutdown",
           _QUICK),
    _Group("_socket.socket", "holds the lock", "detach fileno getblocking gettimeout"),
    # TLS, files, locks, functions of other libraries
    _Group("_ssl._SSLSocket", "cooperative", "do_handshake read write shutdown", "through `ssl.SSLSocket`",
           _TICKING),
    _Group("_ssl._SSLSocket", "cannot wait", "pending", _QUICK),
    _Group("_ssl._SSLContext", "stays",
           "load_cert_chain load_dh_params load_verify_locations set_default_verify_paths", _FILES),
    _Group("_io.FileIO", "cooperative", "read readall readinto write", "pipes, terminals; files stay",
           _TICKING),
    _Group("_io.FileIO", "stays", "seek truncate close", _FILES),
    _Group("_io.FileIO", "cannot wait", "isatty", _QUICK),
    _Group("_thread.LockType", "cooperative", "acquire", "",
           _TICKING),
    _Group("_ctypes", "stays", "dlopen", _FILES),
    _Group("_ctypes", "stays", "call_function",
           "what a function of another library does is its own affair: `greenify.offload` for one that "
           "waits"),
    # Keyboards and windows
    _Group("builtins", "cooperative", "input", "with `readline` too, and the prompts of Python",
           "green/_foreign/test_line_editing.py::test_others_run_at_the_prompt"),
    _Group("readline", "stays",
           "append_history_file read_history_file read_init_file write_history_file", _FILES),
    _Group("_curses.window", "cooperative", "get_wch getch getkey",
           "after Escape the rest of a key's sequence is waited for in C, for `curses.get_escdelay`",
           "green/_foreign/test_curses.py::test_the_others_run_meanwhile"),
    _Group("_curses.window", "stays", "getstr",
           "it edits a line in C: `curses.textpad`, or `getch` in a loop"),
    _Group("_curses.window", "cannot wait", "noutrefresh refresh",
           "writes a screen; a terminal that is stopped waits"),
    _Group("_curses", "cooperative", "napms", "", "green/_foreign/test_curses.py::test_napms"),
    _Group("_curses", "cannot wait", "doupdate", "as `refresh`"),
    _Group("_tkinter.TkappType", "pumped", "mainloop call",
           "`mainloop`, `wait_window`, `wait_variable`, `after` without a function; others stay",
           "green/_foreign/test_tk.py::test_the_others_run_meanwhile"),
    _Group("_tkinter.TkappType", "stays",
           "adderrorinfo createcommand createfilehandler deletecommand deletefilehandler "
           "dooneevent eval "
           "evalfile exprboolean exprdouble exprlong exprstring getvar globalgetvar globalsetvar "
           "globalunsetvar "
           "loadtk record setvar unsetvar", "Tcl runs in its own thread of the operating system"),
)
# fmt: on

ROWS = tuple(row for group in GROUPS for row in group.rows())

#: Modules and classes of which every public function is in the table.
WHOLE = (
    "posix posix.DirEntry fcntl pwd grp spwd _crypt syslog termios select select.epoll signal time mmap.mmap "
    "_posixshmem _multiprocessing _multiprocessing.SemLock _queue.SimpleQueue faulthandler _uuid zlib "
    "zlib._ZlibDecompressor binascii _bz2.BZ2Compressor _bz2.BZ2Decompressor _lzma _lzma.LZMACompressor "
    "_lzma.LZMADecompressor _zstd _zstd.ZstdCompressor _zstd.ZstdDecompressor _hashlib _hashlib.HASH "
    "_hashlib.HMAC _hashlib.HASHXOF _blake2.blake2b _blake2.blake2s _interpreters _interpqueues "
    "_sqlite3 _sqlite3.Connection _sqlite3.Cursor _sqlite3.Blob _socket "
    "_socket.socket"
).split()

#: Names that came after CPython 3.10, and the version with which they came.
SINCE: dict[str, Version] = {
    **dict.fromkeys(("posix.login_tty", "termios.tcgetwinsize", "termios.tcsetwinsize"), (3, 11)),
    **dict.fromkeys(
        [f"_sqlite3.Blob.{name}" for name in ("read", "write", "close", "seek", "tell")]
        + [
            f"_sqlite3.Connection.{name}"
            for name in (
                "blobopen create_window_function deserialize getlimit serialize setlimit"
            ).split()
        ],
        (3, 11),
    ),
    **dict.fromkeys(
        (
            "posix.setns",
            "posix.unshare",
            "posix.DirEntry.is_junction",
            "zlib._ZlibDecompressor.decompress",
            "_sqlite3.Connection.getconfig",
            "_sqlite3.Connection.setconfig",
        ),
        (3, 12),
    ),
    **dict.fromkeys(
        [
            f"posix.{name}"
            for name in (
                "posix_openpt grantpt unlockpt ptsname timerfd_create timerfd_gettime timerfd_gettime_ns "
                "timerfd_settime timerfd_settime_ns"
            ).split()
        ]
        + ["mmap.mmap.seekable"],
        (3, 13),
    ),
    **dict.fromkeys(("posix.readinto", "faulthandler.dump_c_stack"), (3, 14)),
    **dict.fromkeys(
        [
            "posix.statx",
            "mmap.mmap.set_name",
            "zlib.adler32_combine",
            "zlib.crc32_combine",
        ]
        + [
            f"binascii.{way}_{name}"
            for way in ("a2b", "b2a")
            for name in ("ascii85", "base32", "base85")
        ],
        (3, 15),
    ),
}

#: Names that are gone, and the version without them.
UNTIL: dict[str, Version] = {
    "binascii.a2b_hqx": (3, 11),
    "binascii.b2a_hqx": (3, 11),
    "binascii.rlecode_hqx": (3, 11),
    "binascii.rledecode_hqx": (3, 11),
    "_sqlite3.enable_shared_cache": (3, 12),
}

#: Names that depend on how the interpreter, its libraries or the C library were built.
OPTIONAL = frozenset(
    "_sqlite3.Connection.enable_load_extension _sqlite3.Connection.load_extension "
    "_sqlite3.Connection.getconfig _sqlite3.Connection.setconfig _sqlite3.Connection.serialize "
    "_sqlite3.Connection.deserialize posix.login_tty _hashlib.scrypt posix.setns posix.unshare".split()
)


def render() -> str:
    """The page of the documentation."""
    kinds = "\n".join(f"| {kind} | {meaning} |" for kind, meaning in KINDS.items())
    lines = [
        "# Calls of the standard library in C",
        "",
        "A function of C that gives up the interpreter lock lets real threads run while it waits or "
        "computes.",
        "This table says of each what becomes of it in a patched program. Names are those that the functions",
        "have in C: `posix` is `os`, `_socket` is `socket`, and so on.",
        "",
        "| class | meaning |",
        "|---|---|",
        kinds,
        "",
        "Handing over costs 4 to 30 microseconds, so what computes is handed over from some 300 "
        "microseconds of",
        "work on. For a call that stays and takes long there is {py:func}`greenify.offload`, or",
        "{py:func}`greenify.run_in_thread`.",
        "",
        "| function | class | |",
        "|---|---|---|",
    ]
    for row in ROWS:
        if row.kind != "holds the lock":
            lines.append(f"| `{row.name}` | {row.kind} | {row.why} |")
    lines += [
        "",
        "## What does not give the lock up",
        "",
        "Real threads stand still as well while these run.",
        "",
        "| module or class | functions | |",
        "|---|---|---|",
    ]
    for group in GROUPS:
        if group.kind == "holds the lock":
            names = ", ".join(f"`{name}`" for name in group.names.split())
            lines.append(f"| `{group.owner}` | {names} | {group.why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
