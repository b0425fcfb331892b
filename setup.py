"""The one thing that setup.cfg cannot say: there is a compiled module, and how it is made."""

from setuptools import Extension, setup

import build_backend
from build_backend.command import BuildPyuv, BuildWheel

setup(
    # No sources: BuildPyuv compiles the published pyuv, with pyuv's own setup.py.
    ext_modules=[Extension("greenify._vendor.pyuv._cpyuv", sources=[])],
    cmdclass={"build_ext": BuildPyuv, "bdist_wheel": BuildWheel},
    # A folder of its own for each build: what an earlier build left in build/lib* would end up in the wheel.
    options={"build": {"build_base": build_backend.scratch()}},
)
