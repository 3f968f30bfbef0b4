"""Reads for materialization and for rehearsals."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView
from featurestore.offline import engine
from featurestore.offline.erasure.suppression import suppressed
from featurestore.offline.join import order as join
from featurestore.offline.opened import Opened
from featurestore.offline.tables.moved import Moved, keys_of, moved
from featurestore.offline.tables.newest import Chunk, Newest, Wanted, candidates, without
from featurestore.types import microseconds


class Rows(Opened):
    """A view's rows, as streams."""

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:
        """Return of each key the newest row with event time up to ``until``.

        Columns: keys, features, event_timestamp, created_timestamp, row_number, load_order.
        """
        return self._stream(view, lambda files: join.newest_per_key(view, files, microseconds(until)))

    def moved(self, view: FeatureView, since: int, version: int) -> Moved | None:
        """Return the loads that came into a view's table or left it between two versions; see :func:`moved`."""
        return moved(self.table(view), since, version)

    @contextmanager
    def newest(self, view: FeatureView, wanted: Wanted, among: Moved | None = None) -> Iterator[Newest]:
        """Find of each key the newest row among some rows of the view's table.

        Args:
            view: the view.
            wanted: which rows.
            among: only keys that these loads have rows of; None for all.

        Raises:
            OfflineStoreError: a file of the table cannot be read.
        """
        self.ledger(view)  # which refuses a table that is another project's
        table = self.table(view)
        before = None if wanted.since is None else table.snapshot(wanted.since)
        files = candidates(table.snapshot(wanted.version), before, wanted)
        arrived = None
        if wanted.since is not None:
            loads = table.loads_since(wanted.since)
            arrived = [load.load_id for version, load in loads if version <= wanted.version]
        with self._connect([view], f'Reading the rows of feature view "{view.name}"') as connection:
            connection.execute("SET preserve_insertion_order = false")  # what asks for an order says so
            try:
                if among is None:
                    yield Newest(connection, view, files, wanted, arrived)
                    return
                connection.execute(keys_of(view, among))
                yield Newest(connection, view, files, wanted, arrived, some_keys=True)
            except (duckdb.Error, OSError) as error:  # OSError is how DuckDB's errors come out of a stream
                raise join.unreadable(view, error) from error

    def chunks(self, view: FeatureView, newest: Newest, skip: int = 0) -> Generator[Chunk, None, None]:
        """Yield the newest rows after the first ``skip`` ones, always in the same order."""
        with closing(newest.batches(skip)) as batches:
            for batch in batches:
                # Asked for each chunk: whoever is erased while the rows are read must not be served again.
                yield without(batch, suppressed(view, self._registry, self._config))

    def table_id(self, view: FeatureView) -> str:
        """Return what tells the view's table from one that was made anew in its place.

        Raises:
            OfflineStoreError: there is no table.
        """
        return self.table(view).table_id()

    def has_files(self, view: FeatureView, version: int) -> bool:
        """Return whether the files of a version of the view's table are all there still."""
        return all(one.place.exists() for one in self.table(view).snapshot(version).files)

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
