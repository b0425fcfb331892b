"""Profilers in C that take all green threads of one OS thread for the thread that has started them."""

from __future__ import annotations

import _thread
import gc
import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from greenify.core import slices
from greenify.green._copies.builtin import builtin_twin
from greenify.green._threads import tracing
from greenify.local import local
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["await_profilers"]

_native_local: type = _thread._local


def await_profilers(journal: Journal) -> None:
    """Adapt those that are imported, now or later."""
    when_imported(journal, "line_profiler.line_profiler", partial(_patch_line_profiler, journal))
    when_imported(journal, "memray._memray", partial(_patch_memray, journal))
    when_imported(
        journal, "pyinstrument.low_level.stat_profile", partial(_patch_pyinstrument, journal)
    )
    when_imported(journal, "viztracer.viztracer", partial(_patch_viztracer, journal))
    when_imported(journal, "yappi", partial(_patch_yappi, journal))


def _patch_line_profiler(journal: Journal, module: ModuleType) -> None:
    # On `sys.monitoring` it counts no further once any thread has left, with real threads as well.
    native: Any = sys.modules["line_profiler._line_profiler"]
    cls: Any = vars(module)["LineProfiler"]
    managers = getattr(cls, "_managers", None)
    if not getattr(native, "USE_LEGACY_TRACE", False) or not isinstance(managers, dict):
        return
    from greenify.green._threads.line_managers import Managers, turning

    new = {"_managers": Managers(managers), **turning(cls)}
    journal.apply("thread", (Patch(cls, replace=new),))
    # How often each thread has turned it on is in a thread-local that its structure in C refers to.
    for profiler in gc.get_objects():
        if issubclass(type(profiler), cls) and type(profiler.threaddata) is _native_local:
            journal.on_undo(partial(_count_in, profiler, profiler.threaddata))
            _count_in(profiler, local())


def _count_in(profiler: Any, counts: Any) -> None:
    count = profiler.enable_count
    profiler.threaddata = counts
    profiler.enable_count = count


def _patch_memray(journal: Journal, memray: ModuleType) -> None:
    base: Any = vars(memray)["Tracker"]

    class Tracker(base):  # type: ignore[misc]
        # It imports, and calls Python functions, while it holds a mutex of C, which all green threads of one
        # OS thread want afterwards with each allocation.
        __slots__ = ()

        def __enter__(self) -> Any:
            with slices.held():
                return super().__enter__()

        def __exit__(self, *exc: Any) -> Any:
            with slices.held():
                return super().__exit__(*exc)

    for name in ("__module__", "__qualname__", "__doc__"):
        setattr(Tracker, name, getattr(base, name))
    journal.apply("thread", (Patch(memray, replace={"Tracker": Tracker}),))


def _patch_pyinstrument(journal: Journal, module: ModuleType) -> None:
    # It sets a profile function of C by itself, which `sys.setprofile` hears nothing of: without anybody who
    # follows the switches, it would see what all green threads do.
    native: Any = vars(module)["setstatprofile"]

    def setstatprofile(*args: Any, **kwargs: Any) -> Any:
        tracing.watch()
        return native(*args, **kwargs)

    twin = builtin_twin(native, setstatprofile)
    journal.apply("thread", (Patch(module, replace={"setstatprofile": twin}),))


def _patch_viztracer(journal: Journal, module: ModuleType) -> None:
    version = getattr(sys.modules.get("viztracer"), "__version__", "")
    if not version.startswith("1."):
        return
    try:
        from greenify.green._threads.call_stacks import CallStacks
    except ImportError:
        return  # there is no ctypes
    cls: Any = vars(module)["VizTracer"]
    native: Any = vars(cls)["start"]
    followed: WeakSet[object] = WeakSet()

    def follow(tracer: Any) -> None:
        if tracer in followed:
            return
        followed.add(tracer)
        stacks = CallStacks.of(tracer)
        if stacks is not None:
            stacks.follow()

    def start(self: Any) -> Any:
        follow(self)
        return native(self)

    journal.apply("thread", (Patch(cls, replace={"start": start}),))
    # Those that trace already.
    for each in gc.get_objects():
        if issubclass(type(each), cls) and each.enable:
            follow(each)


def _patch_yappi(journal: Journal, module: ModuleType) -> None:
    # It tells threads apart by those of the operating system, unless it is asked to go by greenlets: then its
    # clocks stand still for those that wait.  So it goes by greenlets, and says what it says of threads.
    yappi: Any = module
    native: Any = sys.modules["_yappi"]
    of_threads, of_greenlets = "NATIVE_THREAD", "GREENLET"
    set_backend, set_id_callback = yappi.set_context_backend, yappi.set_context_id_callback
    get_backend = native.get_context_backend
    tells_green_threads = False

    def begin() -> None:
        nonlocal tells_green_threads
        native.set_context_backend(yappi.BACKEND_TYPES[of_greenlets])
        native.set_context_id_callback(tracing.greenlet_number)
        tells_green_threads = True

    def set_context_backend(type: str) -> None:
        nonlocal tells_green_threads
        set_backend(type)
        tells_green_threads = False
        if get_backend() == of_threads:
            begin()

    def set_context_id_callback(callback: Any) -> Any:
        if callback is None and tells_green_threads:
            callback = tracing.greenlet_number
        return set_id_callback(callback)

    def get_context_backend() -> Any:
        return of_threads if tells_green_threads else get_backend()

    if get_backend() == of_threads:
        try:
            begin()
        except native.error:
            return  # it profiles already
    patches = (
        Patch(
            yappi,
            replace={
                "set_context_backend": set_context_backend,
                "set_context_id_callback": set_context_id_callback,
            },
        ),
        Patch(
            native, replace={"get_context_backend": builtin_twin(get_backend, get_context_backend)}
        ),
    )
    journal.apply("thread", patches)

    def undo() -> None:
        nonlocal tells_green_threads
        if tells_green_threads:
            try:
                set_backend(of_threads)
            except (yappi.YappiError, native.error):
                return  # it goes on with what it has begun
            tells_green_threads = False

    journal.on_undo(undo)
