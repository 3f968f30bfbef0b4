"""What a user may ask for, by name: ``weather``, ``weather@2:temp``, ``flights.arr_delay``, a dataset, a model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from featurestore.definitions import Definition
from featurestore.errors import ObjectNotFoundError, closest
from featurestore.lineage.building import Builder, dataset_node, model_node
from featurestore.lineage.catalog import Catalog
from featurestore.lineage.graph import CONTAINERS, Node
from featurestore.lineage.sources import label, read_sources
from featurestore.registry import Registered
from featurestore.registry.graph import words

_OBJECT = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:@[1-9][0-9]{0,8})?")
_VIEWS = ("feature_view", "on_demand_feature_view")


def found(reference: str, catalog: Catalog, builder: Builder) -> tuple[Node, tuple[Node, ...]]:
    """Return the node that a name stands for, and those to start from: a view's features, a source's columns.

    Raises:
        ObjectNotFoundError: nothing has that name.
    """
    head, colon, feature = reference.partition(":")
    if colon and _OBJECT.fullmatch(head):
        return _after_colon(head, feature, catalog)
    if _OBJECT.fullmatch(reference):
        node = _object(reference, catalog) or _made(reference, catalog)
        if node is not None:
            return node, _members(node, catalog)
    return _of_source(reference, catalog, builder)


def _registered(reference: str, catalog: Catalog) -> Registered[Definition] | None:
    if "@" not in reference and reference not in catalog.current:
        return None  # to look for names that are close takes long among many
    try:
        return catalog.registry.get(reference)
    except ObjectNotFoundError:
        return None


def _object(reference: str, catalog: Catalog) -> Node | None:
    registered = _registered(reference, catalog)
    if registered is None:
        return None
    if registered.kind == "entity":
        raise ObjectNotFoundError(
            f'"{reference}" is an entity, and has no lineage of its own.',
            hint="Ask for a view that has it; its join keys are among what the view's features come from.",
        )
    if registered.kind.endswith("policy"):
        return Node(kind=registered.kind, name=registered.id)
    return catalog.taken_apart(registered).node


def _made(reference: str, catalog: Catalog, kind: str = "") -> Node | None:
    """Return the dataset or the model of that name, if there is one."""
    for one, get in (("dataset", _dataset), ("model", _model)):
        if kind in ("", one):
            try:
                return get(reference, catalog)
            except ObjectNotFoundError:
                if kind:
                    raise
    return None


def _dataset(reference: str, catalog: Catalog) -> Node:
    return dataset_node(catalog.registry.dataset(reference))


def _model(reference: str, catalog: Catalog) -> Node:
    return model_node(catalog.registry.model(reference))


def _members(node: Node, catalog: Catalog) -> tuple[Node, ...]:
    if node.kind not in CONTAINERS:
        return (node,)
    return tuple(one.node for one in catalog.tables[node.id].columns if one.node is not None)


def _after_colon(head: str, feature: str, catalog: Catalog) -> tuple[Node, tuple[Node, ...]]:
    registered = _registered(head, catalog)
    if registered is None and head in ("dataset", "model"):
        made = _made(feature, catalog, head)
        if made is not None:
            return made, (made,)
    registered = registered or catalog.registry.get(head)  # which says what there is
    if registered.kind not in _VIEWS:
        raise ObjectNotFoundError(
            f'"{registered.id}" is {words(registered.kind)}, which has no features of its own.',
            hint=f"Ask for the feature of a view, or for all of it: featurestore lineage {head}",
        )
    table = catalog.taken_apart(registered)
    nodes = {one.name: one.node for one in table.columns if one.node is not None}
    nodes |= {
        cause.name.rpartition(":")[2]: cause
        for one in table.columns
        for cause in one.causes
        if cause.kind == "request_field"
    }
    if feature not in nodes:
        raise ObjectNotFoundError(f'"{registered.id}" has no feature "{feature}".', hint=closest(feature, nodes))
    return nodes[feature], (nodes[feature],)


def _of_source(reference: str, catalog: Catalog, builder: Builder) -> tuple[Node, tuple[Node, ...]]:
    for source, column in _splits(reference):
        tables = builder.readers(source)
        if not tables:
            continue
        (node,) = {one.id: one for table in tables for one in table.inputs if one.name == source}.values()
        causes = {cause.id: cause for table in tables for one in table.columns for cause in one.causes}
        columns = {one.name[len(source) + 1 :]: one for one in causes.values() if one.parent == node.id}
        if not column:
            return node, (node, *columns.values())
        for name, one in columns.items():
            if name.casefold() == column.casefold():
                return one, (one,)
        raise ObjectNotFoundError(
            f'Nothing is known to be made from a column "{column}" of source "{source}".', hint=closest(column, columns)
        )
    raise _unknown(reference, catalog)


def _splits(reference: str) -> Iterator[tuple[str, str]]:
    """Yield what may be a source, and what a column of it: paths have dots too."""
    yield reference, ""
    for at in reversed([at for at, sign in enumerate(reference) if sign == "."]):
        yield reference[:at], reference[at + 1 :]


def _unknown(reference: str, catalog: Catalog) -> ObjectNotFoundError:
    registry = catalog.registry
    name = reference.partition("@")[0]
    if name in catalog.current:
        registry.get(reference)  # which says what versions there are
    made = {one.name: one.id for one in registry.datasets()} | {one.name: one.id for one in catalog.models}
    if name in made:
        return ObjectNotFoundError(f'There is no "{reference}".', hint=f"There is: {made[name]}.")
    known = {*catalog.current, *made}
    if not _OBJECT.fullmatch(reference):  # then a source is meant, or a column of one
        known = {label(one, view) for view, source in registry.view_sources().items() for one in read_sources(source)}
        name = reference.rpartition(".")[0] or reference
    return ObjectNotFoundError(
        f'There is no object, dataset, model or source "{reference}" in project "{registry.project}".',
        hint=closest(name, known) or "Apply definitions first: featurestore apply",
    )
