"""The build backend (PEP 517, PEP 660): setuptools, after the bundled pyuv has been compiled.

greenify's event loop library, pyuv 1.4.0, does not compile on CPython >= 3.10 as published, and has no
wheels.  So greenify's wheel carries it: this package fetches pyuv's sdist (`sdist.py`), compiles it with a
compatibility header (`compiler.py`, `pyuv_compat.h`), and lets setuptools put the result in
``greenify/_vendor/pyuv/`` (`command.py`).  `checks.py` turns away machines on which that cannot work.

Nothing is imported from setuptools before the ``get_requires_*`` hooks have run: they look at the machine
first, and then ask for setuptools.  This package keeps to the syntax of Python 3.6, to say on an old
Python that it is too old.
"""

import atexit
import functools
import shutil
import sys
import tempfile

from build_backend import checks, compiler, sdist

# 70.1 is the first that makes wheels without the `wheel` package.
SETUPTOOLS = "setuptools>=70.1"

_scratch = []


def scratch():
    """The folder for setuptools' own intermediate files; removed when the build ends."""
    if not _scratch:
        _scratch.append(tempfile.mkdtemp(prefix="greenify-build-"))
        atexit.register(shutil.rmtree, _scratch[0], ignore_errors=True)
    return _scratch[0]


def _hook(function):
    """Turn a BuildError into its message and exit code 1: no traceback around the one line that matters."""

    @functools.wraps(function)
    def hook(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except checks.BuildError as exc:
            sys.stdout.flush()
            sys.stderr.write("\n%s\n\n" % exc)
            sys.stderr.flush()
            raise SystemExit(1) from None

    return hook


def _requires():
    sdist.check_index(SETUPTOOLS)
    # Where the environment has no pip of its own (uv, some isolated builders), ask for one.
    return [SETUPTOOLS] if sdist.fetch(optional=True) else [SETUPTOOLS, "pip"]


@_hook
def get_requires_for_build_wheel(config_settings=None):
    checks.check_platform()
    if not compiler.is_built():
        checks.check_compiler()
    return _requires()


get_requires_for_build_editable = get_requires_for_build_wheel


@_hook
def get_requires_for_build_sdist(config_settings=None):
    checks.check_platform()
    return _requires()


@_hook
def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    checks.check_platform()
    from setuptools import build_meta

    return build_meta.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


@_hook
def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    checks.check_platform()
    from setuptools import build_meta

    return build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings)


@_hook
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    checks.check_platform()
    compiler.build()
    from setuptools import build_meta

    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


@_hook
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    checks.check_platform()
    compiler.build()
    from setuptools import build_meta

    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


@_hook
def build_sdist(sdist_directory, config_settings=None):
    checks.check_platform()
    # greenify's sdist carries pyuv's, so that it can be built without fetching it.
    sdist.fetch()
    from setuptools import build_meta

    return build_meta.build_sdist(sdist_directory, config_settings)
