"""The setuptools command that puts the compiled pyuv where the wheel, or an editable install, wants it."""

import os
import shutil

from setuptools.command.build_ext import build_ext

from build_backend import compiler


class BuildPyuv(build_ext):
    """``build_ext`` for an extension that pyuv's own setup.py compiles."""

    def build_extension(self, ext):
        compiler.build()
        target = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        for name in (compiler.module_name(),) + compiler.NOTICES:
            shutil.copy(os.path.join(compiler.folder(), name), os.path.dirname(target))
