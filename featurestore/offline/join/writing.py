"""Joined rows, part by part, into a Parquet or CSV file or a Delta table."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from featurestore.errors import DataError, FeatureStoreError, OfflineStoreError

#: What writes a file, by the ending of its name; and how the name of a Delta table's folder may end.
_FILES: Mapping[str, Callable[[Path, pa.Schema], Any]] = {
    ".parquet": lambda path, schema: pq.ParquetWriter(path, schema, compression="zstd"),
    ".csv": pyarrow.csv.CSVWriter,
}
_FOLDERS = ("", ".delta")


def check_target(target: Path, form: str | None = None, *, folders: bool = True) -> None:
    """Check that rows can be written under a name; so before they are computed.

    Args:
        target: the name.
        form: how it has to end, without the dot; None if any ending will do.
        folders: whether it may be that of a Delta table's folder.

    Raises:
        DataError: it ends in neither .parquet nor .csv, nor as a folder does, or not as it has to.
    """
    ending = target.suffix.lower()
    if ending not in (*_FILES, *(_FOLDERS if folders and form is None else ())):
        instead = "; or a folder, with no ending" if folders else ""
        raise DataError(f"{target} ends in neither .parquet nor .csv.", hint=f"These two are written{instead}.")
    if form is not None and ending != f".{form}":
        raise DataError(f"{target} does not end in .{form}.", hint="The ending says what is in a file.")


def write_rows(parts: Iterator[pa.Table], schema: pa.Schema, target: Path, *, folders: bool = True) -> None:
    """Write rows as the ending of a name says: a Parquet or CSV file, or a Delta table.

    Args:
        parts: the rows.
        schema: of every part.
        target: the name; what is there is replaced.
        folders: whether it may be that of a Delta table's folder.

    Raises:
        DataError: it ends in another way, or a column is nested, which no cell of a CSV file holds.
        OfflineStoreError: the disk refuses.
    """
    check_target(target, folders=folders)
    write = write_delta if target.suffix.lower() in _FOLDERS else write_file
    write(parts, schema, target)


def write_file(parts: Iterator[pa.Table], schema: pa.Schema, target: Path) -> None:
    """Write rows to one Parquet or CSV file, which appears under its name when it is complete, in the place of another.

    Raises:
        DataError: the name ends in another way, or a column is nested, which no cell of a CSV file holds.
        OfflineStoreError: the disk refuses.
    """
    check_target(target, folders=False)
    for column in schema if target.suffix.lower() == ".csv" else ():
        if pa.types.is_nested(column.type):
            raise DataError(
                f'{target} cannot be written: column "{column.name}" is {column.type}, which a cell cannot hold.',
                hint="Write .parquet: it holds all types.",
            )
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _FILES[target.suffix.lower()](partial, schema) as writer:
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
