"""What a name's lineage is: what it comes from, what comes from it, and how that is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from featurestore.config import Config
from featurestore.errors import RegistryError, closest
from featurestore.lineage.asking import found
from featurestore.lineage.building import Builder
from featurestore.lineage.catalog import Catalog
from featurestore.lineage.graph import CONTAINERS, Edge, Graph, Node
from featurestore.lineage.mermaid import flowchart
from featurestore.lineage.openlineage import events
from featurestore.lineage.sources import file_columns
from featurestore.lineage.text import tree
from featurestore.markup import Printed
from featurestore.registry import Registry

Form = Literal["text", "mermaid", "json", "openlineage"]


@dataclass(frozen=True)
class Lineage(Printed):
    """What something comes from and what comes from it.

    A feature, a service, a dataset, a model and a policy are followed feature by feature and column by column; a view
    and a source as a whole.

    Attributes:
        root: what was asked for.
        notes: what the reader should know beside the graph.
    """

    root: Node
    notes: tuple[str, ...]
    _graph: Graph
    _catalog: Catalog
    _config: Config

    def __str__(self) -> str:
        return self.render()

    @property
    def upstream(self) -> tuple[Node, ...]:
        """What it comes from, the nearest first."""
        return tuple(self._graph.upstream(self.root.id))

    @property
    def downstream(self) -> tuple[Node, ...]:
        """What comes from it, the nearest first."""
        return tuple(self._graph.downstream(self.root.id))

    @property
    def edges(self) -> tuple[Edge, ...]:
        """What leads from what to what."""
        return self._graph.edges

    def to_json(self) -> dict[str, Any]:
        """Return root, nodes, edges and notes as JSON values."""
        shown = {one.id: one for one in self._graph.nodes.values()}
        shown |= {one.parent: self._holders[one.parent] for one in shown.values() if one.parent}
        return {
            "root": self.root.id,
            "nodes": [shown[one].to_json() for one in sorted(shown)],
            "edges": [edge.to_json() for edge in self.edges],
            "notes": list(self.notes),
        }

    def to_openlineage(self) -> list[dict[str, Any]]:
        """Return OpenLineage events of the jobs that are part of it, as JSON values, causes before effects.

        Each describes its job in full, also where only one feature was asked for: whoever collects events would
        otherwise forget the rest.
        """
        reached = {self.root.id, *self._graph.nodes, *(one.parent for one in self._graph.nodes.values())}
        return events(reached, self._catalog, self._config)

    def render(self, format: Form = "text") -> str:  # noqa: A002 - as the command's option is called
        """Return it as a text: a tree, a Mermaid flowchart, JSON, or OpenLineage events, one a line.

        Raises:
            RegistryError: there is no such form.
        """
        match format:
            case "text":
                return "\n".join([*tree(self.root, self._graph), *(f"Note: {note}" for note in self.notes)])
            case "mermaid":
                return "\n".join(flowchart(self.root, self._graph, self._holders))
            case "json":
                return json.dumps(self.to_json(), indent=2, ensure_ascii=False)
            case "openlineage":
                return "\n".join(json.dumps(event, ensure_ascii=False) for event in self.to_openlineage())
        raise RegistryError(f'Lineage cannot be shown as "{format}".', hint=closest(format, get_args(Form)))

    @property
    def _holders(self) -> Mapping[str, Node]:
        return self._catalog.holders


def catalog_of(registry: Registry, config: Config) -> Catalog:
    """Return what the registry holds, to be taken apart as it is reached: for several questions, until it changes."""
    return Catalog(registry, file_columns(config))


def lineage(
    registry: Registry,
    config: Config,
    reference: str,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    catalog: Catalog | None = None,
) -> Lineage:
    """Return what something comes from and what comes from it.

    Args:
        registry: where it is registered.
        config: where sources lie.
        reference: ``weather``, ``weather@2:temp``, ``flights.arr_delay``, a service, a dataset, a model, a policy.
        up: whether to look for what it comes from.
        down: whether to look for what comes from it.
        depth: how many steps far; None for all.
        catalog: what earlier questions have taken apart, which nobody else uses meanwhile; None for a new one.

    Raises:
        ObjectNotFoundError: there is nothing of that name.
        RegistryError: ``depth`` is no positive number.
    """
    if depth is not None and depth < 1:
        raise RegistryError(f"depth={depth} leads nowhere.", hint="It is a number of steps, 1 or more.")
    catalog = catalog_of(registry, config) if catalog is None else catalog
    builder = Builder(catalog)
    root, start = found(reference, catalog, builder)
    graph = builder.build(start, up=up, down=down, depth=depth)
    notes = builder.notes(root) if down else ()
    if root.kind in CONTAINERS:
        graph = graph.collapsed(catalog.holders)
    root = graph.add(root)
    return Lineage(root, notes, graph, catalog, config)
