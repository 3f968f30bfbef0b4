"""A new version's table starts from the rows of the version before, where they mean the same."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence

from featurestore.definitions import FeatureView, Field, Heritage, heritage, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, ROW_NUMBER
from featurestore.offline.engine import identifier
from featurestore.offline.join.order import rows_with_order
from featurestore.registry.records import Load

#: How the ids of loads begin that bring the rows of an older version.
PREFIX = "carried-over-from-"
#: A column of rows on their way: which stretch of rows of one origin and instant they are of. No feature has the name.
STRETCH = "stretch__"
#: Name under which the stretches are registered: ``load__``, ``first__``, :data:`STRETCH`, ``wanted__``.
STRETCHES = "stretches"


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


def lacking(
    theirs: Sequence[Load], ledger: Sequence[Load], old: FeatureView, new: FeatureView, *, traced: Collection[str]
) -> list[Load]:
    """Return the loads of an older version that came when the newer one was not fed.

    That is before its first load, if it may take over rows; after its last; and between two of its loads if it took
    over rows there.

    Args:
        theirs: the older version's, in order.
        ledger: the newer version's, in order, with those that a restore has withdrawn.
        old: the older version.
        new: the newer version.
        traced: those of the newer version's that say in their commits from where their rows came.
    """
    have = [one for one in ledger if one.withdrawn_at is None]
    if not have:
        return list(theirs)
    came_from_new = load_id(new, "")
    others = [load for load in theirs if not load.load_id.startswith(came_from_new)]
    if heritage(old, new).obstacle:
        return [load for load in others if load.published_at > have[-1].published_at]
    prefix = load_id(old, "")
    fed, brought = [], []
    for one in ledger:
        if one.load_id in traced or one.load_id.startswith(prefix):
            brought.append(one.published_at)
        elif one.withdrawn_at is None:
            fed.append(one.published_at)
    fed.sort()
    unfed = {0, len(fed), *(bisect_left(fed, at) for at in brought)}
    return [
        load
        for load in others
        if not unfed.isdisjoint((bisect_left(fed, load.published_at), bisect_right(fed, load.published_at)))
    ]


def taken_over(old: FeatureView, ledger: Iterable[Load]) -> int:
    """Return up to which order an older version's loads were looked at when its rows were last taken over; 0 never.

    Args:
        old: the older version.
        ledger: the newer version's loads.
    """
    prefix = load_id(old, "")
    names = (one.load_id.removeprefix(prefix) for one in ledger if one.load_id.startswith(prefix))
    return max((int(name.partition(".")[0]) for name in names), default=0)


def orders_covered(old: FeatureView, origins: Iterable[str]) -> int:
    """Return up to which order an older version's loads were taken over by loads that do not say which they are.

    Args:
        old: the older version.
        origins: from where the newer version's rows came.
    """
    prefix = load_id(old, "")
    orders = (one.removeprefix(prefix) for one in origins if one.startswith(prefix))
    return max((int(order) for order in orders if order.isdecimal()), default=0)


def rows_to_carry(old: FeatureView, new: FeatureView, inherited: Heritage, files: list[str]) -> str:
    """Return a query: rows of the old version as an ingest into the new one would bring them, with :data:`STRETCH`.

    They stand as they were loaded, which is the join's order of those that tie, and that of the stretches.

    Args:
        old: the version whose rows they are.
        new: the version that takes them.
        inherited: which fields it takes.
        files: the Parquet files of the old version's table.
    """
    columns = {new.timestamp_field: EVENT_TIMESTAMP}
    if new.created_timestamp_column is not None:
        columns.setdefault(new.created_timestamp_column, CREATED_TIMESTAMP)
    # A view may have the column of its instants as a key or a feature too; then it is that column which is checked.
    columns |= {name: identifier(name) for name in (*new.keys, *inherited.kept)}
    selected = [f"{source} AS {identifier(name)}" for name, source in columns.items()]
    types = {one.name: one.dtype for one in new.schema}
    selected += [f"NULL::{types[name].duckdb} AS {identifier(name)}" for name in inherited.added if name not in columns]
    selected.append(STRETCH)
    return (
        f"SELECT {', '.join(selected)} FROM {rows_with_order(old, files)} "
        f"ASOF JOIN {STRETCHES} ON load_order = load__ AND {ROW_NUMBER} >= first__ WHERE wanted__ "
        f"ORDER BY load_order, {ROW_NUMBER}"
    )
