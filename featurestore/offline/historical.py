"""Features of a service for entity rows, each at its own instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.definitions import FeatureService, FeatureView, Field
from featurestore.errors import OfflineStoreError
from featurestore.offline import join
from featurestore.offline.entity_rows import EntityRows
from featurestore.transforms import Transform

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class HistoricalFeatures:
    """Entity rows with the features of a service, in the order of the entity rows.

    Asked for ``with_status``, it has of each view ``<view>__status`` (1 PRESENT, 2 NOT_FOUND: no row of the key up to
    the instant, 3 OUTSIDE_MAX_AGE: the newest is older than the TTL) and ``<view>__event_timestamp`` of the newest row.

    Attributes:
        table: the columns of the entity rows as they came, then the features.
        service: ``flight_delay@1``.
        notes: casts made, and views that were never ingested.
    """

    table: pa.Table
    service: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table."""
        return self.table

    def to_polars(self) -> pl.DataFrame:
        """Return a Polars frame."""
        frame = pl.from_arrow(self.table)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame; pandas must be installed."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def to_batches(self) -> list[pa.RecordBatch]:
        """Return Arrow batches."""
        return list(self.table.to_batches())

    def write(self, path: str | Path) -> Path:
        """Write one Parquet file and return its path.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            pq.write_table(self.table, partial, compression="zstd")
            partial.replace(target)
        except OSError as error:
            raise OfflineStoreError(f"{target} cannot be written: {error}") from error
        return target


def features_at(
    connection: duckdb.DuckDBPyConnection,
    service: FeatureService,
    rows: EntityRows,
    files: Mapping[str, list[str]],
    *,
    label: str,
    with_status: bool,
) -> HistoricalFeatures:
    """Join every view of a service to entity rows, put defaults in, and evaluate its on-demand views.

    Args:
        connection: has the order of loads registered (see :mod:`featurestore.offline.join`).
        service: what to join.
        rows: checked entity rows.
        files: Parquet files by view; an empty list for a view that was never ingested.
        label: the service version, for the result.
        with_status: also give ``<view>__status`` and ``<view>__event_timestamp`` of every view.
    """
    joined: dict[str, pa.Table] = {}
    notes = list(rows.notes)
    for view in service.views:
        if not files[view.name]:
            notes.append(f'feature view "{view.name}" was never ingested: its features are null, or their defaults')
        joined[view.name] = _filled(join.point_in_time(connection, view, files[view.name], rows.typed), view.schema)
    computed = _on_demand(service, joined, rows.typed)
    result = rows.given
    for owner, fields in service.outputs.items():
        source = computed.get(owner, joined.get(owner))
        assert source is not None  # noqa: S101 - outputs come from views or on-demand views
        for one in fields:
            result = result.append_column(one.name, source.column(one.name))
    if with_status:
        for view in service.views:
            result = _append_status(result, view, joined[view.name])
    return HistoricalFeatures(table=result, service=label, notes=tuple(dict.fromkeys(notes)))


def _append_status(result: pa.Table, view: FeatureView, joined: pa.Table) -> pa.Table:
    for name in (join.status_column(view), join.event_column(view)):
        result = result.append_column(name, joined.column(name))
    return result


def _on_demand(service: FeatureService, joined: Mapping[str, pa.Table], typed: pa.Table) -> dict[str, pa.Table]:
    computed: dict[str, pa.Table] = {}
    for view in service.on_demand_views:
        transform = Transform(view)
        sources = {one.name: joined[source.name] for source in view.input_views for one in source.schema}
        columns: dict[str, Any] = {name: sources.get(name, typed).column(name) for name in transform.inputs}
        # A frame without columns has no height: expressions that name nothing still give one value a row.
        columns["position__"] = pa.array(range(typed.num_rows), pa.int64())
        frame = pl.from_arrow(pa.table(columns))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
        computed[view.name] = _filled(_to_declared(transform.evaluate(frame).to_arrow(), view.schema), view.schema)
    return computed


def _filled(table: pa.Table, schema: Sequence[Field]) -> pa.Table:
    for one in schema:
        place = table.schema.get_field_index(one.name)
        table = table.set_column(place, one.name, one.filled(table.column(place)))
    return table


def _to_declared(table: pa.Table, schema: Any) -> pa.Table:
    # Polars hands texts out as string views; the result has the declared Arrow types.
    return pa.table({one.name: table.column(one.name).cast(one.dtype.to_arrow()) for one in schema})
