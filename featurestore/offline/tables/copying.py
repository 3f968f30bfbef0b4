"""Files of a table, written again with some of their rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions.names import LOAD_ID
from featurestore.errors import OfflineStoreError
from featurestore.offline.tables.snapshots import StagedFile, marks_of
from featurestore.offline.tables.table import OfflineTable
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file, read_schema, read_table


def copied(
    table: OfflineTable, file: StoragePath, schema: pa.Schema, kept: Callable[[pa.RecordBatch], pa.RecordBatch]
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
            with parquet_file(file) as opened:
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


def loads_of(file: StoragePath) -> set[str]:
    """Return the loads of which a file has rows."""
    return set(pc.unique(read_table(file, columns=[LOAD_ID]).column(LOAD_ID)).to_pylist())


def without_loads(table: OfflineTable, files: Sequence[StoragePath], loads: Collection[str]) -> list[StagedFile]:
    """Write files anew without the rows of some loads."""
    gone = pa.array(sorted(loads), pa.string())
    return _copied(table, files, lambda batch: pc.invert(pc.is_in(batch.column(LOAD_ID), value_set=gone)))


def with_loads(table: OfflineTable, files: Sequence[StoragePath], loads: Collection[str]) -> list[StagedFile]:
    """Write files anew with the rows of some loads alone."""
    wanted = pa.array(sorted(loads), pa.string())
    return _copied(table, files, lambda batch: pc.is_in(batch.column(LOAD_ID), value_set=wanted))


def _copied(
    table: OfflineTable, files: Sequence[StoragePath], which: Callable[[pa.RecordBatch], pa.Array]
) -> list[StagedFile]:
    def kept(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(which(batch))

    written = (copied(table, file, read_schema(file), kept) for file in files)
    return [one for one in written if one is not None]
