"""A range of time over all keys: of whom, and when, something became true in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb
import pyarrow as pa

from featurestore.definitions import FeatureService, ViewProjection
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.engine import identifier, literal, parquet_scan
from featurestore.offline.join import order as join


def rows_in_range(
    connection: duckdb.DuckDBPyConnection,
    service: FeatureService,
    files: Mapping[str, list[str]],
    seen: Mapping[str, Sequence[str] | None],
    start: datetime,
    end: datetime,
    timestamp_field: str,
) -> pa.Table:
    """Return each key and event time of a service's views in a range once, by instant and then by key.

    Args:
        connection: of the engine.
        service: the service; all its views have the same join keys.
        files: by view, the Parquet files of a snapshot; none if it was never ingested.
        seen: by view, conditions of which one holds for each row that counts; None for all.
        start: the first instant of the range.
        end: the first instant after it.
        timestamp_field: the name for the column of the instants.

    Raises:
        OfflineStoreError: a file of a table is gone or damaged.
    """
    instants = identifier(timestamp_field)
    keys = [identifier(key) for key in service.keys]
    read = [use for use in service.uses if files[use.view.name]]
    schema = pa.schema(
        [pa.field(key, dtype.to_arrow()) for key, dtype in service.keys.items()]
        + [pa.field(timestamp_field, pa.timestamp("us", tz="UTC"))]
    )
    if not read:
        return schema.empty_table()
    parts = [_part(use, files[use.view.name], seen[use.view.name], start, end, keys, instants) for use in read]
    query = f"{' UNION '.join(parts)} ORDER BY {instants}, {', '.join(keys)}"
    try:
        return connection.sql(query).to_arrow_table().cast(schema)
    except (duckdb.Error, OSError) as error:
        raise join.unreadable(read[0].view, error) from error


def _part(
    use: ViewProjection,
    files: list[str],
    seen: Sequence[str] | None,
    start: datetime,
    end: datetime,
    keys: list[str],
    instants: str,
) -> str:
    renamed = ", ".join(f"{identifier(key)} AS {identifier(column)}" for key, column in use.columns.items())
    # Compared as they are stored, so that DuckDB skips the row groups that lie outside.
    within = f"{EVENT_TIMESTAMP} >= {_instant(start)} AND {EVENT_TIMESTAMP} < {_instant(end)}"
    if seen is not None:
        within += f" AND ({' OR '.join(seen)})" if seen else " AND false"
    rows = f"SELECT {renamed}, {EVENT_TIMESTAMP} AS {instants} FROM {parquet_scan(files)} WHERE {within}"
    return f"SELECT DISTINCT {', '.join(keys)}, {instants} FROM ({rows})"


def _instant(instant: datetime) -> str:
    return f"TIMESTAMPTZ {literal(instant.isoformat(sep=' '))}"
