"""What the point-in-time join and materialization share: the order of a view's rows, and what statuses are called.

Of rows with one key and one event time the newest created counts, then the newest loaded, then the later row of a load.
"""

from __future__ import annotations

import pyarrow as pa

from featurestore.definitions import FeatureView, Field, ViewProjection, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.errors import OfflineStoreError
from featurestore.offline.engine import explain, identifier, literal, parquet_scan
from featurestore.offline.intake.conform import has_embedding

#: A row's place: the number of its file, in the order in which files are read, and its number in it.
FILE_BITS = 40
#: The column of it: no column of a view has two underscores together.
PLACE = "row__place"

#: Name under which the ledger's order of loads is registered: ``storage_id``, ``load_id``, ``load_order``.
LOADS = "loads"
_NEWEST_FIRST = f"{CREATED_TIMESTAMP} DESC NULLS LAST, load_order DESC NULLS FIRST, {ROW_NUMBER} DESC"


def rows_with_order(view: FeatureView, files: list[str], *, place: bool = False, where: str = "true") -> str:
    """Return a subquery: the view's rows with ``load_order``; a load not yet in the ledger counts as newest.

    Args:
        view: whose rows.
        files: where they are.
        place: whether there is a column ``row__place`` too, a number that tells each row from the others.
        where: a condition on the stored columns of a row ``r``.
    """
    columns = ", ".join(
        [f"r.{identifier(name)}" for name in (*view.keys, EVENT_TIMESTAMP, CREATED_TIMESTAMP, ROW_NUMBER)]
        + [_declared(one) for one in view.schema]
        + ([f"(r.file_index::BIGINT << {FILE_BITS}) | r.file_row_number AS {PLACE}"] if place else [])
    )
    # A load id that the user gave may stand for loads of several tables.
    same_load = f"l.storage_id = {literal(storage_id(view))} AND l.{LOAD_ID} = r.{LOAD_ID}"
    return (
        f"(SELECT {columns}, l.load_order FROM {parquet_scan(files)} r "
        f"LEFT JOIN {LOADS} l ON {same_load} WHERE {where})"
    )


def _declared(one: Field) -> str:
    name = identifier(one.name)
    # The table keeps embeddings as lists of any size.
    return f"r.{name}::{one.dtype.duckdb} AS {name}" if has_embedding(one.dtype) else f"r.{name}"


def row_schema(view: FeatureView) -> pa.Schema:
    """Return the columns of :func:`newest_per_key` and :func:`by_event_time`, in order."""
    instant = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [pa.field(key, dtype.to_arrow()) for key, dtype in view.keys.items()]
        + [pa.field(one.name, one.dtype.to_arrow()) for one in view.schema]
        + [
            pa.field(EVENT_TIMESTAMP, instant),
            pa.field(CREATED_TIMESTAMP, instant),
            pa.field(ROW_NUMBER, pa.int64()),
            pa.field("load_order", pa.int64()),
        ]
    )


def newest_per_key(view: FeatureView, files: list[str], until_us: int) -> str:
    """Return a query: of each key the newest row with event time up to ``until_us``."""
    keys = ", ".join(identifier(key) for key in view.keys)
    return (
        f"SELECT * FROM {rows_with_order(view, files)} WHERE epoch_us({EVENT_TIMESTAMP}) <= {until_us} "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {EVENT_TIMESTAMP} DESC, {_NEWEST_FIRST}) = 1"
    )


def by_event_time(view: FeatureView, files: list[str], after_us: int | None) -> str:
    """Return a query: all rows with event time after ``after_us``, oldest first, ties in the order of the join."""
    where = "" if after_us is None else f"WHERE epoch_us({EVENT_TIMESTAMP}) > {after_us}"
    return (
        f"SELECT * FROM {rows_with_order(view, files)} {where} ORDER BY {EVENT_TIMESTAMP}, "
        f"{CREATED_TIMESTAMP} NULLS FIRST, load_order NULLS LAST, {ROW_NUMBER}"
    )


def unreadable(view: FeatureView, error: Exception) -> OfflineStoreError:
    """Return the error for a table whose files DuckDB cannot read."""
    return OfflineStoreError(
        f'The table {storage_id(view)} of feature view "{view.name}" cannot be read: {explain(error)}',
        hint="If a file of it is gone or damaged, bring it back from a backup.",
    )


def status_column(view: FeatureView | ViewProjection) -> str:
    """Return the name of the column that says whether the values of a view, or of a use of it, are there."""
    return f"{view.name}__status"


def event_column(view: FeatureView | ViewProjection) -> str:
    """Return the name of the column that says when the values of a view, or of a use of it, were true."""
    return f"{view.name}__event_timestamp"
