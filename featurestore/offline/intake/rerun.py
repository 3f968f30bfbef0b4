"""A table as a run sees it that covers an interval again: what stands there already is not written once more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager

import duckdb
import pyarrow as pa

from featurestore.definitions import FeatureView
from featurestore.offline.intake.comparing import Counts, compare, numbered, rows_that_differ
from featurestore.offline.intake.held import is_held
from featurestore.offline.sources.intervals import Interval
from featurestore.offline.tables.copying import copied
from featurestore.offline.tables.snapshots import StagedFile, discard
from featurestore.offline.tables.table import LoadMetadata, OfflineTable


class Rerun(OfflineTable):
    """A table that takes of a load only the rows which it does not have as they are.

    Args:
        table: the table.
        view: whose rows they are.
        interval: the event times that the load covers.
        connect: opens the engine, with the ledger's order of loads.
    """

    def __init__(
        self,
        table: OfflineTable,
        view: FeatureView,
        interval: Interval,
        connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
    ) -> None:
        super().__init__(table.path)
        self._view = view
        self._interval = interval
        self._connect = connect
        self.notes: tuple[str, ...] = ()

    def publish(self, staged: StagedFile | None, schema: pa.Schema, metadata: LoadMetadata) -> bool:
        """Publish the rows that are new or changed; the others count as not read, and :attr:`notes` tells of them.

        Raises:
            OfflineStoreError: as for any table.
        """
        if not self.exists() or is_held(metadata.reasons):  # of a load that is kept aside no row is compared
            return super().publish(staged, schema, metadata)
        try:
            kept, counts = self._differing(staged, schema)
        except BaseException:
            discard([staged])
            raise
        known = 0 if staged is None else staged.rows - (0 if kept is None else kept.rows)
        notes = [f"{known:,} rows stand in the table as they are"] if known else []
        if counts.removed:
            notes.append(
                f"{counts.removed:,} stored rows of this time are not in the result any more; a backfill takes them out"
            )
        self.notes = tuple(notes)
        taken = dataclasses.replace(
            metadata, rows_read=metadata.rows_read - known, rows_written=metadata.rows_written - known
        )
        return super().publish(kept, schema, taken)

    def _differing(self, staged: StagedFile | None, schema: pa.Schema) -> tuple[StagedFile | None, Counts]:
        """Return the staged rows that the table does not have, in a file of their own if there are others."""
        with self._connect() as connection:
            path = None if staged is None else staged.path
            counts = compare(connection, self._view, path, self.files(), self._interval)
            if staged is None or not counts.unchanged:
                return staged, counts
            numbers = rows_that_differ(connection, self._view, staged.path)
        kept = copied(self, staged.path, schema, lambda batch: numbered(batch, numbers))
        staged.path.unlink(missing_ok=True)
        return kept, counts
