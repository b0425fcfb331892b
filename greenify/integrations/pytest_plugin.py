"""pytest's plugin: ``pytest --greenify`` patches before the tests' modules are imported.

It does nothing, and imports nothing more of greenify, unless the option or the marker is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import AbstractContextManager

import pytest

__all__ = ["plugin"]

_OPTION = "--greenify"
_late = pytest.StashKey[list[str]]()
_block = pytest.StashKey[AbstractContextManager[None]]()


class Plugin:
    """What pytest calls: an object, for pytest takes no module that hides its names."""

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        """Add ``--greenify``."""
        parser.getgroup("greenify").addoption(
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

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        """Say that the run is patched, and what was out of reach."""
        late = config.stash.get(_late, None)
        if late is None:
            return []
        from greenify._version import __version__

        return [f"greenify: {__version__}, patched", *late]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Patch for one test that is marked; what ``--greenify`` has patched stays as it is."""
        marker = item.get_closest_marker("greenify")
        if marker is not None:
            from greenify.patches import patched

            block = patched(*marker.args, **marker.kwargs)
            block.__enter__()
            item.stash[_block] = block

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Take back what the marker has patched, after the test's fixtures."""
        try:
            return (yield)
        finally:
            block = item.stash.get(_block, None)
            if block is not None:
                del item.stash[_block]
                block.__exit__(None, None, None)


plugin = Plugin()
