"""Rows into a table: read, checked, bad ones kept aside, compared with the loads before, published at once."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa

from featurestore.definitions import FeatureView
from featurestore.definitions.names import LOAD_ID, ROW_NUMBER
from featurestore.errors import DataError, LoadRefusedError, OfflineStoreError
from featurestore.libraries import libraries
from featurestore.markup import Printed
from featurestore.offline.intake.checks import Suppressed, check, latest_event, table_schema
from featurestore.offline.intake.counts import Counts, refuse_bad
from featurestore.offline.intake.frames import BATCH_ROWS, even
from featurestore.offline.intake.gates import judge
from featurestore.offline.intake.held import hold
from featurestore.offline.intake.load_profiles import LoadProfile, Sample, watched
from featurestore.offline.intake.quarantine import QuarantineFile
from featurestore.offline.intake.repeats import Repeats, values_so_far
from featurestore.offline.sources.pieces import Piece
from featurestore.offline.tables.provenance import Provenance
from featurestore.offline.tables.snapshots import StagedFile, discard
from featurestore.offline.tables.table import LoadMetadata, OfflineTable, stored_schema
from featurestore.registry.records import Load
from featurestore.storage import StoragePath


@dataclass(frozen=True, kw_only=True)
class IngestReport(Printed):
    """What became of the rows that came in.

    Attributes:
        view: the view's name.
        loads: the loads published now, in order.
        skipped: loads that were published before: unchanged parts of the source, or a load id seen again.
        notes: casts made, columns ignored.
        seconds: how long it took.
        also: what became of the same rows in other live versions of the view, which have tables of their own.
        anomalies: how the loads differ from those before them, a sentence each.
        warned: published rows that break checks of values, by reason, of a view with ``on_bad_rows="warn"``.
    """

    view: str
    loads: tuple[Load, ...]
    skipped: int
    notes: tuple[str, ...]
    seconds: float
    also: tuple[IngestReport, ...] = ()
    anomalies: tuple[str, ...] = ()
    warned: Mapping[str, int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Rows that came in: written + quarantined + suppressed."""
        return sum(load.rows_read for load in self.loads)

    @property
    def written(self) -> int:
        """Rows published."""
        return sum(load.rows_written for load in self.loads)

    @property
    def quarantined(self) -> int:
        """Rows kept aside."""
        return sum(load.rows_quarantined for load in self.loads)

    @property
    def suppressed(self) -> int:
        """Rows dropped, because they are of someone who was erased."""
        return sum(load.rows_suppressed for load in self.loads)

    @property
    def reasons(self) -> dict[str, int]:
        """Quarantined rows by reason."""
        total: Counter[str] = Counter()
        for load in self.loads:
            total.update(load.reasons)
        return dict(total.most_common())

    def __str__(self) -> str:
        text = f"{self.view}: {self.written:,} rows written"
        if self.quarantined:
            text += f", {self.quarantined:,} quarantined ({_listed(self.reasons)})"
        if self.suppressed:
            text += f", {self.suppressed:,} of erased keys dropped"
        if self.warned:
            text += f", {sum(self.warned.values()):,} with a warning ({_listed(self.warned)})"
        if self.skipped:
            text += f", {self.skipped} load(s) published before"
        return "; ".join([text, *(f"also {other}" for other in self.also)])


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in reasons.items())


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a load is compared with.

    Attributes:
        history: the last good loads, oldest first.
        profile: the file in which this one is kept for the next; it appears before the load is published.
        accepted: whether the rows are right however they differ.
    """

    history: Sequence[LoadProfile]
    profile: StoragePath
    accepted: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one load.

    Attributes:
        published: whether it was published now; False if it was before, or another writer did meanwhile.
        notes: casts made, columns ignored.
        anomalies: how it differs from the loads before.
        warned: published rows that break checks of values, by reason.
    """

    published: bool
    notes: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    warned: Mapping[str, int] = field(default_factory=dict)


#: What may stand in a file's name on every system that users have; workflow engines' run ids fit.
_LOAD_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+=,-]{0,199}")


def check_load_id(load_id: object) -> str:
    """Return a caller's load id if it can be one.

    Raises:
        DataError: it is no text, or one that the name of a file cannot carry.
    """
    if not isinstance(load_id, str) or not _LOAD_ID.fullmatch(load_id):
        raise DataError(
            f"{load_id!r} cannot be a load id.",
            hint='Use letters, digits and "_.:@+=,-", at most 200 of them, a letter, a digit or "_" first.',
        )
    return load_id


def load(
    reader: pa.RecordBatchReader,
    view: FeatureView,
    table: OfflineTable,
    quarantine: StoragePath,
    *,
    load_id: str,
    now: datetime,
    max_future_seconds: float,
    author: str,
    reason: str,
    progress: Callable[[int], None] | None = None,
    source: Piece | None = None,
    moved_from: str = "",
    carried: Sequence[str] = (),
    provenance: Provenance | None = None,
    project: str = "",
    suppressed: Suppressed | None = None,
    past: Past | None = None,
    again: bool = False,
) -> Outcome:
    """Check a stream of rows and publish the good ones as one load.

    Args:
        reader: the rows as they came.
        view: the definition whose checks hold.
        table: where good rows go.
        quarantine: the Parquet file for bad rows; written before the load is published, absent when there are none.
        load_id: the same id twice is one load.
        now: the instant against which "the future" is judged.
        max_future_seconds: how far ahead of ``now`` an event may lie.
        author: who loads.
        reason: why; both stand in the commit.
        progress: called with the rows of each batch.
        source: the part of the view's source that ``reader`` reads; None for rows that a caller passed.
        moved_from: where the source lay at its last load, if elsewhere.
        carried: loads that count as loaded with this one, because their rows are in it.
        provenance: takes from the rows where they came from and when; None if that is this load, when it is published.
        project: whose load it is.
        suppressed: which rows are of someone who was erased; they are dropped and counted.
        past: what the load is compared with; None does not compare it.
        again: whether the rows were quarantined before: those that are bad still were counted then, and no longer
            count as read. Without a good row nothing is published, and a load is not refused as a whole for its bad
            rows: they are what is left of one.

    Raises:
        SchemaError: a column is missing or of another type; nothing is published.
        TimestampError: a timestamp names no zone; nothing is published.
        LoadRefusedError: rows are bad and the view rejects such loads, a feature has more nulls than it may, or the
            load differs from those before and the view's gate rejects that; nothing is published.
        TableConflictError: carried rows came into the table otherwise meanwhile; nothing is published.
        OfflineStoreError: the disk refuses; nothing is published.
    """
    latest = latest_event(now, max_future_seconds)
    schema = stored_schema(table_schema(view))
    counts = Counts()
    sample = Sample(watched(view.schema)) if past is not None else None
    ids = pa.DictionaryArray.from_arrays(np.zeros(BATCH_ROWS, np.int32), pa.array([load_id]))
    # No rows are no excuse for a wrong schema; but an empty list has none.
    given = reader.schema if provenance is None else provenance.rest(reader.schema)
    if given.names:
        counts.note(check(pa.RecordBatch.from_pylist([], given), view, latest=latest).notes)

    def checked(bad: QuarantineFile, repeats: Repeats | None) -> Iterator[pa.RecordBatch]:
        for batch in even(reader) if provenance is None else provenance.parted(even(reader)):
            parts = check(batch, view, latest=latest, repeats=repeats, suppressed=suppressed)
            good = parts.good
            bad.write(parts.bad)
            if sample is not None:
                sample.add(good)
            numbers = pa.array(np.arange(counts.written, counts.written + good.num_rows))
            if provenance is not None and good.num_rows:
                provenance.note(counts.written)
            counts.add(parts)
            yield good.append_column(LOAD_ID, ids.slice(0, good.num_rows)).append_column(ROW_NUMBER, numbers)
            if progress is not None:
                progress(batch.num_rows)

    with values_so_far(view, table, load_id, None if source is None else source.interval) as repeats:
        # Whoever held the table may have published this very load, and then all its rows would repeat.
        if repeats is not None and table.has_load(load_id):
            return Outcome(published=False)
        anomalies: tuple[str, ...] = ()
        with QuarantineFile(quarantine) as bad:
            staged = table.stage(checked(bad, repeats), schema)
            if again and staged is None:
                return Outcome(published=False, notes=tuple(counts.notes))
            with _thrown_away(staged):
                if not again:
                    refuse_bad(view, counts)
                if past is not None and sample is not None:
                    anomalies = _compared(sample, view, counts, past)
                if staged is not None and anomalies and _is_to_hold(view, past):
                    counts.hold(hold(staged.path, table_schema(view), bad, anomalies))
                    staged = None
                bad.keep()
        if not counts.read:
            counts.note(["0 rows"])
        quarantined = Counter() if again else counts.reasons
        published = table.publish(
            staged,
            schema,
            LoadMetadata(
                load_id=load_id,
                rows_read=counts.written + quarantined.total() + counts.suppressed,
                rows_written=counts.written,
                rows_quarantined=quarantined.total(),
                rows_suppressed=counts.suppressed,
                reasons=dict(quarantined),
                author=author,
                reason=reason,
                location="" if source is None else source.location,
                moved_from=moved_from,
                watermark=None if source is None else source.watermark(),
                carried=carried,
                arrivals=() if provenance is None else provenance.arrivals(),
                origins=() if provenance is None else provenance.origins(counts.written),
                project=project,
                anomalies=anomalies,
                warned=dict(counts.warned),
                libraries=libraries(),
            ),
        )
    return Outcome(published=published, notes=tuple(counts.notes), anomalies=anomalies, warned=dict(counts.warned))


@contextlib.contextmanager
def _thrown_away(staged: StagedFile | None) -> Iterator[None]:
    """Remove a staged file if what is done in the block fails."""
    try:
        yield
    except BaseException:
        discard([staged])
        raise


def _compared(sample: Sample, view: FeatureView, counts: Counts, past: Past) -> tuple[str, ...]:
    """Return how a load differs from those before, and keep its profile for those to come if it is published.

    Raises:
        LoadRefusedError: it differs, and the view rejects that.
    """
    judged = judge(
        sample,
        rows=counts.written,
        read=counts.read,
        nulls={one.name: counts.nulls[one.name] for one in view.schema},
        history=past.history,
        gate=view.gate,
    )
    if judged.anomalies and view.gate.on_anomaly == "reject" and not past.accepted:
        raise LoadRefusedError(
            f'The load for feature view "{view.name}" is unlike those before: {"; ".join(judged.anomalies)}. '
            "Nothing was published.",
            reasons=judged.anomalies,
            hint="If the rows are right, load them again with accept_anomalies=True, or --accept-anomalies.",
        )
    if judged.anomalies and _is_to_hold(view, past):
        return judged.anomalies
    try:
        judged.profile.write(past.profile)
    except OSError as error:
        raise OfflineStoreError(
            f"The profile of a load cannot be kept in {past.profile}: {error}.",
            hint="Check the disk's space and rights; nothing was published.",
        ) from error
    return judged.anomalies


def _is_to_hold(view: FeatureView, past: Past | None) -> bool:
    return view.gate.on_anomaly == "quarantine" and past is not None and not past.accepted
