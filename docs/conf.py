"""Sphinx configuration: Markdown pages, and references made from the code itself. Nothing is fetched, now or later."""

import sys
from pathlib import Path

import beadsmith

sys.path.append(str(Path(__file__).parent / "_extensions"))

project = "beadsmith"
author = "The beadsmith developers"
copyright = "2026, the beadsmith developers"
release = beadsmith.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "generated_pages", "mathml", "offline"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_extensions"]
html_theme = "furo"
html_title = f"beadsmith {release}"
html_math_renderer = "mathml"
html_copy_source = False
# quotes around options such as --output must stay what they are
smartquotes = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
