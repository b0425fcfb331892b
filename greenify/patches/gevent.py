"""gevent, when the program imports it: on greenify's loop, in whose thread both then go on.

On a loop of its own, gevent would block the OS thread in it, and each of greenify's waits would block gevent.
`gevent.monkey` has nothing to do any more: what it would replace waits already, and lets gevent's greenlets
run meanwhile.  It leaves alone whatever a patch of ours is in force for, says that it is patched, and hands
out originals that are the native ones: gevent's own pool of threads has to be one.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from greenify.core import slices
from greenify.errors import HubError, LatePatchWarning
from greenify.patches.importing import when_imported
from greenify.patches.record import Patch

if TYPE_CHECKING:
    from greenify.patches.journal import Journal

__all__ = ["PATCHES", "finish"]

PATCHES: tuple[Patch, ...] = ()

# The functions of gevent.monkey, and the patches of ours that take their place.
_PATCHED_BY: dict[str, tuple[str, ...]] = {
    "patch_os": ("os",),
    "patch_thread": ("thread", "queue"),
    "patch_time": ("time",),
    "patch_socket": ("socket",),
    "patch_dns": ("socket",),
    "patch_select": ("select",),
    "patch_selectors": ("selectors",),
    "patch_ssl": ("ssl",),
    "patch_subprocess": ("subprocess",),
    "patch_signal": ("signal",),
    "patch_queue": ("queue",),
}

_BETWEEN = ("greenify.patches", "importlib._bootstrap", "contextlib")

# What gevent calls a module, and our patch for it.
_MODULES: dict[str, str] = {
    "_thread": "thread",
    "threading": "thread",
    **{name: name for name in ("os", "time", "socket", "select", "selectors", "ssl", "subprocess")},
    **{name: name for name in ("signal", "queue")},
}


def _use_our_loop(journal: Journal, gevent: ModuleType) -> None:
    """Have gevent's hubs, none of which may exist yet, run on our loop."""
    chosen = os.environ.get("GEVENT_LOOP", "")
    if chosen and not chosen.startswith("greenify."):
        _warn(
            f"GEVENT_LOOP={chosen} keeps gevent on a loop of its own, so that its greenlets and greenify's "
            "threads keep each other waiting: take that variable out of the environment"
        )
        return
    settings: Any = gevent.config.settings["loop"]
    before = settings.__dict__.copy()
    try:
        import_module("greenify.integrations.gevent.install").install()
    except HubError:
        _warn(
            "gevent's hub runs already, on a loop of its own, so that its greenlets and greenify's threads "
            "keep each other waiting: call greenify.patch_all() before anything of gevent waits, spawns or "
            "patches"
        )
        return

    def undo() -> None:
        settings.__dict__.clear()
        settings.__dict__.update(before)

    journal.on_undo(undo, "gevent")


def _warn(text: str) -> None:
    # As coming from whoever patches, or imports gevent.
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(_BETWEEN):
        # Those of the import system are not counted.
        level += frame.f_globals["__name__"] != "importlib._bootstrap"
        frame = frame.f_back
    warnings.warn(text, LatePatchWarning, stacklevel=level)


# What gevent wants to know of the OS thread and takes from `_thread` itself.
_OF_OS_THREAD = ("_local", "get_ident")


@contextmanager
def _native_thread(journal: Journal) -> Iterator[None]:
    """Import one of gevent's modules whose C code keeps what it finds in `_thread` at that moment.

    gevent has one hub for each OS thread, and asks whether it is in the thread of a hub.
    """
    thread: Any = import_module("_thread")
    twins = {name: getattr(thread, name) for name in _OF_OS_THREAD}
    with slices.held():
        for name in twins:
            setattr(thread, name, journal.original(thread, name))
        try:
            yield
        finally:
            for name, twin in twins.items():
                setattr(thread, name, twin)


def _patch_hub(journal: Journal, hub: ModuleType) -> None:
    # For good: it is what stands there without greenify.
    hub.get_thread_ident = journal.original(  # type: ignore[attr-defined]
        import_module("_thread"), "get_ident"
    )


def _patch_os(journal: Journal, module: ModuleType) -> None:
    """Have gevent's loop not reap the children of ``gevent.fork``: our ``os.waitpid`` waits for them.

    gevent's own one, which knows of those, does not take the place of ours.
    """
    if "os" not in journal.names():
        return
    replace: dict[str, Any] = {
        name: _calling(getattr(module, name), getattr(module, plain))
        for name, plain in (("fork", "fork_gevent"), ("forkpty", "forkpty_gevent"))
        if hasattr(module, name)
    }
    patches = [Patch(module, replace=replace)]
    package: Any = sys.modules["gevent"]
    if getattr(package, "fork", None) is module.fork:
        # Taken from there before we were.
        patches.append(Patch(package, replace={"fork": replace["fork"]}))
    journal.apply("gevent", patches)


def _calling(function: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def calling(*args: Any, **kwargs: Any) -> Any:
        return other(*args, **kwargs)

    return calling


def _patch_state(journal: Journal, state: ModuleType) -> None:
    saved: dict[str, dict[str, Any]] = state.saved

    def is_module_patched(mod_name: str) -> bool:
        return mod_name in saved or _MODULES.get(mod_name) in journal.names()

    def is_object_patched(mod_name: str, item_name: str) -> bool:
        if item_name in saved.get(mod_name, ()):
            return True
        module = import_module(mod_name)
        return _MODULES.get(mod_name) in journal.names() and getattr(
            module, item_name, None
        ) is not journal.original(module, item_name)

    def _get_original(name: str, items: Iterable[str]) -> list[Any]:
        known = saved.get(name, {})
        module = import_module(name)
        return [known[item] if item in known else journal.original(module, item) for item in items]

    replace = {
        function.__name__: wraps(getattr(state, function.__name__))(function)
        for function in (is_module_patched, is_object_patched, _get_original)
    }
    journal.apply("gevent", (Patch(state, replace=replace),))


def _patch_monkey(journal: Journal, monkey: ModuleType) -> None:
    replace: dict[str, Any] = {
        name: _unless_patched(journal, getattr(monkey, name), patches)
        for name, patches in _PATCHED_BY.items()
        if hasattr(monkey, name)
    }
    state = sys.modules["gevent.monkey._state"]
    for name in ("is_module_patched", "is_object_patched"):
        # Imported from there before we were.
        if getattr(monkey, name) is not getattr(state, name):
            replace[name] = getattr(state, name)
    journal.apply("gevent", (Patch(monkey, replace=replace),))


def _unless_patched(
    journal: Journal, function: Callable[..., Any], patches: tuple[str, ...]
) -> Callable[..., Any]:
    @wraps(function)
    def unless_patched(*args: Any, **kwargs: Any) -> Any:
        if journal.names().issuperset(patches):
            return None
        return function(*args, **kwargs)

    return unless_patched


def finish(journal: Journal) -> None:
    """Do it now with what has been imported of gevent, else when it is."""
    for name in ("gevent._hub_local", "gevent._abstract_linkable"):
        when_imported(journal, name, lambda _: None, during=partial(_native_thread, journal))
    when_imported(journal, "gevent.hub", partial(_patch_hub, journal))
    when_imported(journal, "gevent.os", partial(_patch_os, journal))
    when_imported(journal, "gevent.monkey._state", partial(_patch_state, journal))
    when_imported(journal, "gevent.monkey", partial(_patch_monkey, journal))
    when_imported(journal, "gevent", partial(_use_our_loop, journal))
