"""Rows into a table: read, checked, bad ones kept aside, good ones published at once."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.definitions import FeatureView
from featurestore.definitions.names import LOAD_ID, ROW_NUMBER
from featurestore.errors import DataError, OfflineStoreError
from featurestore.offline.checks import REASON, check, latest_event, table_schema
from featurestore.offline.pieces import Piece
from featurestore.offline.repeats import Repeats, values_so_far
from featurestore.offline.tables import LoadMetadata, OfflineTable, stored_schema
from featurestore.registry.records import Load


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What became of the rows that came in.

    Attributes:
        view: the view's name.
        loads: the loads published now, in order.
        skipped: loads that were published before: unchanged parts of the source, or a load id seen again.
        notes: casts made, columns ignored.
        seconds: how long it took.
        also: what became of the same rows in other live versions of the view, which have tables of their own.
    """

    view: str
    loads: tuple[Load, ...]
    skipped: int
    notes: tuple[str, ...]
    seconds: float
    also: tuple[IngestReport, ...] = ()

    @property
    def read(self) -> int:
        """Rows that came in: written + quarantined."""
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
    def reasons(self) -> dict[str, int]:
        """Quarantined rows by reason."""
        total: Counter[str] = Counter()
        for load in self.loads:
            total.update(load.reasons)
        return dict(total.most_common())

    def __str__(self) -> str:
        text = f"{self.view}: {self.written:,} rows written"
        if self.quarantined:
            text += f", {self.quarantined:,} quarantined ({', '.join(f'{n} {why}' for why, n in self.reasons.items())})"
        if self.skipped:
            text += f", {self.skipped} load(s) published before"
        return "; ".join([text, *(f"also {other}" for other in self.also)])


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
    quarantine: Path,
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
    project: str = "",
) -> tuple[bool, tuple[str, ...]]:
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
        carried: loads of the source that count as loaded with this one, because their rows are in it.
        project: whose load it is.

    Returns:
        Whether the load was published now (another writer may have published it meanwhile), and notes on casts made
        and columns ignored.

    Raises:
        SchemaError: a column is missing or of another type; nothing is published.
        TimestampError: a timestamp names no zone; nothing is published.
        DataError: rows are bad and the view rejects such loads, or a feature has more nulls than it may; nothing is
            published.
        OfflineStoreError: the disk refuses; nothing is published.
    """
    reasons: Counter[str] = Counter()
    notes: dict[str, None] = {}
    counts = Counter(read=0, written=0)
    nulls: Counter[str] = Counter()
    latest = latest_event(now, max_future_seconds)
    schema = stored_schema(table_schema(view))
    # No rows are no excuse for a wrong schema; but an empty list has none.
    if reader.schema.names:
        notes.update(dict.fromkeys(check(pa.RecordBatch.from_pylist([], reader.schema), view, latest=latest).notes))

    def checked(bad: _Quarantine, repeats: Repeats | None) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            parts = check(batch, view, latest=latest, repeats=repeats)
            notes.update(dict.fromkeys(parts.notes))
            reasons.update(parts.reasons)
            nulls.update(parts.nulls)
            bad.write(parts.bad)
            numbers = pa.array(range(counts["written"], counts["written"] + parts.good.num_rows), pa.int64())
            ids = pa.repeat(pa.scalar(load_id), parts.good.num_rows)
            counts["read"] += batch.num_rows
            counts["written"] += parts.good.num_rows
            yield parts.good.append_column(LOAD_ID, ids).append_column(ROW_NUMBER, numbers)
            if progress is not None:
                progress(batch.num_rows)

    with values_so_far(view, table) as repeats:
        # Whoever held the table may have published this very load, and then all its rows would repeat.
        if repeats is not None and table.has_load(load_id):
            return False, ()
        with _Quarantine(quarantine) as bad:
            staged = table.stage(checked(bad, repeats), schema)
            refusal = _refusal(view, reasons, nulls, counts["read"])
            if refusal is not None:
                if staged is not None:
                    staged.path.unlink(missing_ok=True)
                raise refusal
            bad.keep()
        if not counts["read"]:
            notes["0 rows"] = None
        published = table.publish(
            staged,
            schema,
            LoadMetadata(
                load_id=load_id,
                rows_read=counts["read"],
                rows_written=counts["written"],
                rows_quarantined=sum(reasons.values()),
                reasons=dict(reasons),
                author=author,
                reason=reason,
                location="" if source is None else source.location,
                moved_from=moved_from,
                watermark=None if source is None else source.watermark(),
                carried=carried,
                project=project,
            ),
        )
    return published, tuple(notes)


def _refusal(view: FeatureView, reasons: Counter[str], nulls: Counter[str], rows: int) -> DataError | None:
    """Return why a load is refused as a whole; None if it is not."""
    what = f'The load for feature view "{view.name}" has'
    empty = [
        (one, nulls[one.name] / rows)
        for one in view.schema
        if rows and one.max_null_rate is not None and nulls[one.name] / rows > one.max_null_rate
    ]
    if empty:
        listed = ", ".join(
            f"{nulls[one.name]:,} of {rows:,} rows ({share:.3%}) where {one.name} is null, over {one.max_null_rate:.3%}"
            for one, share in empty
        )
        return DataError(
            f"{what} {listed}; nothing was published.", hint="Find out why they are missing, or raise max_null_rate."
        )
    rejected = sum(reasons.values())
    if rejected and view.on_bad_rows == "reject":
        listed = ", ".join(f"{count} where {why}" for why, count in reasons.most_common(5))
        return DataError(
            f"{what} {rejected:,} bad rows ({listed}); nothing was published.",
            hint='Mend the rows, or set on_bad_rows="quarantine" to publish the others.',
        )
    return None


class _Quarantine:
    """A Parquet file of bad rows that appears under its name only when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}")
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):  # what is thrown away need not be whole
                self._writer.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def write(self, bad: pa.RecordBatch) -> None:
        if bad.num_rows == 0:
            return
        try:
            if self._writer is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = pq.ParquetWriter(self._partial, bad.schema, compression="zstd")
            self._writer.write_batch(bad)
        except OSError as error:
            raise self._refused(error) from error

    def keep(self) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            self._writer = None

    def _refused(self, error: OSError) -> OfflineStoreError:
        return OfflineStoreError(f"Bad rows cannot be kept aside in {self._path}: {error}.")


def read_quarantine(files: list[Path]) -> pa.Table | None:
    """Return the rows of quarantine files with their reasons, or None when there are none."""
    tables = [pq.read_table(file) for file in files if file.exists()]
    # Those of CSV files have a column more, for cells that could not be read.
    return pa.concat_tables(tables, promote_options="default") if tables else None


__all__ = ["REASON", "IngestReport", "load", "read_quarantine"]
