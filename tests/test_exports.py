"""What is public: the names of `greenify`, and that every ``__all__`` in it is true."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import greenify
from tests.support import run_python

PACKAGE = Path(greenify.__file__).parent

PUBLIC = {
    "__version__",
    # patching
    "Change",
    "LIBRARIES",
    "ORDER",
    "changes",
    "is_patched",
    "original",
    "patch_all",
    "patched",
    "restore",
    # greenify.green._copies.importing
    "import_patched",
    # greenify.green._foreign.offloading
    "Offloaded",
    "offload",
    # errors and warnings
    "GreenifyError",
    "HubError",
    "LatePatchWarning",
    "LibraryPatchWarning",
    "NativeLockWarning",
    "PatchError",
    "PyuvMissingError",
    "RestoreError",
    "TaskExit",
    "UnknownPatchError",
    # greenify.futures
    "ProcessPoolExecutor",
    "TaskPoolExecutor",
    "ThreadPoolExecutor",
    "NativeThreadPoolExecutor",
    "run_in_thread",
    "set_thread_limit",
    # greenify.io, greenify.servers
    "IncompleteReadError",
    "ReadLimitError",
    "StreamClosedError",
    "StreamServer",
    "UVError",
    # greenify.tracing
    "Trace",
    "trace",
    # greenify.inspect
    "stats",
    # greenify.watching
    "watch",
    # greenify.task
    "Task",
    "current",
    "sleep",
    "spawn",
    # greenify.task_group
    "TaskGroup",
    # greenify.timeout
    "Timeout",
    "with_timeout",
    # greenify.channel
    "Channel",
    "select_channels",
    # greenify.errors
    "ChannelClosed",
    # greenify.condition
    "Barrier",
    "BrokenBarrierError",
    "Condition",
    # greenify.semaphores
    "BoundedSemaphore",
    "Semaphore",
    # greenify.event
    "Event",
    # greenify.locks
    "Lock",
    "RLock",
    # greenify.queue
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
    # greenify.loop_access
    "Handle",
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "call_at",
    "call_from_thread",
    "call_later",
    "call_soon",
    "remove_reader",
    "remove_signal_handler",
    "remove_writer",
    "run",
    "stop",
}

FILES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    # Importing the bundled pyuv takes its compiled part, and __main__ is no library.
    if "_vendor" not in path.parts and path.name != "__main__.py"
)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class TestTopLevel:
    def test_names(self) -> None:
        assert set(greenify.__all__) == PUBLIC
        assert len(greenify.__all__) == len(PUBLIC)

    def test_every_name_is_there(self) -> None:
        for name in greenify.__all__:
            assert getattr(greenify, name) is not None
            assert name in dir(greenify)

    def test_every_name_has_one_home(self) -> None:
        homes = greenify._HOMES
        names = [name for home in homes.values() for name in home]
        assert len(names) == len(set(names))
        for home, exported in homes.items():
            module = import_module(home)
            for name in exported:
                assert getattr(greenify, name) is getattr(module, name)
                assert name in module.__all__

    def test_no_other_name(self) -> None:
        with pytest.raises(AttributeError, match="module 'greenify' has no attribute 'spam'"):
            greenify.spam  # noqa: B018

    @pytest.mark.smoke
    def test_importing_loads_nothing_else(self) -> None:
        result = run_python(
            """
            import sys
            before = set(sys.modules)
            import greenify
            print(*sorted(set(sys.modules) - before - {"__future__"}))
            """,
            greenify=False,
            check=True,
        )
        assert result.stdout.split() == [
            "greenify",
            "greenify._python",
            "greenify._version",
            "greenify.shelter",
        ]

    def test_importing_it_all_patches_nothing(self) -> None:
        run_python(
            """
            import time
            from greenify import *
            import greenify
            assert greenify.changes() == () and time.sleep.__module__ == "time"
            """,
            greenify=False,
            check=True,
        )


class TestModules:
    @pytest.mark.parametrize("path", FILES, ids=module_name)
    def test_all_is_true(self, path: Path) -> None:
        module = import_module(module_name(path))
        names = getattr(module, "__all__", None)
        if names is None:
            # A package that only groups, or a file without anything public.
            tree = ast.parse(path.read_text(encoding="utf-8"))
            public = [
                node.name
                for node in tree.body
                if isinstance(node, ast.ClassDef | ast.FunctionDef)
                and not node.name.startswith("_")
            ]
            assert public == []
            return
        assert len(names) == len(set(names))
        assert [name for name in names if not hasattr(module, name)] == []
