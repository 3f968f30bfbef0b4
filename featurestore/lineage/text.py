"""Lineage as a tree of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from featurestore.lineage.graph import CONTAINERS, Edge, Graph, Node

_KINDS = {
    "source": "source",
    "source_column": "column",
    "feature_view": "feature view",
    "feature": "feature",
    "on_demand_feature_view": "on-demand feature view",
    "on_demand_feature": "on-demand feature",
    "request_field": "request field",
    "feature_service": "feature service",
    "dataset": "dataset",
    "model": "model",
    "monitor_policy": "monitor policy",
    "promotion_policy": "promotion policy",
}
_WAYS = {"aggregation": "aggregated", "group_by": "group", "unresolved": "somewhere in it"}

_Step = Callable[[str], tuple[Edge, ...]]


def tree(root: Node, graph: Graph) -> Iterator[str]:
    """Yield the lines: the object, what it comes from, what comes from it."""
    yield _line(root)
    up = list(_branches(root.id, graph, graph.into, lambda edge: edge.source, set()))
    down = list(_branches(root.id, graph, graph.out_of, lambda edge: edge.target, set()))
    yield from _headed("comes from", up)
    yield from _headed("goes into", down)


def _headed(heading: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"  {heading}"
        yield from (f"  {line}" for line in lines)


def _branches(at: str, graph: Graph, step: _Step, other: Callable[[Edge], str], seen: set[str]) -> Iterator[str]:
    edges = step(at)
    # What only decides over rows is in one line: a query's filters and keys are the same for each of its features.
    together = [edge for edge in edges if edge.rows_only and other(edge) == edge.source and not graph.into(edge.source)]
    apart = [edge for edge in edges if edge not in together]
    for position, edge in enumerate(apart):
        last = position == len(apart) - 1 and not together
        node = graph.nodes[other(edge)]
        again = node.id in seen and bool(step(node.id))
        seen.add(node.id)
        yield f"{'└─' if last else '├─'} {_line(node, edge)}{' (see above)' if again else ''}"
        if not again:
            yield from (f"{'  ' if last else '│ '} {line}" for line in _branches(node.id, graph, step, other, seen))
    if together:
        yield f"└─ rows by {'; '.join(_together(together, graph))}"


def _together(edges: list[Edge], graph: Graph) -> Iterator[str]:
    listed: dict[str, list[str]] = {}
    for edge in edges:
        node = graph.nodes[edge.source]
        source = node.parent.partition(":")[2] or node.name
        column = node.name[len(source) + 1 :] or "all of it"
        listed.setdefault(source, []).append(f"{column} ({', '.join(map(_way, edge.how))})")
    yield from (f"{source}: {', '.join(columns)}" for source, columns in listed.items())


def _line(node: Node, edge: Edge | None = None) -> str:
    about = [_KINDS[node.kind]]
    if node.kind == "source" and node.about.get("path", node.name) != node.name:
        about.append(node.about["path"])
    if node.kind in ("feature", "on_demand_feature", "request_field"):
        about.append(node.about["type"])
    if "aliases" in node.about:
        about.append(node.about["aliases"])
    if "current" in node.about:
        current = node.about["current"]
        about.append(current if current == "removed" else f"current is {current}")
    whole = edge is not None and {edge.source.partition(":")[0], edge.target.partition(":")[0]} <= CONTAINERS
    if edge is not None and not whole:
        about += [_way(how) for how in edge.how if how not in ("identity", "transformation", "part")]
    return f"{node.name}  {', '.join(about)}{' [pii]' if node.pii else ''}"


def _way(how: str) -> str:
    return _WAYS.get(how, how)
