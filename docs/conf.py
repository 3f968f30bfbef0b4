"""How the documentation is built: ``make docs``, or ``python -m sphinx -W --keep-going docs build/docs``.

Sphinx, MyST and Furo: they are kept (9.2 is of October, 5.2 of November 2026; Furo's last is of December 2025), warn of
each link and anchor that leads nowhere, and fetch nothing, no fonts and no scripts from elsewhere; their licences are
BSD's and MIT's. MkDocs has had no release since August 2024, and its usual theme is mended no more since November 2026;
ProperDocs keeps the one without the other; Zensical, which follows both, is at 0.1.

Pages are Markdown that reads as well where it lies. So the tree of pages is no directive in them: it is what the list
in ``index.md`` links to, heading by heading. Reference pages have marks, ``<!-- generated: commands -->``, in whose
place comes what the code says of itself (``_reference/``); nothing that is generated is kept.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))
sys.path.insert(0, str(_HERE.parent))

from _reference import PAGES  # noqa: E402 - its folder has to be on the path first
from sphinx.ext.napoleon.docstring import GoogleDocstring  # noqa: E402 - as above

import featurestore  # noqa: E402 - as above

project = "featurestore"
author = "the featurestore authors"
project_copyright = f"2026, {author}"
release = featurestore.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_reference", "_templates"]
needs_sphinx = "9.0"

html_theme = "furo"
html_title = f"featurestore {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}

#: GitHub's anchors, so that one link works there and here; Sphinx warns of each that no heading has.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
suppress_warnings = ["myst.header"]  # pages of commands skip from the second level to the fourth for groups of groups

#: Each class that a signature names has to be on a page, or here with its reason.
nitpicky = True
nitpick_ignore_regex = [
    # Python and libraries have pages of their own, and a build asks no other machine for their inventories.
    (r"py:.*", r"(collections|datetime|decimal|os|pathlib|typing)\..*"),
    (r"py:.*", r"(altair|np|numpy|pa|pd|pl|pandas|polars|pyarrow|sqlalchemy)\..*|NDArray"),
    # Constants, modules and attributes are named for whoever reads the code; for others they stand beside.
    (r"py:(attr|data|mod)", r".*"),
    # What Sphinx makes of some annotations: it cuts them at a comma.
    (r"py:(class|obj)", r".*\[.*"),
    # Names of types alone, which stand for what is written out where they are used.
    (r"py:class", r"BatchFunction|plots\.Chart|featurestore\.registry\.records\.D"),
    # Messages of protobuf are on the page of the contract.
    (r"py:class", r"featurestore\.v1\..*"),
    # Parts of the house that a method works with, and nobody makes who is not at work on them.
    (r"py:class", r"featurestore\.(config|notices|online|profiles|serving|storage|transforms)\..*"),
    (
        r"py:class",
        r"featurestore\.(client\.(answer|conversation|network|schema)|definitions\.(field|functions)|lineage\.catalog)\..*",
    ),
    (r"py:class", r"featurestore\.(offline\.(store|join\.(engines|question))|registry\.registry)\..*"),
    (r"py:class", r"monitor\.(alerts|baselines|budget|history|store|windows)\..*"),
    (r"py:class", r"monitor\.(detector\.(events|limits|phases|scores)|parity\.checking|performance\.histogram)\..*"),
]

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are described once, in the class
napoleon_use_rtype = False

_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE = re.compile(r"\]\(((?!\.\.)[\w./-]+)\.md\)")
#: Files of the repository that are pages here under another name.
_ELSEWHERE = {"benchmarks/results.md": "reference/measured.md", "README.md": "index.md"}
_LINK = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<file>benchmarks/results\.md|README\.md)")


def _expand(_app: Any, name: str, source: list[str]) -> None:
    """Put what is generated in the place of its mark, and the tree of pages under the list of them."""
    source[0] = _MARK.sub(lambda mark: PAGES[mark[1]](), source[0])
    top = "../" * name.count("/")
    source[0] = _LINK.sub(lambda link: f"]({top}{_ELSEWHERE[link['file']]}", source[0])
    if name == "index":
        _, *parts = _HEADING.split(source[0])
        trees = [
            f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(_PAGE.findall(text)) + "\n```\n"
            for caption, text in zip(parts[::2], parts[1::2], strict=True)
        ]
        source[0] += "\n" + "\n".join(trees)


def _whole(docstring: Any) -> tuple[str, list[str]]:
    """Return no type, and all lines of a property's docstring: Napoleon takes what its first colon ends for a type."""
    lines = docstring._dedent(docstring._consume_to_end())
    return "", docstring.__class__(lines, docstring._config).lines()


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this when it starts."""
    app.connect("source-read", _expand)
    GoogleDocstring._consume_inline_attribute = _whole
    return {"parallel_read_safe": True}
