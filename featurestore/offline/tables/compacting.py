"""Small files of tables, written anew as large sorted ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import duckdb
import pyarrow as pa

from featurestore.definitions import FeatureView
from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.markup import Printed
from featurestore.offline.intake.checks import table_schema
from featurestore.offline.join import order as join
from featurestore.offline.opened import Opened
from featurestore.offline.tables import compaction
from featurestore.offline.tables.sharing import check_ours
from featurestore.offline.tables.snapshots import DataFile, StagedFile, discard
from featurestore.offline.tables.table import OfflineTable, stored_schema

#: How often a group of files is begun anew, because another writer has replaced some of them meanwhile.
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class CompactReport(Printed):
    """What became of a table's files; its rows are the same.

    Attributes:
        view: the view's name.
        rows: rows that were written anew.
        files_before: how many files the table had.
        files_after: how many it has.
        bytes_before: of the table's files.
        bytes_after: of those that it has now; the others stay on disk until ``featurestore gc``.
        seconds: how long it took.
        also: what became of the tables of other live versions of the view.
    """

    view: str
    rows: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    seconds: float
    also: tuple[CompactReport, ...] = ()

    def __str__(self) -> str:
        text = f"{self.view}: {self.files_before} files, nothing to do"
        if self.rows:
            text = (
                f"{self.view}: {self.rows:,} rows sorted, {self.files_before} files of {self.bytes_before:,} bytes are "
                f"{self.files_after} of {self.bytes_after:,}"
            )
        return "; ".join([text, *(f"also {other}" for other in self.also)])


class Compacting(Opened):
    """Compaction."""

    def compact(
        self,
        view: FeatureView,
        *,
        who: str,
        reason: str = "",
        progress: Callable[[int], None] | None = None,
        target_bytes: int = compaction.TARGET_BYTES,
    ) -> CompactReport:
        """Write a table's small and unsorted files anew, sorted by key and event time, one commit for each group.

        Loads may land meanwhile. The files that were replaced stay where they are, for readers that have begun, for
        ``restore`` and for the datasets that name them, until ``featurestore gc``.

        Args:
            view: whose table.
            who: who does it.
            reason: why; both stand in the commit and in the audit.
            progress: called with the rows of each batch.
            target_bytes: of a file as it should be.

        Raises:
            OfflineStoreError: the table cannot be read or written.
            TableConflictError: other writers replaced the same files again and again.
        """
        check_ours(view)
        started = time.monotonic()
        self.ledger(view)  # which refuses a table that is another project's
        table = self.table(view)
        rows, before = 0, table.snapshot() if table.exists() else None
        attempts = _ATTEMPTS
        while before is not None:
            waiting = compaction.groups(table.snapshot(), target_bytes)
            if not waiting:
                break
            try:
                with self._connect([], f'Compacting the table of feature view "{view.name}"') as connection:
                    for group in waiting:
                        written = self._sorted(connection, view, table, group, target_bytes, progress)
                        rows += _replaced(table, group, written, who, reason, self._config.project)
                break
            except TableConflictError:
                attempts -= 1
                if not attempts:
                    raise
        self.ledger(view)
        after = table.snapshot() if before is not None else None
        return CompactReport(
            view=view.name,
            rows=rows,
            files_before=0 if before is None else len(before.files),
            files_after=0 if after is None else len(after.files),
            bytes_before=0 if before is None else before.size,
            bytes_after=0 if after is None else after.size,
            seconds=time.monotonic() - started,
        )

    def _sorted(
        self,
        connection: duckdb.DuckDBPyConnection,
        view: FeatureView,
        table: OfflineTable,
        group: Sequence[DataFile],
        target_bytes: int,
        progress: Callable[[int], None] | None,
    ) -> list[StagedFile]:
        """Write the rows of a group of files anew, and return the files."""
        schema = stored_schema(table_schema(view))
        written: list[StagedFile] = []
        try:
            for after, until in pairwise([None, *compaction.cuts(connection, group, target_bytes), None]):
                batches = compaction.sorted_rows(connection, view, group, schema, after, until)
                staged = table.stage(_counted(batches, progress), schema)
                written += [] if staged is None else [staged.marked("s")]
        except BaseException as error:
            discard(written)
            if not isinstance(error, (duckdb.Error, OSError, OfflineStoreError)):
                raise
            if not {one.name for one in group} <= {one.name for one in table.snapshot().files}:
                raise table.conflict() from error  # what was read is gone: an erasure leaves no old file behind
            if isinstance(error, OfflineStoreError):
                raise
            raise join.unreadable(view, error) from error  # OSError is how DuckDB's errors come out of a stream
        return written


def _replaced(
    table: OfflineTable, group: Sequence[DataFile], written: Sequence[StagedFile], who: str, reason: str, project: str
) -> int:
    rows = sum(one.rows for one in written)
    try:
        table.rewrite(
            [one.name for one in group],
            written,
            action="compact",
            details={"files": len(group), "into": len(written), "rows": rows},
            author=who,
            reason=reason,
            data_change=False,
            project=project,
        )
    except BaseException:
        discard(written)
        raise
    return rows


def _counted(batches: Iterator[pa.RecordBatch], progress: Callable[[int], None] | None) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        if progress is not None:
            progress(batch.num_rows)
