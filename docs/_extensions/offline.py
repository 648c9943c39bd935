"""Fail the build if a page would load a script, a style or a font from elsewhere."""

import re
from pathlib import Path

from sphinx.util import logging

_LOADED = re.compile(
    r"""<(?:script|img|iframe)\b[^>]*\bsrc="(?:https?:)?//"""
    r"""|<link\b[^>]*\brel="(?:stylesheet|preload|icon)"[^>]*\bhref="(?:https?:)?//"""
    r"""|@import\s+(?:url\()?["']?(?:https?:)?//"""
)


def setup(app):
    """Look at all pages once they are written."""
    app.connect("build-finished", _check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _check_pages(app, exception):
    if exception is not None:
        return
    for page in sorted(Path(app.outdir).rglob("*.html")):
        if found := _LOADED.search(page.read_text(encoding="utf-8")):
            logging.getLogger(__name__).warning("'%s' loads something from elsewhere: %s", page.name, found[0])
