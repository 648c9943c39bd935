"""Sphinx configuration: Markdown pages plus references made from the code itself."""

from pathlib import Path

import beadsmith

project = "beadsmith"
author = "The beadsmith developers"
copyright = "2026, the beadsmith developers"
release = beadsmith.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "beadsmith"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# the pages are read offline too: no script is loaded from elsewhere, formulas stay readable as text
mathjax_path = "mathjax-not-bundled.js"


def _write_configuration_reference() -> None:
    """Write the commented default configuration, so that the page can never disagree with the code."""
    from beadsmith.config import describe_configuration

    page = Path(__file__).parent / "reference" / "configuration_generated.yaml"
    page.write_text(describe_configuration(), encoding="utf-8")
