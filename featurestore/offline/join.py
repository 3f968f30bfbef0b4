"""The point-in-time join: for each entity row, what was true at its instant and not a microsecond later.

One view at a time. For an entity row at t the newest feature row with event time in [t - ttl, t] counts; of rows with
one key and one event time the newest created does, then the newest loaded, then the later row of a load. Entity rows
come back all, once, in order: they are known by position, never by their values.
"""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pyarrow as pa

from featurestore.definitions import FeatureView, Field, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.errors import OfflineStoreError
from featurestore.offline.conform import as_key, has_embedding
from featurestore.offline.engine import explain, identifier, literal, parquet_scan

#: Values of ``<view>__status``: those of RowStatus in the serving contract.
PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 2, 3

#: Name under which the ledger's order of loads is registered: ``storage_id``, ``load_id``, ``load_order``.
LOADS = "loads"
_ENTITIES = "entity_rows"
_POSITION = "position__"
_NEWEST_FIRST = f"{CREATED_TIMESTAMP} DESC NULLS LAST, load_order DESC NULLS FIRST, {ROW_NUMBER} DESC"


def rows_with_order(view: FeatureView, files: list[str]) -> str:
    """Return a subquery: the view's rows with ``load_order``; a load not yet in the ledger counts as newest."""
    columns = ", ".join(
        [f"r.{identifier(name)}" for name in (*view.keys, EVENT_TIMESTAMP, CREATED_TIMESTAMP, ROW_NUMBER)]
        + [_declared(one) for one in view.schema]
    )
    # A load id that the user gave may stand for loads of several tables.
    same_load = f"l.storage_id = {literal(storage_id(view))} AND l.{LOAD_ID} = r.{LOAD_ID}"
    return f"(SELECT {columns}, l.load_order FROM {parquet_scan(files)} r LEFT JOIN {LOADS} l ON {same_load})"


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


def point_in_time(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, files: list[str], entities: pa.Table
) -> pa.Table:
    """Return the view's features for each entity row.

    Args:
        connection: has the ledger's order of loads registered as :data:`LOADS`.
        view: the view; ``view.keys`` and ``event_timestamp`` are columns of ``entities``.
        files: the Parquet files of the table's snapshot; none when nothing was ever ingested.
        entities: the entity rows, keys in the view's types, instants in microseconds UTC.

    Returns:
        One row for each entity row, in order: the features of the view's schema, ``<view>__status`` (int8) and
        ``<view>__event_timestamp``. Features are null where the status is not :data:`PRESENT`.

    Raises:
        OfflineStoreError: a file of the table is gone or damaged.
    """
    if not files:
        return _never_ingested(view, entities.num_rows)
    columns = {key: as_key(entities.column(key)) for key in view.keys}
    columns[EVENT_TIMESTAMP] = entities.column(EVENT_TIMESTAMP)
    columns[_POSITION] = pa.array(range(entities.num_rows), pa.int64())
    connection.register(_ENTITIES, pa.table(columns))
    if not all(one.dtype.scalar for one in view.schema):
        # For few entity rows DuckDB has another algorithm, which gives minus zeros within lists back as zeros.
        connection.execute("SET asof_loop_join_threshold = 0")
    try:
        joined = connection.sql(_asof(view, files)).to_arrow_table().drop_columns([_POSITION])
        return joined.cast(_joined_schema(view))
    except (duckdb.Error, OSError) as error:
        raise unreadable(view, error) from error
    finally:
        connection.unregister(_ENTITIES)
        connection.execute("RESET asof_loop_join_threshold")


def unreadable(view: FeatureView, error: Exception) -> OfflineStoreError:
    """Return the error for a table whose files DuckDB cannot read."""
    return OfflineStoreError(
        f'The table {storage_id(view)} of feature view "{view.name}" cannot be read: {explain(error)}',
        hint="If a file of it is gone or damaged, bring it back from a backup.",
    )


def _asof(view: FeatureView, files: list[str]) -> str:
    keys = [identifier(key) for key in view.keys]
    event = f"f.{EVENT_TIMESTAMP}"
    fresh = "true"
    if view.ttl is not None:
        age = f"epoch_us(e.{EVENT_TIMESTAMP}) - epoch_us({event})"
        fresh = f"{age} <= {view.ttl // timedelta(microseconds=1)}"
    features = ", ".join(
        f"CASE WHEN {fresh} THEN f.{identifier(one.name)} END AS {identifier(one.name)}" for one in view.schema
    )
    status = (
        f"CASE WHEN {event} IS NULL THEN {NOT_FOUND} WHEN {fresh} THEN {PRESENT} ELSE {OUTSIDE_MAX_AGE} END::TINYINT "
        f"AS {identifier(status_column(view))}"
    )
    newest = (
        f"SELECT * FROM {rows_with_order(view, files)} "
        f"QUALIFY row_number() OVER (PARTITION BY {', '.join(keys)}, {EVENT_TIMESTAMP} ORDER BY {_NEWEST_FIRST}) = 1"
    )
    same_key = " AND ".join(f"e.{key} = f.{key}" for key in keys)
    return (
        f"SELECT e.{_POSITION}, {features}, {status}, {event} AS {identifier(event_column(view))} "
        f"FROM {_ENTITIES} e ASOF LEFT JOIN ({newest}) f "
        f"ON {same_key} AND e.{EVENT_TIMESTAMP} >= {event} ORDER BY e.{_POSITION}"
    )


def status_column(view: FeatureView) -> str:
    """Return the name of the column that says whether the view's values are there."""
    return f"{view.name}__status"


def event_column(view: FeatureView) -> str:
    """Return the name of the column that says when the view's values were true."""
    return f"{view.name}__event_timestamp"


def _joined_schema(view: FeatureView) -> pa.Schema:
    columns = {one.name: one.dtype.to_arrow() for one in view.schema}
    columns[status_column(view)] = pa.int8()
    columns[event_column(view)] = pa.timestamp("us", tz="UTC")
    return pa.schema(columns)


def _never_ingested(view: FeatureView, rows: int) -> pa.Table:
    columns = {column.name: pa.nulls(rows, column.type) for column in _joined_schema(view)}
    columns[status_column(view)] = pa.repeat(pa.scalar(NOT_FOUND, pa.int8()), rows)
    return pa.table(columns)
