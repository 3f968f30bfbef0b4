"""Views and services column by column: what each column is made from, one step back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl
from polars.exceptions import PolarsError

from featurestore.definitions import FeatureService, FeatureView, Field, FileSource, OnDemandFeatureView, SqlSource
from featurestore.definitions.shared import SharedFeatureView
from featurestore.lineage.graph import Node
from featurestore.lineage.origins import Origins
from featurestore.lineage.queries import query_lineage
from featurestore.lineage.sources import FileColumns, column_node, read_sources, source_node

#: Nodes that something comes from, each with the ways in which it does.
Causes = Mapping[Node, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a view, or one feature of a service.

    Attributes:
        name: its name.
        dtype: its type's name.
        description: for people.
        node: the feature as a node of the graph; None of a key or an event time, which are in no graph.
        causes: what its values come from, and what decides over its rows.
    """

    name: str
    dtype: str
    description: str = ""
    node: Node | None = None
    causes: Causes


@dataclass(frozen=True, kw_only=True)
class Table:
    """A view or a service, taken apart.

    Attributes:
        node: it, as a node.
        columns: its columns.
        inputs: what it reads as a whole: sources, or the tables of views.
        query: the SQL that makes it, if SQL does.
        at: since when there is this version.
    """

    node: Node
    columns: tuple[Column, ...]
    inputs: tuple[Node, ...]
    query: str = ""
    at: datetime


def called(view: FeatureView | OnDemandFeatureView, pins: Mapping[str, int]) -> str:
    """Return the version of a view that a definition is pinned to: ``weather@2``, ``sales/weather@2``."""
    name = view.reference if isinstance(view, SharedFeatureView) else view.name
    return f"{name}@{pins[name]}"


def feature_node(one: Field, view: Node) -> Node:
    """Return a feature of a view, or of an on-demand view, as a node."""
    kind = "feature" if view.kind == "feature_view" else "on_demand_feature"
    about = {"type": str(one.dtype)} | ({"current": view.about["current"]} if "current" in view.about else {})
    return Node(kind=kind, name=f"{view.name}:{one.feature}", parent=view.id, pii=one.pii, about=about)


def view_table(view: FeatureView, node: Node, at: datetime, files: FileColumns) -> Table:
    """Return a stored view, taken apart.

    Args:
        view: its definition.
        node: it, as a node.
        at: when the version was applied.
        files: tells the columns of files where the view's query leaves open what it takes.
    """
    node = replace(node, pii=any(one.pii for one in view.schema))
    sources = {source.name: source for source in (source_node(one, view) for one in read_sources(view.source))}
    time = (view.timestamp_field, *filter(None, (view.created_timestamp_column,)))
    found, rows = _columns(view, [*(one.name for one in view.schema), *view.keys, *time], sources, files)
    deciding = [rows]
    deciding += [_all_as("key", found[key]) for key in view.keys if key in found]
    deciding += [_all_as("time", found[name]) for name in time if name in found]
    keys = [Column(name=key, dtype=str(dtype), causes=found.get(key, {})) for key, dtype in view.keys.items()]
    event_time = Column(name="event_timestamp", dtype="Timestamp", causes=found.get(view.timestamp_field, {}))
    features = [
        Column(
            name=one.name,
            dtype=str(one.dtype),
            description=one.description,
            node=feature_node(one, node),
            causes=_merged([found.get(one.name, {}), *deciding]),
        )
        for one in view.schema
    ]
    query = "" if isinstance(view.source, FileSource) else getattr(view.source, "query", "")
    return Table(
        node=node, columns=(*keys, event_time, *features), inputs=tuple(sources.values()), query=query.strip(), at=at
    )


def _columns(
    view: FeatureView, wanted: Iterable[str], sources: Mapping[str, Node], files: FileColumns
) -> tuple[dict[str, Causes], Causes]:
    """Return what each column of a view's rows comes from, and what all rows do."""
    names = list(dict.fromkeys(wanted))
    if not sources:
        return {}, {}
    if isinstance(view.source, SqlSource):
        by_name = {one.name: one for one in view.source.sources}
        read = query_lineage(view.source, names, lambda name: files(by_name[name]))
        return {name: _nodes(read.columns[name], sources) for name in names}, _nodes(read.rows, sources)
    (source,) = sources.values()
    return {name: {column_node(source, name): frozenset({"identity"})} for name in names}, {}


def _nodes(origins: Origins, sources: Mapping[str, Node]) -> Causes:
    found: dict[Node, frozenset[str]] = {}
    for one in sorted(origins):
        source = sources[one.table]
        cause = column_node(source, one.column) if one.column else source
        found[cause] = found.get(cause, frozenset()) | {one.how}
    return found


def on_demand_table(view: OnDemandFeatureView, node: Node, at: datetime, inputs: Mapping[str, Node]) -> Table:
    """Return an on-demand view, taken apart.

    Args:
        view: its definition.
        node: it, as a node.
        at: when the version was applied.
        inputs: the nodes of its input views, by the views' names.
    """
    node = replace(node, pii=any(one.pii for one in view.schema))
    given = {one.name: feature_node(one, inputs[use.view.name]) for use in view.uses for one in use.outputs}
    given |= {
        one.name: Node(
            kind="request_field",
            name=f"{node.name}:{one.name}",
            parent=node.id,
            pii=one.pii,
            about={"type": str(one.dtype)},
        )
        for one in view.request
    }
    columns = []
    for one in view.schema:
        how = frozenset({"transformation"})
        named = _named(view, one.name, given)
        columns.append(
            Column(
                name=one.name,
                dtype=str(one.dtype),
                description=one.description,
                node=feature_node(one, node),
                causes={given[name]: how for name in named},
            )
        )
    return Table(node=node, columns=tuple(columns), inputs=tuple(inputs.values()), at=at)


def _named(view: OnDemandFeatureView, feature: str, given: Iterable[str]) -> list[str]:
    """Return the inputs that a feature is computed from; a function may use all that it is given for each."""
    known = list(given)
    if view.function is not None:
        return known
    try:
        roots = set(pl.sql_expr(view.expressions[feature]).meta.root_names())
    except PolarsError:
        return known
    return [name for name in known if name in roots]


def service_table(service: FeatureService, node: Node, at: datetime, views: Mapping[str, Node]) -> Table:
    """Return a service, taken apart: each of its features is one of a view.

    Args:
        service: its definition.
        node: it, as a node.
        at: when the version was applied.
        views: the nodes of the views that it takes features of, by the views' names.
    """
    outputs = service.outputs
    # Of one view there may be several uses, each with a name of its own.
    views = dict(views) | {use.name: views[use.view.name] for use in service.uses}
    node = replace(node, pii=any(one.pii for fields in outputs.values() for one in fields))
    columns = tuple(
        Column(
            name=one.name,
            dtype=str(one.dtype),
            description=one.description,
            causes={feature_node(one, views[view]): frozenset({"part"})},
        )
        for view, fields in outputs.items()
        for one in fields
    )
    return Table(node=node, columns=columns, inputs=tuple(dict.fromkeys(views[name] for name in outputs)), at=at)


def _all_as(how: str, causes: Causes) -> Causes:
    return {cause: frozenset({how}) for cause in causes}


def _merged(parts: Iterable[Causes]) -> Causes:
    found: dict[Node, frozenset[str]] = {}
    for part in parts:
        for cause, how in part.items():
            found[cause] = found.get(cause, frozenset()) | how
    return found
