"""The setuptools commands: they put the compiled pyuv into the wheel, and say there what is bundled."""

import os
import shutil

from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

from build_backend import compiler, sbom


class BuildPyuv(build_ext):
    """``build_ext`` for an extension that pyuv's own setup.py compiles."""

    def build_extension(self, ext):
        compiler.build()
        target = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        for name in (compiler.module_name(),) + compiler.NOTICES:
            shutil.copy(os.path.join(compiler.folder(), name), os.path.dirname(target))


class BuildWheel(bdist_wheel):
    """``bdist_wheel`` with a bill of materials, where PEP 770 wants it."""

    def write_wheelfile(self, wheelfile_base, **kwargs):
        super().write_wheelfile(wheelfile_base, **kwargs)
        folder = os.path.join(wheelfile_base, "sboms")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, sbom.NAME), "w", encoding="utf-8") as file:
            file.write(sbom.text(self.distribution.get_version()))
