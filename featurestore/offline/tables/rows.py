"""Reads for materialization and for rehearsals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView
from featurestore.offline import engine
from featurestore.offline.erasure.suppression import suppressed
from featurestore.offline.join import order as join
from featurestore.offline.opened import Opened
from featurestore.types import microseconds


class Rows(Opened):
    """A view's rows, as streams."""

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:
        """Return of each key the newest row with event time up to ``until``.

        Columns: keys, features, event_timestamp, created_timestamp, row_number, load_order.
        """
        return self._stream(view, lambda files: join.newest_per_key(view, files, microseconds(until)))

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
