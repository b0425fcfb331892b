"""How Sphinx builds these pages: ``make docs``, where every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from greenify import __version__  # noqa: E402 - found by way of the line above

project = "greenify"
author = "the greenify contributors"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "completeness",
    "linked_names",
    "signatures",
    "standard_library",
]
exclude_patterns = ["_ext"]
html_theme = "furo"
html_title = f"greenify {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
# The pages of the project that are included here (README, CHANGES) begin as they like.
suppress_warnings = ["myst.header"]

# Docstrings: `single backticks` mean whatever Python object has that name, or else just code.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# A reference to one of our names has to lead somewhere.  Others may be code, or names of a library; what
# stands in signatures only (type variables, the engine's own classes) has no page.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!greenify\.).*"),
    ("py:class", r"greenify\.(core\..*|[\w.]+\.[A-Z]|loop_access\.HasFileno)"),
]

completeness_packages = [
    "greenify",
    "greenify.aio",
    "greenify.errors",
    "greenify.files",
    "greenify.futures",
    "greenify.io",
]
