"""Which of gevent's test modules there are, and which are quick enough for every change."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["CONTROL", "LOOP_CORE", "OURS", "available"]

CONTROL = "libev-cext"
OURS = "greenify.integrations.gevent.loop"

#: What tests the loop itself: these run for every change.
LOOP_CORE = tuple(
    f"test__{name}"
    for name in (
        "core core_async core_callback core_fork core_loop_run core_stat core_timer core_watcher "
        "loop_callback hub hub_join systemerror order destroy destroy_default_loop nondefaultloop sleep0 "
        "signal select selectors timeout api_timeout monkey_sigchld issue600 pool makefile_ref"
    ).split()
)


def available() -> list[str]:
    """Every test module of the installed gevent."""
    spec = find_spec("gevent.tests")
    assert spec is not None
    assert spec.origin is not None
    return sorted(path.stem for path in Path(spec.origin).parent.glob("test__*.py"))
