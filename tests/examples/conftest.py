"""Fixtures: the website of the examples, and the two ways to run an example."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support import EXAMPLES, running_python

Site = Callable[..., AbstractContextManager[dict[str, Any]]]


@pytest.fixture(params=[False, True], ids=["threads", "greenify"])
def green(request: pytest.FixtureRequest) -> bool:
    """Whether the example runs under the launcher; with real threads it is the control."""
    return bool(request.param)


@contextlib.contextmanager
def site_server(pages: int, delay: float) -> Iterator[dict[str, Any]]:
    """Run `site_server.py`; yields the addresses that it prints."""
    options = ["--pages", pages, "--delay", delay]
    with running_python(EXAMPLES / "site_server.py", *options, greenify=False) as server:
        yield json.loads(server.readline())


@pytest.fixture(scope="module")
def site() -> Iterator[dict[str, Any]]:
    """A website with all the pages of the demo, but fast."""
    with site_server(300, 0.01) as addresses:
        yield addresses
