"""Batches into one Parquet file: written in a thread of its own, while the next ones are read and checked."""

from __future__ import annotations

import base64
import contextlib
import queue
import threading
from collections.abc import Iterator

import pyarrow as pa

from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline.tables.encodings import column_options
from featurestore.storage import StoragePath
from featurestore.storage.parquet import ParquetWriter

_ROW_GROUP_ROWS = 131_072
#: Batches that may wait for the writer: they are what a load holds in memory.
_WAITING = 2


class RowsWriter:
    """A Parquet file in the making.

    Args:
        path: the file; whoever fails removes it.
        schema: of the batches; but a column of theirs may be a dictionary of its type, whose values are not looked up
            again then.

    Attributes:
        rows: how many were taken.
        first: their oldest event time, microseconds since 1970; None before the first.
        last: the newest.
    """

    def __init__(self, path: StoragePath, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._queue: queue.Queue[pa.RecordBatch | None] = queue.Queue(_WAITING)
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self.rows = 0
        self.first: int | None = None
        self.last: int | None = None

    def write_all(self, batches: Iterator[pa.RecordBatch]) -> None:
        """Write every batch and close the file; there is none if there are no rows.

        Raises:
            OSError: the disk refuses. What the batches themselves raise comes through as it is.
        """
        try:
            for batch in batches:
                if batch.num_rows:
                    self._put(batch)
        finally:
            self._end()
        if self._failure is not None:
            raise self._failure

    def _put(self, batch: pa.RecordBatch) -> None:
        if self._failure is not None:
            raise self._failure
        if self._thread is None:
            writer = self._open(batch)
            self._thread = threading.Thread(target=self._write, args=(writer,), name="featurestore-staging")
            self._thread.start()
        self.rows += batch.num_rows
        instants = batch.column(EVENT_TIMESTAMP).cast(pa.int64()).to_numpy(zero_copy_only=False)
        oldest, newest = int(instants.min()), int(instants.max())
        self.first = oldest if self.first is None else min(self.first, oldest)
        self.last = newest if self.last is None else max(self.last, newest)
        self._queue.put(batch)

    def _end(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _write(self, writer: ParquetWriter) -> None:
        """Write what is put into the queue; after a failure, take the rest from it so that nobody waits for ever."""
        coming = iter(self._queue.get, None)
        try:
            for batches in _row_groups(coming):
                # A table of several batches, whose rows so need not be copied together.
                writer.write_table(pa.Table.from_batches(batches), row_group_size=2 * _ROW_GROUP_ROWS)
            writer.close()
        except Exception as error:  # noqa: BLE001 - it is raised again where the batches come from
            self._failure = error
            for _ in coming:
                pass
            with contextlib.suppress(Exception):
                writer.discard()

    def _open(self, batch: pa.RecordBatch) -> ParquetWriter:
        fields = [
            field.with_type(column.type) if pa.types.is_dictionary(column.type) else field
            for field, column in zip(self._schema, batch.columns, strict=True)
        ]
        writer = ParquetWriter(self._path, pa.schema(fields), store_schema=False, **column_options(batch))
        # Arrow keeps its own schema in a file, by which it would read dictionaries back; that is to be the plain one.
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(self._schema.serialize())})
        return writer


def _row_groups(batches: Iterator[pa.RecordBatch | None]) -> Iterator[list[pa.RecordBatch]]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(len(one) for one in held) >= _ROW_GROUP_ROWS:
            yield held
            held = []
    if held:
        yield held
