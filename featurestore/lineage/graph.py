"""A graph of what is made from what: nodes, edges from the cause to the effect, and ways through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: How one thing comes from another, the closest first. ``identity`` to ``unresolved`` say where a value comes from;
#: ``unresolved`` that it is from somewhere in a source, as its query cannot be taken apart. The rest decide which rows
#: there are, and which of them counts. ``part`` is what is neither: a service takes a feature.
HOW = (
    "identity",
    "transformation",
    "aggregation",
    "unresolved",
    "part",
    "key",
    "time",
    "join",
    "filter",
    "group_by",
    "window",
    "sort",
)
ROWS = frozenset(HOW[HOW.index("key") :])

#: The kinds of nodes, causes before effects.
KINDS = (
    "source",
    "source_column",
    "feature_view",
    "feature",
    "request_field",
    "on_demand_feature_view",
    "on_demand_feature",
    "feature_service",
    "dataset",
    "model",
    "monitor_policy",
    "promotion_policy",
)

#: What holds others.
CONTAINERS = frozenset({"source", "feature_view", "on_demand_feature_view"})


@dataclass(frozen=True, kw_only=True)
class Node:
    """One thing that something is made from, or that is made from something.

    Attributes:
        kind: one of :data:`KINDS`.
        name: as it may be asked for: ``weather@2:temp``, ``flights.arr_delay``, ``flight_delay@1``.
        parent: the id of the source or view that it is a part of; empty if of none.
        pii: whether it is tagged as about persons, or holds what is.
        about: what else is known, for people: the type, the path, aliases, the current version.
    """

    kind: str
    name: str
    parent: str = ""
    pii: bool = field(default=False, compare=False)
    about: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def id(self) -> str:
        """What tells it from every other node, and stays the same: ``feature:weather@2:temp``."""
        # DuckDB's columns are the same in upper and lower case.
        return f"{self.kind}:{self.name.casefold() if self.kind == 'source_column' else self.name}"

    def to_json(self) -> dict[str, Any]:
        """Return the node as JSON values."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "parent": self.parent,
            "pii": self.pii,
            "about": dict(self.about),
        }


@dataclass(frozen=True, kw_only=True)
class Edge:
    """That ``target`` comes from ``source``; ``how`` has members of :data:`HOW`, the closest first."""

    source: str
    target: str
    how: tuple[str, ...]

    @property
    def rows_only(self) -> bool:
        """Whether no value comes this way: the cause only decides which rows there are."""
        return ROWS.issuperset(self.how)

    def to_json(self) -> dict[str, Any]:
        """Return the edge as JSON values."""
        return {"source": self.source, "target": self.target, "how": list(self.how)}


class Graph:
    """Nodes by id, and the edges between them."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._into: dict[str, dict[str, set[str]]] = {}
        self._out_of: dict[str, dict[str, set[str]]] = {}

    def add(self, node: Node) -> Node:
        """Add a node, unless it is there, and return the one that is."""
        return self.nodes.setdefault(node.id, node)

    def connect(self, source: str, target: str, how: Iterable[str]) -> None:
        """Add an edge, or more ways to one that is there; both nodes are known."""
        ways = self._into.setdefault(target, {}).setdefault(source, set())
        ways.update(how)
        self._out_of.setdefault(source, {})[target] = ways

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge, in order of the ids."""
        pairs = sorted((source, target) for target, into in self._into.items() for source in into)
        return tuple(self.edge(*pair) for pair in pairs)

    def edge(self, source: str, target: str) -> Edge:
        """Return the edge between two nodes that are connected."""
        return Edge(source=source, target=target, how=tuple(sorted(self._into[target][source], key=HOW.index)))

    def into(self, target: str) -> tuple[Edge, ...]:
        """Return the edges that lead to a node, those with values first, then by kind and name."""
        found = (self.edge(source, target) for source in self._into.get(target, ()))
        return tuple(sorted(found, key=lambda edge: (edge.rows_only, *self._place(edge.source))))

    def out_of(self, source: str) -> tuple[Edge, ...]:
        """Return the edges that lead away from a node, by kind and name."""
        return tuple(self.edge(source, target) for target in sorted(self._out_of.get(source, ()), key=self._place))

    def _place(self, node: str) -> tuple[int, str]:
        return KINDS.index(self.nodes[node].kind), node

    def reached(self, start: str, step: Callable[[str], Iterable[str]]) -> Iterator[str]:
        """Yield the ids that steps lead to from ``start``, the nearest first; without ``start``."""
        seen, level = {start}, [start]
        while level:
            level = list(dict.fromkeys(after for one in level for after in step(one) if after not in seen))
            seen.update(level)
            yield from level

    def upstream(self, start: str) -> list[Node]:
        """Return all that a node comes from, the nearest first."""
        return [self.nodes[one] for one in self.reached(start, lambda at: (edge.source for edge in self.into(at)))]

    def downstream(self, start: str) -> list[Node]:
        """Return all that comes from a node, the nearest first."""
        return [self.nodes[one] for one in self.reached(start, lambda at: (edge.target for edge in self.out_of(at)))]

    def without(self, ids: Iterable[str]) -> Graph:
        """Return the graph without some nodes and their edges."""
        gone = set(ids)
        kept = Graph()
        for node in self.nodes.values():
            if node.id not in gone:
                kept.add(node)
        for edge in self.edges:
            if not {edge.source, edge.target} & gone:
                kept.connect(edge.source, edge.target, edge.how)
        return kept

    def collapsed(self, containers: Mapping[str, Node]) -> Graph:
        """Return the graph of what holds things: a view in place of its features, a source in place of its columns."""
        small = Graph()
        within: dict[str, str] = {}
        for node in self.nodes.values():
            within[node.id] = small.add(containers[node.parent] if node.parent else node).id
        for edge in self.edges:
            source, target = within[edge.source], within[edge.target]
            if source != target:
                small.connect(source, target, edge.how)
        return small
