"""Reads for materialization and for rehearsals."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView
from featurestore.offline import engine
from featurestore.offline.erasure.suppression import suppressed
from featurestore.offline.join import order as join
from featurestore.offline.opened import Opened
from featurestore.offline.tables.newest import (
    NOTHING,
    Chunk,
    Newest,
    Wanted,
    candidates,
    find_newest,
    read_newest,
)
from featurestore.types import microseconds


class Rows(Opened):
    """A view's rows, as streams."""

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:
        """Return of each key the newest row with event time up to ``until``.

        Columns: keys, features, event_timestamp, created_timestamp, row_number, load_order.
        """
        return self._stream(view, lambda files: join.newest_per_key(view, files, microseconds(until)))

    def newest(self, view: FeatureView, wanted: Wanted) -> Newest:
        """Find of each key the newest row among some rows of the view's table, without reading its features.

        Raises:
            OfflineStoreError: a file of the table cannot be read.
        """
        orders = {load.load_id: load.order for load in self.ledger(view)}
        table = self.table(view)
        before = None if wanted.since is None else table.snapshot(wanted.since)
        files = candidates(table.snapshot(wanted.version), before, wanted)
        if not files:
            return NOTHING
        arrived = None
        if wanted.since is not None:
            loads = table.loads_since(wanted.since)
            arrived = [load.load_id for version, load in loads if version <= wanted.version]
        with self._connect([view], f'Reading the rows of feature view "{view.name}"') as connection:
            try:
                counts, found = find_newest(connection, view, files, wanted, arrived)
            except (duckdb.Error, OSError) as error:  # OSError is how DuckDB's errors come out of a stream
                raise join.unreadable(view, error) from error
        return Newest(**counts, _chunks=partial(self._chunks, view, partial(read_newest, view, files, found, orders)))

    def _chunks(
        self, view: FeatureView, read: Callable[[int], Generator[pa.RecordBatch, None, None]], skip: int
    ) -> Generator[Chunk, None, None]:
        try:
            for batch in read(skip):
                # Asked for each chunk: whoever is erased while the rows are read must not be served again.
                erased = suppressed(view, self._registry, self._config)
                kept = batch if erased is None else batch.filter(pc.invert(erased(batch)))
                yield Chunk(kept, batch.num_rows)
        except (OSError, pa.ArrowException) as error:
            raise join.unreadable(view, error) from error

    def table_id(self, view: FeatureView) -> str:
        """Return what tells the view's table from one that was made anew in its place.

        Raises:
            OfflineStoreError: there is no table.
        """
        return self.table(view).table_id()

    def has_files(self, view: FeatureView, version: int) -> bool:
        """Return whether the files of a version of the view's table are all there still."""
        return all(Path(one.path).exists() for one in self.table(view).snapshot(version).files)

    def rows_by_event_time(self, view: FeatureView, *, after: datetime | None) -> pa.RecordBatchReader:
        """Return all rows with event time after ``after``, oldest first; columns as :meth:`newest_rows`."""
        after_us = None if after is None else microseconds(after)
        return self._stream(view, lambda files: join.by_event_time(view, files, after_us))

    def _stream(self, view: FeatureView, query: Callable[[list[str]], str]) -> pa.RecordBatchReader:
        files = self.table(view).files() if self.table(view).exists() else []
        if not files:
            return pa.RecordBatchReader.from_batches(join.row_schema(view), [])

        def batches() -> Iterator[pa.RecordBatch]:
            with self._connect([view], f'Reading the rows of feature view "{view.name}"') as connection:
                try:
                    for batch in connection.sql(query(files)).to_arrow_reader(engine.BATCH_ROWS):
                        # Asked for each batch: whoever is erased while the rows are read must not be served again.
                        erased = suppressed(view, self._registry, self._config)
                        yield batch if erased is None else batch.filter(pc.invert(erased(batch)))
                except (duckdb.Error, OSError) as error:  # OSError is how DuckDB's errors come out of a stream
                    raise join.unreadable(view, error) from error

        schema = join.row_schema(view)
        ordered = (batch.select(schema.names).cast(schema) for batch in batches())
        return pa.RecordBatchReader.from_batches(schema, ordered)
