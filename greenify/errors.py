"""Every exception and warning class of greenify, in one low file.

Messages name the remedy.  Cancellation (`TaskExit`) derives from `BaseException`, so an ordinary
``except Exception`` in user code does not swallow it.
"""

from __future__ import annotations

import errno as _errno
import os as _os

__all__ = [
    "ChannelClosed",
    "GreenifyError",
    "HubError",
    "IncompleteReadError",
    "LatePatchWarning",
    "LibraryPatchWarning",
    "NativeLockWarning",
    "PatchError",
    "PyuvMissingError",
    "ReadLimitError",
    "RestoreError",
    "StreamClosedError",
    "TaskExit",
    "UVAddressInUseError",
    "UVBrokenPipeError",
    "UVConnectionAbortedError",
    "UVConnectionError",
    "UVConnectionRefusedError",
    "UVConnectionResetError",
    "UVError",
    "UVFileExistsError",
    "UVNotFoundError",
    "UVPermissionError",
    "UVTimeoutError",
    "UnknownPatchError",
]


class GreenifyError(Exception):
    """Base of the errors that greenify itself raises."""


class PyuvMissingError(GreenifyError, ImportError):
    """No usable pyuv: neither the bundled build nor an installed pyuv >= 1.4."""


class HubError(GreenifyError, RuntimeError):
    """The hub was asked for something it cannot do where it was asked."""


class ChannelClosed(GreenifyError, EOFError):
    """The channel has been closed: nothing can be sent, and everything that was sent has been received."""


class PatchError(GreenifyError):
    """A patch could not be applied; everything applied before it has been undone."""


class UnknownPatchError(PatchError, ValueError):
    """A name in ``only`` or ``skip`` is not the name of a patch; the message lists the valid ones."""


class RestoreError(PatchError):
    """A patch cannot be undone because somebody replaced the same attribute after us."""


class LatePatchWarning(UserWarning):
    """`patch_all` ran after objects it cannot reach were created; the message names them."""


class LibraryPatchWarning(UserWarning):
    """The patch of a library does not fit the version that was imported, which works as if there was none."""


class NativeLockWarning(UserWarning):
    """A library that has been imported does not tell green threads apart; the message says what to do."""


class TaskExit(BaseException):
    """Raised inside a task that is being killed; ends the task quietly."""


class UVError(GreenifyError, OSError):
    """An operation on a stream has failed; the arguments are those of `OSError`.

    ``UVError(errno.ECONNREFUSED, text)`` makes an instance of the subclass for that number, which also is
    the standard library's class for it: `UVConnectionRefusedError` is a `ConnectionRefusedError`.
    """

    def __new__(cls, *args: object) -> UVError:
        if cls is UVError and args and isinstance(args[0], int):
            cls = _BY_NUMBER.get(args[0], UVError)
        return super().__new__(cls, *args)

    @classmethod
    def of(cls, number: int, what: str = "") -> UVError:
        """The error for an error number of the system or of libuv, whose numbers are negative.

        Args:
            what: what failed, for the message.
        """
        number = abs(number)
        text = _os.strerror(number)
        return cls(number, f"{what}: {text}" if what else text)


class UVConnectionError(UVError, ConnectionError):
    """The connection cannot be made or has been lost."""


class UVConnectionRefusedError(UVConnectionError, ConnectionRefusedError):
    """ECONNREFUSED: nobody listens there."""


class UVConnectionResetError(UVConnectionError, ConnectionResetError):
    """ECONNRESET: the peer has cut the connection."""


class UVConnectionAbortedError(UVConnectionError, ConnectionAbortedError):
    """ECONNABORTED: the connection was given up before it was accepted."""


class UVBrokenPipeError(UVConnectionError, BrokenPipeError):
    """EPIPE: the peer reads no more, or this end has been shut down for writing."""


class UVTimeoutError(UVError, TimeoutError):
    """ETIMEDOUT: the kernel has given up, or the time allowed by the stream is over."""


class UVAddressInUseError(UVError):
    """EADDRINUSE: somebody else listens there."""


class UVPermissionError(UVError, PermissionError):
    """EACCES or EPERM."""


class UVNotFoundError(UVError, FileNotFoundError):
    """ENOENT: there is no such local socket."""


class UVFileExistsError(UVError, FileExistsError):
    """EEXIST."""


class StreamClosedError(UVError):
    """EBADF: the stream has been closed, or belongs to the parent of a forked process."""


_BY_NUMBER: dict[int, type[UVError]] = {
    _errno.ENOTCONN: UVConnectionError,
    _errno.ENETUNREACH: UVConnectionError,
    _errno.EHOSTUNREACH: UVConnectionError,
    _errno.ECONNREFUSED: UVConnectionRefusedError,
    _errno.ECONNRESET: UVConnectionResetError,
    _errno.ECONNABORTED: UVConnectionAbortedError,
    _errno.EPIPE: UVBrokenPipeError,
    _errno.ESHUTDOWN: UVBrokenPipeError,
    _errno.ETIMEDOUT: UVTimeoutError,
    _errno.EADDRINUSE: UVAddressInUseError,
    _errno.EACCES: UVPermissionError,
    _errno.EPERM: UVPermissionError,
    _errno.ENOENT: UVNotFoundError,
    _errno.EEXIST: UVFileExistsError,
    _errno.EBADF: StreamClosedError,
}


class IncompleteReadError(GreenifyError, EOFError):
    """The stream has ended before what was asked for had come.

    Attributes:
        partial: what has come; it is still in the stream's buffer, for `read`.
    """

    def __init__(self, message: str, partial: bytes) -> None:
        super().__init__(message)
        self.partial = partial


class ReadLimitError(GreenifyError, ValueError):
    """More has come than the limit allows without what was looked for; it is still in the stream's buffer.

    Attributes:
        limit: the limit, in bytes.
    """

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit
