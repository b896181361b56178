"""How Sphinx makes the site of what `pages.py` has written."""

from typing import Any

project = "A message queue in small steps"
author = "the authors of message-queue-stages"
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc"]

nb_execution_mode = "off"  # the outputs are stored, and CI compares them
nb_render_markdown_format = "myst"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # else they come from a CDN
nb_code_prompt_show = "Show {type}"
nb_code_prompt_hide = "Hide {type}"
myst_heading_anchors = 3
suppress_warnings = [
    "mystnb.unknown_mime_type",  # pictures come in several forms
    "myst.header",
    "myst.xref_missing",
]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they stand in the source below
default_role = "code"  # what our docstrings have between backticks

html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search is in the sidebar
    "extra_footer": "",
}
html_context = {"default_mode": "auto"}  # as the reader's system
html_favicon = "icon.svg"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def with_code_blocks(
    app: object, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """In our docstrings, what is indented is an exchange or a command."""
    written, inside = list[str](), False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not inside:
            written += ["", ".. code-block:: text", ""]
        elif line.strip() and inside and not indented:
            written.append("")
        inside = indented or (inside and not line.strip())
        written.append(line)
    lines[:] = written


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", with_code_blocks)
