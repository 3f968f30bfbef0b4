"""A file of a table, written again with some of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import OfflineStoreError
from featurestore.offline.tables.snapshots import StagedFile, marks_of
from featurestore.offline.tables.table import OfflineTable


def copied(
    table: OfflineTable, file: Path, schema: pa.Schema, kept: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> StagedFile | None:
    """Return a staged file with the rows of another one that are kept, in order; None if none are.

    What the other's name says of its rows holds for some of them too, so the new name says it again.

    Args:
        table: where it is staged.
        file: the other one; it stays.
        schema: the table's columns.
        kept: returns the rows of a batch that are kept.

    Raises:
        OfflineStoreError: the file cannot be read, or the disk refuses.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches():
                    yield kept(batch).select(schema.names).cast(schema)
        except (OSError, pa.ArrowException) as error:
            raise OfflineStoreError(
                f"The file {file.name} of the table {table.path.name} cannot be read: {error}",
                hint="If it is gone or damaged, bring it back from a backup.",
            ) from error

    staged = table.stage(batches(), schema)
    marks = marks_of(file.name)
    return staged if staged is None or not marks else staged.marked(marks)
