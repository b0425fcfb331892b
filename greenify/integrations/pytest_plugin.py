"""pytest's plugin: ``pytest --greenify`` patches before the tests' modules are imported.

``--greenify-fail-blocked=0.1`` fails the tests in which one green thread keeps the others waiting for longer.
It does nothing, and imports nothing more of greenify, unless an option or the marker is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from greenify.watching import Report, Watch

__all__ = ["plugin"]

_OPTION = "--greenify"
_FAIL_BLOCKED = "--greenify-fail-blocked"
_NOT_PATCHED = (
    f"not patched, so {_FAIL_BLOCKED} can fail no tests but those with @pytest.mark.greenify; "
    f"{_OPTION} patches the run"
)
_late = pytest.StashKey[list[str]]()
_watch: pytest.StashKey[tuple[Watch, list[Report]]] = pytest.StashKey()
_block = pytest.StashKey[AbstractContextManager[None]]()


def _fail_if_blocked(item: pytest.Item) -> None:
    if _watch not in item.config.stash:
        return
    watch, found = item.config.stash[_watch]
    watch.flush()
    ended = [report for report in found if report.ended]
    found.clear()
    if ended:
        worst = max(ended, key=lambda report: report.seconds)
        more = f"\n(and {len(ended) - 1} more, shorter)" if len(ended) > 1 else ""
        pytest.fail(f"{worst}{more}", pytrace=False)


class Plugin:
    """What pytest calls: an object, for pytest takes no module that hides its names."""

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        """Add the options."""
        group = parser.getgroup("greenify")
        group.addoption(
            _FAIL_BLOCKED,
            type=float,
            default=None,
            metavar="SECONDS",
            help="fail the tests in which one green thread keeps the others waiting for longer",
        )
        group.addoption(
            _OPTION,
            action="store_true",
            default=False,
            help="run the tests with the standard library patched, from before their modules are imported",
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> None:
        """Patch before the first conftest.py, in the workers of pytest-xdist, too."""
        if early_config.known_args_namespace.greenify:
            from greenify.patches import patch_all

            # What pytest itself has made before is of no concern to the tests, and shall not fail them.
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                patch_all()
            early_config.stash[_late] = [str(warning.message) for warning in caught]

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the marker known."""
        config.addinivalue_line(
            "markers",
            "greenify(only=None, skip=None): run this test, with its fixtures, patched, then take that back; "
            "the arguments are those of greenify.patched()",
        )
        seconds = config.getoption(_FAIL_BLOCKED)
        if seconds is not None:
            if not 0 < seconds < float("inf"):
                raise pytest.UsageError(f"{_FAIL_BLOCKED}: that is no positive number: {seconds}")
            from greenify.watching import Watch

            found: list[Report] = []
            config.stash[_watch] = Watch(seconds, found.append), found

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """End the watch."""
        watch, _ = config.stash.get(_watch, (None, None))
        if watch is not None:
            watch.stop()

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        """Say that the run is patched, and what was out of reach; or that a watch has nothing to see."""
        late = config.stash.get(_late, None)
        if late is None:
            if _watch not in config.stash:
                return []
            from greenify.patches import changes

            return [] if changes() else [f"greenify: {_NOT_PATCHED}"]
        from greenify._version import __version__

        return [f"greenify: {__version__}, patched", *late]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Patch for one test that is marked; what ``--greenify`` has patched stays as it is."""
        marker = item.get_closest_marker("greenify")
        if marker is not None:
            from greenify.errors import PatchError
            from greenify.patches import patched

            try:
                block = patched(*marker.args, **marker.kwargs)
                block.__enter__()
            except (PatchError, TypeError) as exc:
                # What is wrong stands in the marker, not here.
                pytest.fail(
                    f"@pytest.mark.greenify: {type(exc).__name__}: {exc}\n"
                    "Its arguments are those of greenify.patched(): only=[...] or skip=[...], of patches.",
                    pytrace=False,
                )
            item.stash[_block] = block

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail the test if the loop was kept in it, or in its fixtures before."""
        result = yield
        _fail_if_blocked(item)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Take back what the marker has patched, after the test's fixtures."""
        try:
            result = yield
            _fail_if_blocked(item)
            return result
        finally:
            block = item.stash.get(_block, None)
            if block is not None:
                del item.stash[_block]
                block.__exit__(None, None, None)


plugin = Plugin()
