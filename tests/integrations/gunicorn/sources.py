"""gunicorn's source distribution, of which some tests run the parts that are not installed.

`.ci/run` downloads it; by hand: ``pip download --no-deps --no-binary :all: -d build/gunicorn gunicorn``.
"""

from __future__ import annotations

import importlib.metadata
import tarfile
from pathlib import Path

import pytest

from tests.support import ROOT


def archive() -> Path | None:
    """The file of the version that is installed."""
    try:
        version = importlib.metadata.version("gunicorn")
    except importlib.metadata.PackageNotFoundError:
        return None
    path = ROOT / "build" / "gunicorn" / f"gunicorn-{version}.tar.gz"
    return path if path.exists() else None


needs_sources = pytest.mark.skipif(
    archive() is None, reason="needs gunicorn's sources in build/gunicorn: .ci/run"
)


def unpack(to: Path, *names: str) -> None:
    """Write the files below `names`, which are paths in the distribution, to a folder."""
    path = archive()
    assert path is not None
    root = path.name.removesuffix(".tar.gz")
    wanted = tuple(f"{root}/{name}" for name in names)
    with tarfile.open(path) as file:
        for member in file.getmembers():
            if member.isfile() and member.name.startswith(wanted):
                content = file.extractfile(member)
                assert content is not None
                target = to / Path(member.name).relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
