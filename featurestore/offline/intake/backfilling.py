"""An interval of a view, computed anew from its source."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureView, SqlSource, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from featurestore.errors import DataError
from featurestore.offline.erasure import suppression
from featurestore.offline.intake import ingest
from featurestore.offline.intake.backfill import Replacing
from featurestore.offline.intake.checks import UNREADABLE, table_schema, to_schema
from featurestore.offline.intake.comparing import Counts
from featurestore.offline.intake.loading import Loading, Progress, about
from featurestore.offline.intake.preview import BackfillReport, FeatureChange, Preview
from featurestore.offline.load_ids import BACKFILL
from featurestore.offline.sources import reading
from featurestore.offline.sources.intervals import Interval, earlier, later, shown
from featurestore.offline.sources.pieces import Piece
from featurestore.offline.tables.sharing import check_ours
from featurestore.offline.tables.table import LoadMetadata

Confirm = Callable[[Preview], bool]


class Backfilling(Loading):
    """Backfills."""

    def backfill(
        self,
        view: FeatureView,
        start: datetime,
        end: datetime,
        *,
        who: str,
        reason: str = "",
        confirm: Confirm | None = None,
        progress: Progress | None = None,
    ) -> BackfillReport:
        """Read the view's source again for an interval, and put its rows in the place of those that the table has.

        The new rows are checked as those of every load, but not compared with the loads before: the preview tells how
        they differ. All becomes visible at once; the snapshot before can be restored.

        Args:
            view: the view.
            start: the first event time, in UTC.
            end: the first event time that is not in the interval any more.
            who: who does it.
            reason: why.
            confirm: is shown what would change, and says whether it shall; None: it shall. Where nothing would change,
                nothing is published.
            progress: called with the rows of each batch.

        Raises:
            DataError: the interval is empty, the view has no source that could be read again, or rows cannot be taken.
            RegistryError: the view is another project's.
            TableConflictError: rows of the interval came in meanwhile.
            OfflineStoreError: the disk or the table refuses.
        """
        started = time.monotonic()
        if end <= start:
            raise DataError(
                f'The interval to backfill of feature view "{view.name}" ends at {shown(end)}, before it begins.',
                hint="Rows from the first instant on and before the last one are replaced.",
            )
        check_ours(view)
        interval = Interval(start, end)
        pieces = reading.pieces_within(view, self._config, interval)
        following = self._following(view, end, who)
        table, load_id = self.table(view), _load_id()
        notes: dict[str, None] = {}
        previews: list[Preview] = []

        def decide(counts: Counts, features: tuple[FeatureChange, ...], metadata: LoadMetadata) -> bool:
            datasets, models = self._made_from(view, interval)
            shown_now = Preview(
                view=view.name,
                interval=interval,
                counts=counts,
                quarantined=metadata.reasons,
                features=features,
                datasets=datasets,
                models=models,
                notes=tuple(
                    dict.fromkeys([*_gone(counts, pieces), *(note for one in pieces for note in one.notes), *notes])
                ),
                following=following,
            )
            previews.append(shown_now)
            return confirm is None or shown_now.is_empty or confirm(shown_now)

        known = [one.load_id for one in self.loads(view)]
        what = f'The backfill of feature view "{view.name}"'
        with (
            Replacing(table, view, interval, known, lambda: self._connect([view], what), decide) as replacing,
            self._rows_of(view, pieces, notes) as reader,
        ):
            loaded, outcome = self._load(view, reader, load_id, who, reason, progress, into=replacing)
        if loaded is None:
            self._quarantine_file(view, load_id).unlink(missing_ok=True)
        preview = dataclasses.replace(previews[-1], notes=tuple(dict.fromkeys([*previews[-1].notes, *outcome.notes])))
        return BackfillReport(preview=preview, load=loaded, seconds=time.monotonic() - started)

    def _following(self, view: FeatureView, end: datetime, who: str) -> Preview | None:
        """Return what would change right after an interval, where rows look back into it; None if nothing would."""
        source, table = view.source, self.table(view)
        if not isinstance(source, SqlSource) or not source.lookback or not table.exists():
            return None
        interval = Interval(end, later(end, source.lookback))
        previews: list[Preview] = []

        def decide(counts: Counts, features: tuple[FeatureChange, ...], metadata: LoadMetadata) -> bool:
            # What would only be added is not wrong: the next load brings it.
            if counts.changed or counts.removed:
                previews.append(
                    Preview(
                        view=view.name,
                        interval=interval,
                        counts=counts,
                        quarantined=metadata.reasons,
                        features=features,
                        datasets=(),
                        models=(),
                    )
                )
            return False

        what, load_id = f'The rows of feature view "{view.name}" after the interval', _load_id()
        quarantine = self._quarantine_file(view, load_id)
        known = [one.load_id for one in self.loads(view)]
        # Nothing is published, so nothing is refused: its own backfill will.
        lenient = [dataclasses.replace(one, max_null_rate=None) for one in view.schema]
        try:
            with (
                Replacing(table, view, interval, known, lambda: self._connect([view], what), decide) as replacing,
                self._rows_of(view, reading.pieces_within(view, self._config, interval), {}) as reader,
            ):
                ingest.load(
                    reader,
                    dataclasses.replace(view, on_bad_rows="quarantine", schema=lenient),
                    replacing,
                    quarantine,
                    load_id=load_id,
                    now=datetime.now(UTC),
                    max_future_seconds=self._config.offline.max_future_seconds,
                    author=who,
                    reason="",
                    project=self._config.project,
                    suppressed=suppression.suppressed(view, self._registry, self._config),
                )
        finally:
            quarantine.unlink(missing_ok=True)
        return previews[0] if previews else None

    @contextmanager
    def _rows_of(
        self, view: FeatureView, pieces: Sequence[Piece], notes: dict[str, None]
    ) -> Iterator[pa.RecordBatchReader]:
        what = f'The source of feature view "{view.name}"'
        if len(pieces) == 1:
            with pieces[0].read(self._config, what) as reader:
                yield reader
            return
        # Files of one source may have other types and columns each; a load has one schema.
        schema = _incoming(view, cells=any(one.name.lower().endswith(".csv") for one in pieces))

        def batches() -> Iterator[pa.RecordBatch]:
            for piece in pieces:
                with about(piece, pieces), piece.read(self._config, what) as reader:
                    for batch in reader:
                        rows, said = to_schema(batch, view)
                        notes.update(dict.fromkeys(said))
                        yield _as_incoming(rows, batch, schema, view)

        yield pa.RecordBatchReader.from_batches(schema, batches())

    def _made_from(self, view: FeatureView, interval: Interval) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the training datasets whose instants the interval can have reached, and the models of them."""
        datasets = [one.id for one in self._registry.datasets() if self._reached(one.manifest, view, interval)]
        models = [one.id for one in self._registry.models() if one.dataset in datasets]
        return tuple(datasets), tuple(models)

    def _reached(self, manifest: Mapping[str, Any], view: FeatureView, interval: Interval) -> bool:
        used = [one for one in manifest["views"].values() if one["storage_id"] == storage_id(view)]
        if not used or interval.start is None or interval.end is None:
            return bool(used)
        first, last = (datetime.fromisoformat(manifest[f"{which}_instant"]) for which in ("first", "last"))
        # An instant sees rows as old as the TTL of the version that was joined, which may be another one than this.
        versions = [self._registry.feature_view(f"{view.name}@{one['version']}").definition for one in used]
        oldest = [None if one.ttl is None else earlier(first, one.ttl) for one in versions]
        return last >= interval.start and any(one is None or one < interval.end for one in oldest)


def _gone(counts: Counts, pieces: Sequence[Piece]) -> list[str]:
    """Return what to look at before rows go: a file that is not there just now looks like rows that were removed."""
    if not counts.removed:
        return []
    names = [one.name for one in pieces]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    return [f"{counts.removed:,} rows go as the source has them no more; see that it is whole: only {listed} was read"]


def _load_id() -> str:
    return f"{BACKFILL}{uuid.uuid4()}"


def _incoming(view: FeatureView, *, cells: bool) -> pa.Schema:
    """Return the columns of rows that come, in the types of the table; with what a reader of cells tells, if any."""
    instant = pa.timestamp("us", tz="UTC")
    columns = {view.timestamp_field: instant}
    if view.created_timestamp_column is not None:
        columns[view.created_timestamp_column] = instant
    # A view may have the column of its instants as a key or a feature too; then it is that column which is checked.
    columns |= {
        one.name: one.type for one in table_schema(view) if one.name not in (EVENT_TIMESTAMP, CREATED_TIMESTAMP)
    }
    if cells:
        columns[UNREADABLE] = pa.struct([("reason", pa.string()), ("cells", pa.string())])
    return pa.schema(columns)


def _as_incoming(rows: pa.RecordBatch, batch: pa.RecordBatch, schema: pa.Schema, view: FeatureView) -> pa.RecordBatch:
    """Return rows in the types of the table under the names that they came with."""
    columns = {view.timestamp_field: rows.column(EVENT_TIMESTAMP)}
    if view.created_timestamp_column is not None:
        columns[view.created_timestamp_column] = rows.column(CREATED_TIMESTAMP)
    columns |= {name: rows.column(name) for name in (*view.keys, *(one.name for one in view.schema))}
    if UNREADABLE in batch.schema.names:
        columns[UNREADABLE] = batch.column(UNREADABLE)
    elif UNREADABLE in schema.names:
        columns[UNREADABLE] = pa.nulls(batch.num_rows, schema.field(UNREADABLE).type)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
