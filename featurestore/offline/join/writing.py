"""Joined rows, part by part, into a Parquet file or a Delta table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from featurestore.errors import FeatureStoreError, OfflineStoreError


def write_parquet(parts: Iterator[pa.Table], schema: pa.Schema, target: Path) -> None:
    """Write rows to one Parquet file, which appears under its name when it is complete, in the place of another.

    Raises:
        OfflineStoreError: the disk refuses.
    """
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
                for part in parts:
                    writer.write_table(part)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OfflineStoreError(
            f"{target} cannot be written: {error}", hint="Check the disk's space and rights."
        ) from error


def write_delta(parts: Iterator[pa.Table], schema: pa.Schema, target: Path) -> None:
    """Write rows as the next version of a Delta table, in the place of those that it held.

    Raises:
        OfflineStoreError: the disk refuses, or Delta has no such type as a column's.
    """
    failed: list[FeatureStoreError] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for part in parts:
                yield from part.to_batches()
        except FeatureStoreError as error:
            failed.append(error)
            raise

    try:
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        write_deltalake(str(target), reader, mode="overwrite", schema_mode="overwrite")
    except (DeltaError, OSError, pa.ArrowException, ValueError, TypeError) as error:
        if failed:  # on its way through the writer our own error lost its kind
            raise failed[0] from error
        raise OfflineStoreError(f"{target} cannot be written as a Delta table: {error}") from error
