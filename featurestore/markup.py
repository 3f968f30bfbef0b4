"""HTML put together from elements, so that a text is never taken for markup: for notebooks, and files that are sent.

Whatever a name holds, ``<script>`` or quotes, is shown as it is written: texts and attributes are escaped where the
tree becomes text, and nowhere else is there text that could be both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

#: What an element has in it: texts, elements, and None for nothing.
Content: TypeAlias = Element | str | None


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """Return an element.

    Args:
        tag: ``td``.
        content: what is in it, in order.
        attributes: by name; a ``_`` at its end goes (``class_``), one inside is a dash.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    for one in content:
        if isinstance(one, Element):
            made.append(one)
        elif one and len(made):
            made[-1].tail = (made[-1].tail or "") + one
        elif one:
            made.text = (made.text or "") + one
    return made


def table(head: Sequence[str], rows: Iterable[Sequence[Content]], *, caption: str = "") -> Element:
    """Return a table, in whose cells names may be of either direction of writing.

    Args:
        head: titles of the columns; none for a table without.
        rows: their cells.
        caption: what it shows.
    """
    titles = element("thead", element("tr", *(element("th", one, scope="col") for one in head))) if head else None
    body = (element("tr", *(element("td", one, dir="auto") for one in row)) for row in rows)
    return element("table", element("caption", caption) if caption else None, titles, element("tbody", *body))


def listed(items: Iterable[Content]) -> Element:
    """Return a list."""
    return element("ul", *(element("li", one, dir="auto") for one in items))


class Printed:
    """Of what is printed in sentences, and not as its fields: a notebook shows it as ``print`` does."""

    def _repr_html_(self) -> str:
        return text_of(element("pre", str(self), dir="auto"))


def text_of(*elements: Element) -> str:
    """Return elements as HTML."""
    return "".join(tostring(one, encoding="unicode", method="html") for one in elements)
