"""Show formulas as MathML: every current browser does so without a script or a font from elsewhere."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml


def setup(app):
    """Register the renderer; docutils itself turns LaTeX into MathML."""
    app.add_html_math_renderer("mathml", inline_renderers=(_show_inline, None), block_renderers=(_show_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _show_inline(translator, node):
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _show_block(translator, node):
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode
