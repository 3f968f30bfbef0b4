"""A new version's table starts from the rows of the version before, where they mean the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from featurestore.definitions import FeatureView, Field, Heritage, heritage, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, ROW_NUMBER
from featurestore.offline.engine import identifier
from featurestore.offline.join.order import rows_with_order
from featurestore.offline.sources.pieces import DELTA, FILES
from featurestore.registry.records import Load

#: How the ids of loads begin that bring the rows of an older version.
PREFIX = "carried-over-from-"
#: A column of rows on their way: when they came to be known, in microseconds since 1970. No feature can have the name.
ARRIVED = "arrived__"
#: Name under which the instants of the old loads' rows are registered: ``load__``, ``first__``, :data:`ARRIVED`.
ARRIVALS = "arrivals"


def load_id(old: FeatureView, order: int | str) -> str:
    """Return the id of the load that brings the rows of an older version, up to its load of that order."""
    return f"{PREFIX}{storage_id(old)}-{order}"


def carrying_view(view: FeatureView, inherited: Heritage) -> FeatureView:
    """Return the view as carried rows are checked: kept fields row by row, added ones not at all, as they are null.

    Rows that the new checks refuse are kept aside rather than stop a version that is registered already. Checks of a
    load as a whole do not hold: the rows come from many.
    """
    fields = [_row_checks(one) if one.name in inherited.kept else _unchecked(one) for one in view.schema]
    return dataclasses.replace(view, schema=fields, on_bad_rows="warn" if view.on_bad_rows == "warn" else "quarantine")


def _row_checks(field: Field) -> Field:
    across_loads = field.unique_within if field.unique_within == "table" else None
    return dataclasses.replace(field, max_null_rate=None, unique_within=across_loads)


def _unchecked(field: Field) -> Field:
    return Field(name=field.name, dtype=field.dtype)


def lacking(theirs: Sequence[Load], have: Sequence[Load], old: FeatureView, new: FeatureView) -> list[Load]:
    """Return the loads of an older version that came when the newer one was not fed.

    Args:
        theirs: the older version's, in order.
        have: the newer version's, in order.
        old: the older version.
        new: the newer version.
    """
    if not have:
        return list(theirs)
    # Until its first load of its own only the older one was fed, and rows may come before the history is carried over.
    prefix, came_from_new = load_id(old, ""), load_id(new, "")
    orders = (one.load_id.removeprefix(prefix) for one in have if one.load_id.startswith(prefix))
    covered = max((int(order) for order in orders if order.isdecimal()), default=0)
    own = [one.published_at for one in have if not one.load_id.startswith(prefix)]
    inherits = not heritage(old, new).obstacle
    return [
        load
        for load in theirs
        if load.order > covered
        and (load.published_at > have[-1].published_at or (inherits and (not own or load.published_at < own[0])))
        and not load.load_id.startswith(came_from_new)
    ]


def read_already(
    loads: Sequence[Load], inherited: Heritage, carried_before: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return the pieces of the source that need not be read again, because all that they say is carried over.

    Not those whose rows were quarantined in part, as the new checks may let them pass; and none if fields were added,
    which only the source can fill.

    Args:
        loads: those that are carried over.
        inherited: which fields are.
        carried_before: the pieces that earlier loads of the old table had carried over, by load id.
    """
    if inherited.added:
        return ()
    whole = [load for load in loads if not load.rows_quarantined]
    return tuple(
        piece
        for load in whole
        for piece in (load.load_id, *carried_before.get(load.load_id, ()))
        if piece.startswith((FILES, DELTA))
    )


def rows_to_carry(
    old: FeatureView, new: FeatureView, inherited: Heritage, files: list[str], loads: Sequence[int]
) -> str:
    """Return a query: rows of the old version as an ingest into the new one would bring them, with :data:`ARRIVED`.

    They stand as they were loaded, which is the join's order of those that tie, and leaves few changes of the instant.

    Args:
        old: the version whose rows they are.
        new: the version that takes them.
        inherited: which fields it takes.
        files: the Parquet files of the old version's table.
        loads: the loads whose rows they are, by their order in the old table.
    """
    columns = {new.timestamp_field: EVENT_TIMESTAMP}
    if new.created_timestamp_column is not None:
        columns.setdefault(new.created_timestamp_column, CREATED_TIMESTAMP)
    # A view may have the column of its instants as a key or a feature too; then it is that column which is checked.
    columns |= {name: identifier(name) for name in (*new.keys, *inherited.kept)}
    selected = [f"{source} AS {identifier(name)}" for name, source in columns.items()]
    types = {one.name: one.dtype for one in new.schema}
    selected += [f"NULL::{types[name].duckdb} AS {identifier(name)}" for name in inherited.added if name not in columns]
    selected.append(ARRIVED)
    orders = ", ".join(map(str, loads))
    return (
        f"SELECT {', '.join(selected)} FROM {rows_with_order(old, files)} "
        f"ASOF JOIN {ARRIVALS} ON load_order = load__ AND {ROW_NUMBER} >= first__ WHERE load_order IN ({orders}) "
        f"ORDER BY load_order, {ROW_NUMBER}"
    )
