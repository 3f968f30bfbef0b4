"""The graph around one object, built from the registry: only what edges lead to is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from featurestore.lineage.catalog import Catalog
from featurestore.lineage.graph import Graph, Node
from featurestore.lineage.sources import label, read_sources
from featurestore.lineage.tables import Table
from featurestore.registry import DatasetRecord, ModelRecord
from featurestore.registry.references import Referrer
from featurestore.registry.usage import some

_POLICIES = ("monitor_policy", "promotion_policy")

#: One step of lineage: a cause, its effect, and how.
_Step = tuple[Node, Node, Iterable[str]]


class Builder:
    """Builds the graph around some nodes.

    Args:
        catalog: what the registry holds.

    Attributes:
        graph: what was built.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.graph = Graph()
        self._catalog = catalog
        self._registry = catalog.registry
        self._readers: dict[str, list[Table]] = {}

    def build(self, start: Iterable[Node], *, up: bool, down: bool, depth: int | None) -> Graph:
        """Add what some nodes come from, and what comes from them, ``depth`` steps far, and return the graph.

        An old version that nothing in use comes from is left out on the way down.
        """
        roots = {node.id for node in start}
        for node in start:
            self.graph.add(node)
        if up:
            self._walk(roots, self._causes, depth)
        before = set(self.graph.nodes)
        if down:
            self._walk(roots, self._effects, depth)
            self.graph = self.graph.without(self._unused(before))
        return self.graph

    def notes(self, root: Node) -> tuple[str, ...]:
        """Return what is to be said of other versions of a view: who takes those instead of the one asked for."""
        view = root.parent if root.kind in ("feature", "on_demand_feature") else root.id
        kind, _, reference = view.partition(":")
        name, _, version = reference.partition("@")
        if kind not in ("feature_view", "on_demand_feature_view"):
            return ()
        others: dict[int, list[str]] = {}
        for (pinned, number), users in sorted(self._pinned.items()):
            if pinned == name and str(number) != version:
                using = [self._catalog.seen_from_here(one.name, one.project) for one in users if one.current]
                others.setdefault(number, []).extend(using)
        return tuple(f"{name}@{number} is used by {some(users)}." for number, users in others.items() if users)

    def _walk(self, roots: Iterable[str], step: Callable[[Node], Iterator[_Step]], depth: int | None) -> None:
        seen, level, far = set(roots), [self.graph.nodes[one] for one in roots], 0
        while level and (depth is None or far < depth):
            after = {}
            for node in level:
                for cause, effect, how in step(node):
                    self.graph.connect(self.graph.add(cause).id, self.graph.add(effect).id, how)
                    other = effect if cause.id == node.id else cause
                    if other.id not in seen:
                        after[other.id] = other
            seen |= after.keys()
            level, far = list(after.values()), far + 1

    def _unused(self, kept: set[str]) -> set[str]:
        """Return what came last and leads to nothing that is in use."""
        candidates = {one for one in self.graph.nodes if one not in kept and not self._used(self.graph.nodes[one])}
        while True:
            used = {one for one in candidates if any(edge.target not in candidates for edge in self.graph.out_of(one))}
            if not used:
                return candidates
            candidates -= used

    def _used(self, node: Node) -> bool:
        if node.kind in ("dataset", "model", *_POLICIES):
            return True
        return (node.parent if node.kind in ("feature", "on_demand_feature") else node.id) in self._catalog.in_use

    # Up

    def _causes(self, node: Node) -> Iterator[_Step]:
        if node.kind in ("feature", "on_demand_feature"):
            table = self._catalog.tables[node.parent]
            (column,) = (one for one in table.columns if one.node is not None and one.node.id == node.id)
            yield from ((cause, node, how) for cause, how in column.causes.items())
        elif node.kind == "feature_service":
            for column in self._catalog.tables[node.id].columns:
                yield from ((cause, node, how) for cause, how in column.causes.items())
        elif node.kind == "dataset":
            record = self._registry.dataset(node.name)
            yield self._service(str(record.manifest["service"])), node, ("part",)
        elif node.kind == "model":
            model = self._registry.model(node.name)
            yield self._service(model.service), node, ("part",)
            yield dataset_node(self._registry.dataset(model.dataset)), node, ("part",)
        elif node.kind in _POLICIES:
            for version in self._watched(node):
                yield self._service(version), node, ("part",)

    def _service(self, reference: str) -> Node:
        name, _, version = reference.partition("@")
        return self._catalog.table("feature_service", name, int(version)).node

    def _watched(self, node: Node) -> list[str]:
        """Return the versions of a policy's service that are in use: it is for all of them."""
        name, _, version = node.name.partition("@")
        (policy,) = (
            one
            for one in self._catalog.referrers
            if (one.kind, one.name, str(one.version)) == (node.kind, name, version)
        )
        if not policy.pins:
            return []  # it watches another stream of rows
        (service,) = policy.pins
        found = {*self._registry.aliases(service).values()}
        found |= {self._catalog.current[service]} if service in self._catalog.current else set()
        return [f"{service}@{one}" for one in sorted(found)]

    # Down

    def _effects(self, node: Node) -> Iterator[_Step]:
        if node.kind in ("source", "source_column"):
            yield from self._of_source(node)
        elif node.kind in ("feature", "on_demand_feature", "request_field"):
            for table in self._users(node.parent):
                yield from _steps_from(node, table)
        elif node.kind == "feature_service":
            yield from self._of_service(node)
        elif node.kind == "dataset":
            yield from ((node, model_node(one), ("part",)) for one in self._catalog.models if one.dataset == node.name)

    def _of_source(self, node: Node) -> Iterator[_Step]:
        source = node.parent or node.id
        for table in self.readers(source.partition(":")[2]):
            yield from _steps_from(node, table)
            if node.parent:  # somewhere in the source may be here
                for column in table.columns:
                    for cause, how in column.causes.items():
                        if cause.id == source and "unresolved" in how and column.node is not None:
                            yield node, column.node, ("unresolved",)

    def readers(self, source: str) -> list[Table]:
        """Return the versions of views whose rows are read from a source."""
        if source in self._readers:
            return self._readers[source]
        said = source.removeprefix("query of ")
        self._readers[source] = [
            self._catalog.taken_apart(one)
            for one in self._registry.views_that_say(said)
            if any(label(read, one.name) == source for read in read_sources(one.definition.source))
        ]
        return self._readers[source]

    def _users(self, view: str) -> Iterator[Table]:
        """Yield what takes features of a view: itself where it has request fields, what is pinned to it."""
        kind, _, reference = view.partition(":")
        name, _, version = reference.partition("@")
        if kind == "on_demand_feature_view":
            yield self._catalog.tables[view]
        for one in self.pinned_to(name, int(version)):
            if one.kind not in _POLICIES:
                yield self._catalog.table(one.kind, self._catalog.seen_from_here(one.name, one.project), one.version)

    def pinned_to(self, name: str, version: int) -> list[Referrer]:
        """Return the definitions, of any project, that are pinned to a version."""
        return self._pinned.get((name, version), [])

    @cached_property
    def _pinned(self) -> dict[tuple[str, int], list[Referrer]]:
        found: dict[tuple[str, int], list[Referrer]] = {}
        for one in self._catalog.referrers:
            for name, version in one.pins.items():
                found.setdefault((self._catalog.seen_from_here(name, one.project), version), []).append(one)
        return found

    def _of_service(self, node: Node) -> Iterator[_Step]:
        name = node.name.partition("@")[0]
        if "/" in name:
            return  # what became of it is the other project's
        for record in self._datasets.get(node.name, ()):
            yield node, dataset_node(record), ("part",)
        for model in self._catalog.models:
            if model.service == node.name:
                yield node, model_node(model), ("part",)
        for one in self._catalog.referrers if node.id in self._catalog.in_use else ():
            if one.kind in _POLICIES and one.current and name in one.pins:
                yield node, policy_node(one), ("part",)

    @cached_property
    def _datasets(self) -> dict[str, list[DatasetRecord]]:
        found: dict[str, list[DatasetRecord]] = {}
        for one in self._registry.datasets():
            found.setdefault(str(one.manifest["service"]), []).append(one)
        return found


def dataset_node(record: DatasetRecord) -> Node:
    """Return a training dataset as a node."""
    return Node(kind="dataset", name=record.id)


def model_node(record: ModelRecord) -> Node:
    """Return a model as a node."""
    return Node(kind="model", name=record.id)


def policy_node(one: Referrer) -> Node:
    """Return a policy as a node."""
    return Node(kind=one.kind, name=f"{one.name}@{one.version}")


def _steps_from(node: Node, table: Table) -> Iterator[_Step]:
    for column in table.columns:
        for cause, how in column.causes.items():
            if cause.id == node.id and (column.node is not None or table.node.kind == "feature_service"):
                yield node, column.node or table.node, how
