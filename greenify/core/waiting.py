"""Waiting on a descriptor by its number, from whatever kind of thread the caller runs in."""

from __future__ import annotations

from greenify.core.blocking import wait_natively
from greenify.core.registry import current_hub, finalising, get_hub, hubs, is_main_thread
from greenify.core.tracebacks import leave_out_wait

__all__ = ["forget", "keep_for_polls", "look_again", "wait"]


def wait(fd: int, writing: bool, deadline: float | None = None) -> bool:
    """Wait until `fd` is readable (writable if `writing`), hung up, or in error.

    Parks the current greenlet on its hub; an OS thread without a hub blocks natively.  Any thread may call
    it.  It is woken by the kernel, by `forget` (a close through greenify) and by the deadline.

    Args:
        fd: an open descriptor; the caller keeps it, its flags are not changed.
        writing: wait for writing instead of reading.
        deadline: a `time.monotonic` time in seconds, or None.

    Returns:
        False if the deadline passed first.  True may come too early (somebody else has taken the data, the
        kernel reports on a file that had the number before), so a caller that must not block looks again.

    Raises:
        OSError: EBADF, `fd` is not open or was closed meanwhile.
    """
    hub = current_hub()
    if hub is None:
        if not is_main_thread() or finalising():
            return wait_natively(fd, writing, deadline)
        hub = get_hub()
    try:
        return hub.descriptors.wait(fd, writing, deadline)
    except PermissionError:
        # The kernel cannot watch regular files: reading and writing them never waits for anybody.
        return True
    except RuntimeError:
        if not finalising():
            raise
        return wait_natively(fd, writing, deadline)
    except BaseException:
        leave_out_wait()
        raise


def look_again(fd: int) -> None:
    """Wake every waiter on `fd`, to try again: something has changed that the kernel reports to nobody."""
    for hub in tuple(hubs):
        descriptor = hub.descriptors.by_fd.get(fd)
        if descriptor is not None:
            if hub.foreign():
                hub.call_from_thread(descriptor.wake_all)
            else:
                descriptor.wake_all()


def forget(fd: int) -> None:
    """Wake every waiter on `fd` with EBADF.  To be called just before it is closed, from any thread."""
    for hub in tuple(hubs):
        descriptors = hub.descriptors
        if fd in descriptors.by_fd or fd in descriptors.polls:
            descriptors.forget(fd)


def keep_for_polls(fd: int) -> None:
    """Let those who poll `fd` go on with its file: its number may be closed at any time.  Any thread."""
    for hub in tuple(hubs):
        descriptors = hub.descriptors
        if fd in descriptors.by_fd or fd in descriptors.polls:
            descriptors.keep_for_polls(fd)
