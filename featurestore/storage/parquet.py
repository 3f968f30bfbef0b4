"""Parquet files wherever they lie: pyarrow's functions, which open what is on a disk by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.storage.object_files import ObjectWriter
from featurestore.storage.places import StoragePath


@contextmanager
def parquet_file(path: StoragePath, **options: Any) -> Iterator[pq.ParquetFile]:
    """Open a file; see ``pq.ParquetFile``.

    Raises:
        OSError: it is gone, or the disk refuses; ``pa.ArrowException`` where it is damaged.
        OfflineStoreError: object storage refuses.
    """
    if isinstance(path, Path):
        with pq.ParquetFile(path, **options) as file:
            yield file
        return
    with pa.PythonFile(path.reader(), mode="r") as source, pq.ParquetFile(source, **options) as file:
        yield file


def read_table(path: StoragePath, columns: Sequence[str] | None = None) -> pa.Table:
    """Return rows of a file; see :func:`parquet_file`."""
    chosen = None if columns is None else list(columns)
    if isinstance(path, Path):
        return pq.read_table(path, columns=chosen)
    with pa.PythonFile(path.reader(), mode="r") as source:
        return pq.read_table(source, columns=chosen)


def read_schema(path: StoragePath) -> pa.Schema:
    """Return the columns of a file; see :func:`parquet_file`."""
    if isinstance(path, Path):
        return pq.read_schema(path)
    with pa.PythonFile(path.reader(), mode="r") as source:
        return pq.read_schema(source)


def read_metadata(path: StoragePath) -> pq.FileMetaData:
    """Return the footer of a file; see :func:`parquet_file`."""
    if isinstance(path, Path):
        return pq.read_metadata(path)
    with pa.PythonFile(path.reader(), mode="r") as source:
        return pq.read_metadata(source)


class ParquetWriter:
    """A Parquet file in the making; see ``pq.ParquetWriter``, whose methods it has.

    In object storage it appears when it is closed, and not at all if it is discarded.

    Args:
        path: the file.
        schema: of the rows.
        options: of ``pq.ParquetWriter``.
    """

    def __init__(self, path: StoragePath, schema: pa.Schema, **options: Any) -> None:
        self._object = None if isinstance(path, Path) else ObjectWriter(path.bucket, path.key)
        self._sink = None if self._object is None else pa.PythonFile(self._object, mode="w")
        self._writer = pq.ParquetWriter(path if self._sink is None else self._sink, schema, **options)
        self.schema = schema

    def write_batch(self, batch: pa.RecordBatch, row_group_size: int | None = None) -> None:
        """Add a batch."""
        self._writer.write_batch(batch, row_group_size)

    def write_table(self, table: pa.Table, row_group_size: int | None = None) -> None:
        """Add a table."""
        self._writer.write_table(table, row_group_size)

    def add_key_value_metadata(self, metadata: dict[str, bytes]) -> None:
        """Add to what the footer says."""
        self._writer.add_key_value_metadata(metadata)

    def close(self) -> None:
        """Write the footer; the file is whole."""
        self._writer.close()
        if self._sink is not None:
            self._sink.close()

    def discard(self) -> None:
        """Give up: of a file on a disk the beginning is left, for whoever names it to remove."""
        if self._object is not None:
            self._object.discard()
        self.close()


def write_table(table: pa.Table, path: StoragePath, **options: Any) -> None:
    """Write a table as a file."""
    if isinstance(path, Path):
        pq.write_table(table, path, **options)
        return
    with pa.BufferOutputStream() as held:
        pq.write_table(table, held, **options)
        path.write_bytes(held.getvalue().to_pybytes())
