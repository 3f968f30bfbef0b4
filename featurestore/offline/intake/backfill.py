"""A table as a backfill sees it: the rows of an interval give way to others, by one commit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from functools import partial

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView
from featurestore.definitions.names import EVENT_TIMESTAMP, LOAD_ID
from featurestore.errors import OfflineStoreError, TableConflictError
from featurestore.offline.engine import identifier
from featurestore.offline.intake.checks import table_schema
from featurestore.offline.intake.comparing import COMPARED, Counts, compare, compared
from featurestore.offline.intake.preview import Example, FeatureChange
from featurestore.offline.sources.intervals import Interval
from featurestore.offline.tables.copying import copied
from featurestore.offline.tables.snapshots import DataFile, Snapshot, StagedFile, discard
from featurestore.offline.tables.table import LoadMetadata, OfflineTable, stored_schema
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file
from featurestore.types import microseconds

_EXAMPLES = 3
_ATTEMPTS = 5

#: What the engine is asked through: a connection that has the ledger's order of loads.
Connect = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
#: Is shown what would change, and says whether it shall.
Decide = Callable[[Counts, tuple[FeatureChange, ...], LoadMetadata], bool]


class Replacing(OfflineTable):
    """A table in which a load takes the place of the rows of an interval.

    Its :meth:`files` are those that it would have without these rows: what may not repeat within the table is not held
    against the rows that come in their place.

    Args:
        table: the table.
        view: whose rows they are.
        interval: the event times; both ends are named.
        loads: the loads that the table has; rows of later ones are not replaced.
        connect: opens the engine.
        decide: is asked before anything is published.
    """

    def __init__(
        self,
        table: OfflineTable,
        view: FeatureView,
        interval: Interval,
        loads: Collection[str],
        connect: Connect,
        decide: Decide,
    ) -> None:
        super().__init__(table.path)
        self._view = view
        self._interval = interval
        self._known = pa.array(sorted(loads), pa.string())
        self._connect = connect
        self._decide = decide
        self._schema = stored_schema(table_schema(view))
        self._before: Snapshot | None = table.snapshot() if table.exists() else None
        self._rest: list[StagedFile] | None = None

    def __enter__(self) -> Replacing:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def files(self, version: int | None = None) -> list[str]:
        """Return the files that the table would have without the rows of the interval.

        Raises:
            OfflineStoreError: one cannot be read, or the disk refuses.
        """
        if version is not None or self._before is None:
            return super().files(version)
        touched = {one.name for one in self._touched(self._before)}
        stay = [one.path for one in self._before.files if one.name not in touched]
        return stay + [str(one.path) for one in self._rest_of(self._before)]

    def publish(self, staged: StagedFile | None, schema: pa.Schema, metadata: LoadMetadata) -> bool:
        """Put the rows in the place of those of the interval, if that is what is decided.

        Returns:
            False when nothing would change, or it was decided against; the staged file is then removed.

        Raises:
            TableConflictError: rows of the interval came in meanwhile, or other writers do not let it through.
            OfflineStoreError: the table refuses.
        """
        try:
            counts, features = self._compared(staged)
            changes = counts.added or counts.changed or counts.removed
            if not self._decide(counts, features, metadata) or not changes:
                discard([staged])
                return False
            if self._before is None:
                return super().publish(staged, schema, metadata)
            self._replace(staged, counts, metadata)
        except BaseException:
            discard([staged])
            raise
        return True

    def _compared(self, staged: StagedFile | None) -> tuple[Counts, tuple[FeatureChange, ...]]:
        files = [] if self._before is None else [one.path for one in self._touched(self._before)]
        with self._connect() as connection:
            counts = compare(connection, self._view, None if staged is None else staged.path, files, self._interval)
            return counts, tuple(feature_changes(connection, self._view)) if counts.changed else ()

    def _replace(self, staged: StagedFile | None, counts: Counts, metadata: LoadMetadata) -> None:
        start, end = self._interval.start, self._interval.end
        details = {
            "load_id": metadata.load_id,
            "from": None if start is None else start.isoformat(),
            "to": None if end is None else end.isoformat(),
            "rows_added": counts.added,
            "rows_changed": counts.changed,
            "rows_removed": counts.removed,
        }
        for attempt in range(_ATTEMPTS):
            now = self._now()
            rest = self._rest_of(now)
            try:
                self.rewrite(
                    [one.name for one in self._touched(now)],
                    [*rest, *([] if staged is None else [staged])],
                    action="backfill",
                    details=details,
                    author=metadata.author,
                    reason=metadata.reason,
                    data_change=True,
                    load=metadata,
                    project=metadata.project,
                )
            except TableConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            self._rest = None  # they are the table's now
            return

    def _now(self) -> Snapshot:
        """Return the table as it is, in which other writers may have arranged the rows anew.

        Raises:
            TableConflictError: they brought rows of the interval that the source had not been asked for.
        """
        now = self.snapshot()
        if self._before is None or now.version == self._before.version:
            return now
        before = {one.name for one in self._before.files}
        for file in self._touched(now):
            if file.name not in before and self._has_unknown(file.place):
                raise TableConflictError(
                    f'Rows of feature view "{self._view.name}" {self._interval} came in while it was backfilled.',
                    hint="Nothing was changed; do it again.",
                )
        if [one.name for one in self._touched(now)] != [one.name for one in self._touched(self._before)]:
            self._discard()
        self._before = now
        return now

    def _has_unknown(self, file: StoragePath) -> bool:
        with parquet_file(file) as opened:
            for batch in opened.iter_batches(columns=[EVENT_TIMESTAMP, LOAD_ID]):
                unknown = pc.invert(pc.is_in(batch.column(LOAD_ID), value_set=self._known))
                if pc.any(pc.and_(unknown, self._interval.holds(batch.column(EVENT_TIMESTAMP)))).as_py():
                    return True
        return False

    def _touched(self, snapshot: Snapshot) -> list[DataFile]:
        """Return the files that may have rows of the interval, by what the log says of their event times."""
        start, end = self._bounds()
        return [one for one in snapshot.files if one.last >= start and one.first < end]

    def _rest_of(self, snapshot: Snapshot) -> list[StagedFile]:
        """Return the rows outside of the interval of the files that have some inside, as staged files."""
        if self._rest is None:
            start, end = self._bounds()
            touched = self._touched(snapshot)
            # Two files, one on either side: files whose times overlap cost every join more.
            sides = [(one, Interval(None, self._interval.start)) for one in touched if one.first < start]
            sides += [(one, Interval(self._interval.end, None)) for one in touched if one.last >= end]
            self._rest = []
            for file, side in sides:
                rest = copied(self, file.place, self._schema, partial(_within, side))
                if rest is not None:
                    self._rest.append(rest)
        return self._rest

    def _bounds(self) -> tuple[int, int]:
        start, end = self._interval.start, self._interval.end
        if start is None or end is None:
            raise OfflineStoreError("An interval to backfill has no end.", hint="Name both.")
        return microseconds(start), microseconds(end)

    def _discard(self) -> None:
        discard(self._rest or ())
        self._rest = None


def _within(interval: Interval, batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(interval.holds(batch.column(EVENT_TIMESTAMP)))


def feature_changes(connection: duckdb.DuckDBPyConnection, view: FeatureView) -> Iterable[FeatureChange]:
    """Yield in how many rows of the table :data:`~featurestore.offline.intake.comparing.COMPARED` each feature changes.

    Examples come from the oldest rows. Values that are personal data do not leave here.
    """
    keys = list(view.keys)
    columns = compared(view)
    personal = {one.name for one in view.schema if one.pii}
    totals = ", ".join(f"count(*) FILTER (changed_{place})" for place in range(len(columns)))
    counts = connection.sql(f"SELECT {totals} FROM {COMPARED}").fetchall()[0]
    for place, (name, rows) in enumerate(zip(columns, counts, strict=True)):
        if not rows:
            continue
        if name in personal:
            yield FeatureChange(name=name, rows=rows, examples=None)
            continue
        listed = ", ".join(identifier(key) for key in keys)
        found = connection.sql(
            f"SELECT {listed}, {EVENT_TIMESTAMP}, stored_{place}, fresh_{place} FROM {COMPARED} WHERE changed_{place} "
            f"ORDER BY {EVENT_TIMESTAMP}, {listed} LIMIT {_EXAMPLES}"
        ).to_arrow_table()
        yield FeatureChange(
            name=name,
            rows=rows,
            examples=tuple(
                Example(
                    keys={key: row[key] for key in keys},
                    event_timestamp=row[EVENT_TIMESTAMP],
                    before=row[f"stored_{place}"],
                    after=row[f"fresh_{place}"],
                )
                for row in found.to_pylist()
            ),
        )
