"""Every exception and warning class of greenify, in one low file.

Messages name the remedy.  Cancellation (`TaskExit`) derives from `BaseException`, so an ordinary
``except Exception`` in user code does not swallow it.
"""

from __future__ import annotations

__all__ = [
    "ChannelClosed",
    "GreenifyError",
    "HubError",
    "LatePatchWarning",
    "PatchError",
    "PyuvMissingError",
    "RestoreError",
    "TaskExit",
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


class TaskExit(BaseException):
    """Raised inside a task that is being killed; ends the task quietly."""
