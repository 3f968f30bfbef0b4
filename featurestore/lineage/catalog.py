"""What the registry holds, as lineage sees it: versions of views and services taken apart, each when it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import cast

from featurestore.definitions import Definition, FeatureService, FeatureView, OnDemandFeatureView
from featurestore.definitions.shared import SharedFeatureView
from featurestore.lineage.graph import Node
from featurestore.lineage.sources import FileColumns
from featurestore.lineage.tables import Table, on_demand_table, service_table, view_table
from featurestore.registry import ModelRecord, Registered, Registry
from featurestore.registry.references import Referrer


class Catalog:
    """Views and services by the ids of their nodes; what belongs to another project has its name before its own.

    Args:
        registry: where definitions, datasets and models are.
        files: tells the columns of files where a query leaves open what it takes.

    Attributes:
        tables: the versions that were reached, taken apart.
        holders: sources and views, by id: what holds columns and features.
        in_use: the ids of versions that are current, or that an alias points to.
    """

    def __init__(self, registry: Registry, files: FileColumns) -> None:
        self.registry = registry
        self.tables: dict[str, Table] = {}
        self.holders: dict[str, Node] = {}
        self.in_use: set[str] = set()
        self._files = files

    @cached_property
    def current(self) -> dict[str, int]:
        """The numbers of the current versions, by name."""
        return self.registry.current_versions()

    @cached_property
    def referrers(self) -> list[Referrer]:
        """Every version of every definition that refers to a view or a service."""
        return self.registry.referrers()

    @cached_property
    def models(self) -> list[ModelRecord]:
        """Every model that is not removed."""
        return self.registry.models()

    def table(self, kind: str, name: str, version: int) -> Table:
        """Return a version, taken apart, by its name as seen from this project: ``weather``, ``sales/weather``."""
        found = self.tables.get(f"{kind}:{name}@{version}")
        if found is not None:
            return found
        project, _, bare = name.rpartition("/")
        registered = self.registry.definitions([(bare, version)], kind=kind, project=project)[bare, version]
        return self.taken_apart(registered)

    def taken_apart(self, registered: Registered[Definition]) -> Table:
        """Return a version of a view or a service, taken apart."""
        node = self.node(registered)
        if node.id not in self.tables:
            definition = registered.definition
            at = registered.applied_at
            if isinstance(definition, OnDemandFeatureView):
                table = on_demand_table(definition, node, at, self._reached(definition.input_views, registered))
            elif isinstance(definition, FeatureService):
                reached = self._reached((*definition.views, *definition.on_demand_views), registered)
                table = service_table(definition, node, at, reached)
            else:
                table = view_table(cast("FeatureView", definition), node, at, self._files)
                self.holders |= {one.id: one for one in table.inputs}
            self.tables[node.id] = table
            if node.kind != "feature_service":
                self.holders[node.id] = table.node
        return self.tables[node.id]

    def _reached(
        self, views: Sequence[FeatureView | OnDemandFeatureView], by: Registered[Definition]
    ) -> dict[str, Node]:
        """Return the nodes of the views that a definition is pinned to, by the views' own names, not their uses'."""
        found = {}
        for view in views:
            pinned = view.reference if isinstance(view, SharedFeatureView) else view.name
            kind = "on_demand_feature_view" if isinstance(view, OnDemandFeatureView) else "feature_view"
            found[view.name] = self.table(kind, self.seen_from_here(pinned, by.project), by.pins[pinned]).node
        return found

    def seen_from_here(self, name: str, project: str) -> str:
        """Return what we call an object that a project calls ``weather``, or ``sales/weather``."""
        owner, _, bare = name.rpartition("/")
        owner = owner or project
        return bare if owner == self.registry.project else f"{owner}/{bare}"

    def node(self, registered: Registered[Definition]) -> Node:
        """Return a version as a node."""
        name = self.seen_from_here(registered.name, registered.project)
        about: dict[str, str] = {}
        if "/" not in name:
            current = self.current.get(name)
            if current != registered.version:
                about["current"] = "removed" if current is None else f"{name}@{current}"
            if registered.kind == "feature_service":
                aliases = self.registry.aliases(name)
                pointing = sorted(alias for alias, version in aliases.items() if version == registered.version)
                about |= {"aliases": ", ".join(pointing)} if pointing else {}
        node = Node(kind=registered.kind, name=f"{name}@{registered.version}", about=about)
        if "current" not in about or "aliases" in about:
            self.in_use.add(node.id)
        return node
