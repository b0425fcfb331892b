"""What a hub opens and closes: the kernel queue, the pair that wakes it, libuv's loop, its greenlets.

A part of the hub's class (`hub.py`), in a file of its own.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, greenlet

from greenify.core.bare import SHORTAGES, BareLoop, BarePair
from greenify.core.descriptor_set import DescriptorSet
from greenify.core.kernel_queue import make_queue
from greenify.core.loop import Loop
from greenify.core.placement import high_numbers
from greenify.core.wakeup import WakeupPipe

if TYPE_CHECKING:
    from greenify.core.hub import Hub

__all__ = ["Resources"]

_native_lock = _thread.allocate_lock
_start_native = _thread.start_new_thread


class Resources:
    """What a hub owns.  `Hub` has the rest, and sets the attributes."""

    abandoned: bool
    bare: BareLoop | None
    descriptors: DescriptorSet
    main: greenlet
    greenlet: greenlet
    loop: Loop | BareLoop
    on_acquired: list[Callable[[Hub], None]]
    pair: WakeupPipe | BarePair
    private_fds: set[int]
    spares: list[Any]

    def acquire(self) -> bool:
        """Get the descriptors that the hub needs, all or none; False if there are none to be had.

        For the hub's own OS thread.  Does nothing if it has them.
        """
        bare = self.bare
        if bare is None:
            return True
        try:
            try:
                self._open(high_numbers())
            except OSError as exc:
                if exc.errno not in SHORTAGES:
                    raise
                # The high numbers may be taken, others not.
                self._open(nullcontext())
        except OSError as exc:
            if exc.errno not in SHORTAGES:
                raise
            return False
        self.bare = None
        self.descriptors.register_all(besides=self.pair)
        hub: Any = self
        for function in self.on_acquired:
            function(hub)
        # A signal handler that waits may run inside its sleep.
        bare.wake()
        return True

    def _open(self, numbers: AbstractContextManager[object]) -> None:
        """Acquire everything that needs descriptors, or nothing (OSError: EMFILE)."""
        hub: Any = self
        descriptors = self.descriptors
        before = descriptors.queue, self.pair
        try:
            with ExitStack() as undo, numbers:
                descriptors.queue = make_queue()
                undo.callback(descriptors.queue.close)
                self.pair = pair = WakeupPipe(hub)
                undo.callback(pair.close)
                undo.callback(descriptors.by_fd.pop, pair.reader.fileno())
                loop = Loop()
                undo.callback(loop.close)
                loop.watch(descriptors.fileno())
                # libuv tells its kernel queue only now, and would abort where that refuses a full one.
                loop.turn()
                undo.pop_all()
        except BaseException:
            descriptors.queue, self.pair = before
            raise
        self.loop = loop
        self.private_fds.update(
            loop.fds, (descriptors.fileno(), pair.reader.fileno(), pair.writer.fileno())
        )

    def close(self) -> None:
        """Release the descriptors of this hub.  Its own OS thread, outside of its greenlet, at its end."""
        self.abandoned = True
        if self.greenlet:
            # Its stack refers to us, and a greenlet that is suspended is never collected.
            self.greenlet.throw(GreenletExit)
        while self.spares:
            self.spares.pop().throw(GreenletExit)
        if getattr(self.main, "hub", None) is self:
            del self.main.hub
        self.pair.close()
        if isinstance(self.loop, Loop):
            _close_elsewhere(self.loop)
        self.descriptors.close()


def _close_elsewhere(loop: Loop) -> None:
    # The state of the thread that ends is being cleared.  If it is a thread of a C library, pyuv's callbacks,
    # which hold the interpreter by PyGILState, would clear and delete it once more (up to CPython 3.12).
    closed = _native_lock()
    closed.acquire()

    def close() -> None:
        try:
            loop.close()
        finally:
            closed.release()

    try:
        _start_native(close, ())
    except RuntimeError:
        # There is no thread to be had: at the system's limit, or at the interpreter's end.
        _unclosed.append(loop)
    else:
        closed.acquire()


# What could not be closed is at least not taken apart by its last reference.
_unclosed: list[Loop] = []
