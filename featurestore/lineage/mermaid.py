"""Lineage as a Mermaid flowchart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from featurestore.lineage.graph import Graph, Node

#: Characters that mean something in a label, as the codes by which Mermaid writes them.
_CODES = {ord(sign): f"#{ord(sign)};" for sign in '#"<>&`\\'} | {ord("\n"): " "}


def flowchart(root: Node, graph: Graph, holders: Mapping[str, Node]) -> Iterator[str]:
    """Yield the lines: each source and view is a box around its columns and features; dotted is what decides on rows.

    A node's id is the same in every chart.
    """
    yield "flowchart LR"
    nodes = sorted(graph.nodes.values(), key=lambda node: (node.parent, node.id))
    for parent in sorted({node.parent for node in nodes}):
        if parent:
            yield f'  subgraph {_id(parent)}["{_text(holders[parent].name)}"]'
        for node in nodes:
            if node.parent == parent:
                name = node.name.removeprefix(holders[parent].name)[1:] if parent else node.name
                label = _text(name + (" (pii)" if node.pii else ""))
                yield f'{"    " if parent else "  "}{_id(node.id)}["{label}"]{_classes(node, root)}'
        if parent:
            yield "  end"
    for edge in graph.edges:
        arrow = "-.->" if edge.rows_only or "unresolved" in edge.how else "-->"
        yield f"  {_id(edge.source)} {arrow} {_id(edge.target)}"
    yield "  classDef root stroke-width:3px"
    yield "  classDef pii stroke:#c00,stroke-dasharray:4"


def _classes(node: Node, root: Node) -> str:
    if node.id == root.id:
        return ":::root"
    return ":::pii" if node.pii else ""


def _id(node: str) -> str:
    return "n" + hashlib.sha256(node.encode()).hexdigest()[:12]


def _text(text: str) -> str:
    return text.translate(_CODES)
