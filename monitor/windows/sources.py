"""Streams from what users have: files, Delta tables, queries, frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from featurestore.config import Config
from featurestore.definitions import FeatureView, FileSource, PushSource, QuerySource, Source, SqlSource
from featurestore.errors import MonitorError
from featurestore.offline.engine import identifier
from featurestore.offline.intake.frames import is_stream, to_reader, to_table
from featurestore.offline.sources.delta_source import Snapshot
from featurestore.offline.sources.intervals import Interval
from featurestore.offline.sources.reading import in_partitions, path_of, pieces_within, tables_of
from featurestore.offline.sources.sql_pieces import QUERY, SqlPiece
from featurestore.queries import check_query
from monitor.windows.parquet_rows import ParquetRows
from monitor.windows.row_stream import RowStream
from monitor.windows.rows import FrameRows, Rows, SpooledRows

Clock = Literal["newest", "now"]


def source_stream(
    source: Source,
    config: Config,
    *,
    name: str = "",
    clock: Clock = "newest",
    lateness: timedelta | None = None,
) -> RowStream:
    """Return the rows of a source as a stream, by its ``timestamp_field``.

    Of Parquet files and Delta tables a window reads what their statistics leave; CSV files and the results of queries
    are read once a run.

    Args:
        source: files, a Delta table, or a query over these.
        config: where they lie in this environment.
        name: the subject; the source's own name if it is not given.
        clock: see :class:`~monitor.windows.row_stream.RowStream`.
        lateness: as ``clock``.

    Raises:
        MonitorError: it has no name, or rows of such a source can be read for a view only.
        DefinitionError: the query is not one SELECT over its sources, the same each time.
        ConfigError: ``featurestore.toml`` puts the source where such a source cannot be.
    """
    called = name or source.name
    if not called:
        raise MonitorError("A stream has no name.", hint='Give it one: source_stream(source, config, name="orders").')
    what = f'Stream "{called}"'
    if isinstance(source, FileSource):
        rows = _file_rows(source, config, what)
    elif isinstance(source, SqlSource):
        check_query(source)
        rows = SpooledRows(_query_rows(source, config, what), source.timestamp_field)
    else:
        raise MonitorError(
            f"{what} reads a {type(source).__name__}, whose rows are read for a view.",
            hint="Use view_stream(view, config)." if isinstance(source, QuerySource) else "Ingest the rows first.",
        )
    return RowStream(
        rows, config, name=called, time_column=source.timestamp_field, clock=clock, lateness=lateness, what=what
    )


def view_stream(
    view: FeatureView, config: Config, *, clock: Clock = "newest", lateness: timedelta | None = None
) -> RowStream:
    """Return the rows of a view's source as a stream: what is about to be ingested, before it is.

    Args:
        view: the view; its name is the subject.
        config: where its source lies in this environment.
        clock: see :class:`~monitor.windows.row_stream.RowStream`.
        lateness: as ``clock``.

    Raises:
        MonitorError: the view has no source that can be read.
        ConfigError: ``featurestore.toml`` puts the source where such a source cannot be.
    """
    if view.source is None or isinstance(view.source, PushSource):
        raise MonitorError(
            f'Feature view "{view.name}" has no source to read as a stream.',
            hint="Watch what is served: a MonitorPolicy of its service.",
        )
    if isinstance(view.source, FileSource):
        return source_stream(view.source, config, name=view.name, clock=clock, lateness=lateness)
    what = f'Stream "{view.name}"'

    @contextmanager
    def opened(interval: Interval) -> Iterator[pa.RecordBatchReader]:
        # A query is one piece, unlike files.
        (piece,) = pieces_within(view, config, interval)
        with piece.read(config, what) as reader:
            yield reader

    return RowStream(
        SpooledRows(opened, view.timestamp_field),
        config,
        name=view.name,
        time_column=view.timestamp_field,
        clock=clock,
        lateness=lateness,
        what=what,
    )


def frame_stream(
    frame: Any,
    config: Config,
    *,
    name: str,
    time_column: str = "event_timestamp",
    clock: Clock = "newest",
    lateness: timedelta | None = None,
) -> RowStream:
    """Return rows that a program has as a stream.

    Args:
        frame: an Arrow table, batch or dataset, a Polars or pandas frame, a list of dicts; or rows that can be read but
            once, and may be larger than memory: a RecordBatchReader, a LazyFrame, a generator of any of these.
        config: memory, threads and spill folder.
        name: the subject.
        time_column: the column of the instants.
        clock: see :class:`~monitor.windows.row_stream.RowStream`.
        lateness: as ``clock``.

    Raises:
        DataError: it is something else.
    """
    what = f'the rows of stream "{name}"'
    rows: Rows
    if is_stream(frame):

        @contextmanager
        def opened(_: Interval) -> Iterator[pa.RecordBatchReader]:
            yield to_reader(frame, what)

        rows = SpooledRows(opened, time_column, once=True)
    else:
        dataset = type(frame).__module__.startswith("pyarrow") and hasattr(frame, "scanner")
        rows = FrameRows(frame if dataset else to_table(frame, what))
    return RowStream(rows, config, name=name, time_column=time_column, clock=clock, lateness=lateness)


def _file_rows(source: FileSource, config: Config, what: str) -> Rows:
    path = config.path(path_of(source, config))
    if source.format == "delta":
        return FrameRows(lambda: Snapshot(path, what).dataset)
    if path.suffix.lower() == ".csv":
        return SpooledRows(_csv_rows(source, config, what), source.timestamp_field)

    def damaged(file: Path) -> MonitorError:
        return MonitorError(
            f"{file} of {what[:1].lower()}{what[1:]} is damaged: it cannot be read as Parquet.",
            hint="Move it away, or write it anew; files that are being written have a name that begins with a dot.",
        )

    return ParquetRows(
        str(path),
        source.timestamp_field,
        damaged=damaged,
        required=True,
        partitions=lambda files: in_partitions(files, config.root),
    )


def _csv_rows(source: FileSource, config: Config, what: str) -> Any:
    # As one table, whose columns have the types of all cells in all files.
    named = FileSource(
        path=source.path, timestamp_field=source.timestamp_field, name=source.name or "rows_of_the_stream"
    )
    return _query_rows(
        SqlSource(
            query=f"SELECT * FROM {identifier(named.name)}", sources=[named], timestamp_field=source.timestamp_field
        ),
        config,
        what,
    )


def _query_rows(source: SqlSource, config: Config, what: str) -> Any:
    @contextmanager
    def opened(interval: Interval) -> Iterator[pa.RecordBatchReader]:
        tables = tables_of(source.query, source.sources, config, what)
        about = (source.timestamp_field, interval)
        piece = SqlPiece(query=source.query, tables=tables, name=QUERY, load_id="", about=about)
        with piece.read(config, what) as reader:
            yield reader

    return opened
