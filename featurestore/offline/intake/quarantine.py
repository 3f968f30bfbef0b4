"""Rows that were kept aside: a Parquet file for each load, with the reason of each row."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from featurestore.errors import OfflineStoreError
from featurestore.offline.intake.checks import REASON, UNREADABLE
from featurestore.storage import StoragePath
from featurestore.storage.parquet import ParquetWriter, parquet_file, read_metadata, read_schema, read_table
from featurestore.storage.places import move_file

_BATCH_ROWS = 65_536
#: The reason of a row that would take the place of one which was loaded after it.
SUPERSEDED = "a row of its key and time came since"


class QuarantineFile:
    """A file of bad rows that appears under its name only when it is complete.

    Args:
        path: its name.
    """

    def __init__(self, path: StoragePath) -> None:
        self._path = path
        # Threads may bring one load at the same moment; and a name that is full leaves no room for another part.
        part = f".{uuid.uuid4().hex}.{os.getpid()}"
        # An object is there whole or not at all: it needs no other name while it is written.
        self._partial = path.with_name(part) if isinstance(path, Path) else path
        self._writer: ParquetWriter | None = None

    def __enter__(self) -> QuarantineFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):  # what is thrown away need not be whole
                self._writer.discard()
        if self._partial != self._path:
            with contextlib.suppress(OSError):
                self._partial.unlink(missing_ok=True)

    def write(self, bad: pa.RecordBatch) -> None:
        """Add rows.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        if bad.num_rows == 0:
            return
        try:
            if self._writer is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = ParquetWriter(self._partial, bad.schema, compression="zstd")
            for name in self._writer.schema.names[bad.num_columns :]:  # good rows had no cells that could not be read
                bad = bad.append_column(name, pa.nulls(bad.num_rows, self._writer.schema.field(name).type))
            self._writer.write_batch(bad)
        except OSError as error:
            raise self._refused(error) from error

    def keep(self) -> None:
        """Give the file its name; without rows there is none, nor what an earlier load of the same id left.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        try:
            if self._writer is None:
                self._path.unlink(missing_ok=True)
                return
            self._writer.close()
            if self._partial != self._path:
                move_file(self._partial, self._path)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            self._writer = None

    def _refused(self, error: OSError) -> OfflineStoreError:
        return OfflineStoreError(
            f"Bad rows cannot be kept aside in {self._path}: {error}.",
            hint="Check the disk's space and rights; nothing was published.",
        )


def read(files: Sequence[StoragePath], limit: int | None = None) -> pa.Table | None:
    """Return the rows of quarantine files with their reasons, or None when there are none.

    Args:
        files: those of the loads, in order; one that is not there has no rows.
        limit: at most so many rows; None for all.

    Raises:
        OfflineStoreError: a file cannot be read.
    """
    tables: list[pa.Table] = []
    left = limit
    for file in files:
        if not file.exists() or left == 0:
            continue
        with reading(file):
            if left is None:
                tables.append(read_table(file))
                continue
            batches = []
            with parquet_file(file) as opened:
                for batch in opened.iter_batches(batch_size=max(1, min(left, _BATCH_ROWS))):
                    batches.append(batch.slice(0, left))
                    left -= batches[-1].num_rows
                    if not left:
                        break
            tables.append(pa.Table.from_batches(batches, read_schema(file)))
    # Those of CSV files have a column more, for cells that could not be read.
    return pa.concat_tables(tables, promote_options="default") if tables else None


def count(files: Sequence[StoragePath]) -> int:
    """Return how many rows quarantine files hold.

    Raises:
        OfflineStoreError: a file cannot be read.
    """
    rows = 0
    for file in files:
        if file.exists():
            with reading(file):
                rows += read_metadata(file).num_rows
    return rows


def as_they_came(file: StoragePath, view: FeatureView, superseded: Collection[int] = ()) -> pa.RecordBatchReader:
    """Return the rows of a quarantine file as an ingest into a view would bring them.

    A feature that the view had not then is null. A row with cells that could not be read keeps its reason.

    Args:
        file: the file.
        view: the view.
        superseded: the numbers of rows that are to be kept aside whatever the checks say, with :data:`SUPERSEDED`.
    """
    there = read_schema(file)
    # A view may have the column of its instants as a key or a feature too; then it is that column which counts.
    named = {name: name for name in (*view.keys, *(one.name for one in view.schema))}
    if view.created_timestamp_column is not None:
        named.setdefault(view.created_timestamp_column, CREATED_TIMESTAMP)
    named.setdefault(view.timestamp_field, EVENT_TIMESTAMP)

    apart = pa.array(sorted(superseded), pa.int64())

    def batch_of(rows: pa.RecordBatch, first: int = 0) -> pa.RecordBatch:
        columns = {
            name: rows.column(kept) if kept in there.names else pa.nulls(rows.num_rows) for name, kept in named.items()
        }
        if superseded or UNREADABLE in there.names:
            none = pa.nulls(rows.num_rows, pa.string())
            cells = rows.column(UNREADABLE) if UNREADABLE in there.names else none
            unread = pc.fill_null(pc.not_equal(cells, ""), False)
            numbers = pa.array(range(first, first + rows.num_rows), pa.int64())
            newer = pc.if_else(pc.is_in(numbers, apart), pa.scalar(SUPERSEDED), none)
            reasons = pc.if_else(unread, rows.column(REASON), newer)
            columns[UNREADABLE] = pa.StructArray.from_arrays([reasons, cells], ["reason", "cells"])
        return pa.RecordBatch.from_pydict(columns)

    def batches() -> Iterator[pa.RecordBatch]:
        first = 0
        with reading(file), parquet_file(file) as source:
            for rows in source.iter_batches(batch_size=_BATCH_ROWS):
                yield batch_of(rows, first)
                first += rows.num_rows

    return pa.RecordBatchReader.from_batches(batch_of(pa.RecordBatch.from_pylist([], there)).schema, batches())


@contextlib.contextmanager
def reading(file: StoragePath) -> Iterator[None]:
    """Let an error of reading a file of rows that were kept aside name the file.

    Raises:
        OfflineStoreError: it cannot be read.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise OfflineStoreError(
            f"The rows kept aside in {file} cannot be read: {error}.",
            hint="If the file is damaged, bring it back from a backup.",
        ) from error
