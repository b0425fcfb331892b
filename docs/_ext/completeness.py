"""A Sphinx extension: a public name that no page documents is a warning, and so an error."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Compare ``__all__`` of each package with what the pages document."""
    # By the last part of their names: a class may be public in two places, and is described once.
    documented = {name.rpartition(".")[2] for name, *_ in env.get_domain("py").get_objects()}
    for package in app.config.completeness_packages:
        for name in import_module(package).__all__:
            if name not in documented:
                logger.warning("%s.%s is public, but on no page of the reference", package, name)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("completeness_packages", [], "env")
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
