"""A materialization: which rows it takes, and how they get online, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from datetime import datetime
from itertools import chain

from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import DataError, OnlineStoreError
from featurestore.materialize.encoding import RowEncoder
from featurestore.materialize.partitions import PartitionedRows
from featurestore.materialize.reading import OfflineTables
from featurestore.materialize.report import MaterializeReport, Mode
from featurestore.materialize.standing import Filled, Run, filled, oldest_kept
from featurestore.offline.spark.newest import Looked
from featurestore.offline.tables.moved import Moved
from featurestore.offline.tables.newest import Newest, Wanted
from featurestore.online.base import OnlineStore, Row, Written
from featurestore.online.keys import KeyLayout
from featurestore.types import microseconds

#: Called with rows that are done, and how many there are in all.
Progress = Callable[[int, int], object]
#: Gives rows that are served and in no table yet; while it is held, no others come.
Waiting = Callable[[], AbstractContextManager[Iterable[Row]]]


def _none_wait() -> AbstractContextManager[Iterable[Row]]:
    return nullcontext(())


def materialize(
    view: FeatureView,
    offline: OfflineTables,
    online: OnlineStore,
    *,
    now: datetime,
    full: bool = False,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Progress | None = None,
    waiting: Waiting | None = None,
    partitions: PartitionedRows | None = None,
) -> MaterializeReport:
    """Write the newest row of each key, with event time up to ``now``, into the online store.

    Only rows that were loaded since the last time are read, however old they are; all are where that would be wrong:
    the first time, after rows were taken out of the table, and where a longer TTL wants rows that were left out. A run
    that was interrupted is finished first. At most one chunk of it is done again.

    Args:
        view: what to materialize; a view that was never ingested gives a report of zeros.
        offline: where rows come from.
        online: where they go.
        now: the instant up to which rows are read, and against which the TTL is held.
        full: read all rows.
        start: read rows from this event time on instead, whenever they were loaded.
        end: and up to before this one.
        progress: called with the rows of each chunk.
        waiting: gives the pushed rows that are in no table yet: where rows take the place of those that are online,
            these are put among them, in the same transaction.
        partitions: writes rows where they are read, side by side; None reads and writes them here. Where rows take the
            place of those that are online, that is done here in any case: it is one transaction.

    Raises:
        ConfigError: executors cannot reach the online store.
        DataError: the range ends before it begins, or is given with ``full``.
        OfflineStoreError: the rows cannot be read.
        OnlineStoreError: they cannot be written, or another process has gone on with this run.
    """
    began = time.perf_counter()
    _check_range(view, start, end, full=full)
    version = offline.table_version(view)
    if version is None:
        return _together(view, [], began)
    table = offline.table_id(view)
    whole = Wanted(version=version, until=microseconds(now), oldest=oldest_kept(view, now))
    interval = None
    if start is not None or end is not None:
        until = whole.until if end is None else min(whole.until, microseconds(end) - 1)
        interval = replace(whole, until=until, first=None if start is None else microseconds(start))
    work = _Work(view, offline, online, progress, waiting or _none_wait, partitions)
    reports: list[MaterializeReport] = []
    left = work.interrupted(table, version, full=full)
    if left is not None:
        reports.append(work.carry_out(left, table, resumed=True))
    if interval is None:
        reports.append(work.carry_out(work.next_run(whole, table, full=full), table))
    elif left is None or replace(left.wanted, version=version, oldest=interval.oldest) != interval:
        reports.append(work.carry_out(Run(mode=Mode.range, wanted=interval), table))
    report = _together(view, reports, began)
    return replace(report, table_version=version, interval=None if interval is None else (start, end))


def _check_range(view: FeatureView, start: datetime | None, end: datetime | None, *, full: bool) -> None:
    if full and (start is not None or end is not None):
        raise DataError(
            f'Feature view "{view.name}" was to be materialized in full, and in a range of time.', hint="Choose one."
        )
    if start is not None and end is not None and end <= start:
        raise DataError(
            f'The range to materialize of feature view "{view.name}" ends at {end.isoformat()}, before it begins.',
            hint="Rows from the first instant on and before the last one are read.",
        )


class _Work:
    """One view between two stores."""

    def __init__(
        self,
        view: FeatureView,
        offline: OfflineTables,
        online: OnlineStore,
        progress: Progress | None,
        waiting: Waiting,
        partitions: PartitionedRows | None,
    ) -> None:
        self._view = view
        self._partitions = partitions
        self._name = storage_id(view)
        self._offline = offline
        self._online = online
        self._progress = progress
        self._waiting = waiting
        self._moved: Moved | None = None
        self._record: bytes | None = None
        self._filled: Filled | None = None
        self._read()

    def _read(self) -> None:
        self._standing = self._online.standing(self._name)
        self._record, self._filled = self._standing.progress, filled(self._standing, self._view)

    def interrupted(self, table: str, version: int, *, full: bool) -> Run | None:
        """Return the run that was interrupted, if it can be gone on with and need not give way to a full one."""
        run = None if self._filled is None or self._filled.table != table else self._filled.run
        if run is None or run.wanted.version > version or (full and run.mode is not Mode.full):
            return None
        taken = self._offline.rows_taken(self._view, run.wanted.version)
        return run if not taken and self._offline.has_files(self._view, run.wanted.version) else None

    def next_run(self, whole: Wanted, table: str, *, full: bool) -> Run:
        """Return the run that brings everything online that is not: by arrival if that is enough."""
        before, removed = self._filled, self._standing.expired
        version = None if before is None else before.version
        # A table that was made anew, or brought back from a backup, may not have rows that are online.
        other = before is not None and (before.table != table or (version or 0) > whole.version)
        # A key whose newest rows were taken back would keep them: no row that is left is newer. Before the first run
        # has ended, another one may have written some.
        if other or self._offline.rows_taken(self._view, version or 0):
            return self._without_what_was_taken(whole, None if other else before)
        if full or before is None or version is None or before.lacks(whole.oldest, self._standing):
            return Run(mode=Mode.full, wanted=whole, removed_before=removed)
        # Rows whose event times were in the future then are late by now.
        return Run(mode=Mode.incremental, wanted=replace(whole, since=version, seen_until=before.until))

    def _without_what_was_taken(self, whole: Wanted, before: Filled | None) -> Run:
        """Return the run that puts rows in the place of those online: of the keys concerned, if that is enough.

        What the last run had looked at is right for every other key; but not if it was interrupted, nor if it left out
        rows that are wanted by now.
        """
        enough = before is not None and before.run is None and not before.lacks(whole.oldest, self._standing)
        if before is not None and before.version is not None and enough:
            self._moved = self._offline.moved(self._view, before.version, whole.version)
            if self._moved is not None:
                # The record goes on to say up to when all rows were looked at: the next run looks for those after it.
                return Run(mode=Mode.restored, wanted=whole)
        return Run(mode=Mode.rebuild, wanted=whole)

    def carry_out(self, run: Run, table: str, *, resumed: bool = False) -> MaterializeReport:
        """Do a run, or the rest of it."""
        began = time.perf_counter()
        before = self._filled
        if before is None or before.table != table:
            before = Filled(table=table)
        if self._partitions is not None and run.mode not in (Mode.rebuild, Mode.restored):
            return self._by_partition(self._partitions, run, before, began)
        among = self._moved if run.mode is Mode.restored else None
        with self._offline.newest(self._view, run.wanted, among) as newest:
            if run.mode in (Mode.rebuild, Mode.restored):
                run = self._replace(run, newest, before)
            elif newest.read or before.version != run.wanted.version or before.run is not None:
                run = self._put(run, newest, before)
            return _report(self._view, began, run, newest, resumed=resumed)

    def _by_partition(self, partitions: PartitionedRows, run: Run, before: Filled, began: float) -> MaterializeReport:
        """Have the rows written where they are read, all of them anew, and note it once all are."""
        found = partitions(self._view, run.wanted)
        written, older, rejected = (found.told.get(name, 0) for name in ("written", "older", "rejected"))
        run = replace(run, done=found.newest, written=written, older=older, rejected=rejected)
        if found.read or before.version != run.wanted.version or before.run is not None:
            ended = before.after(run, found.expired).to_bytes()
            self._step([], lambda _: ended)
        if self._progress is not None:
            self._progress(found.newest, found.newest)
        return _report(self._view, began, run, found, resumed=False)

    def _put(self, run: Run, newest: Newest, before: Filled) -> Run:
        """Write the rows that are not done yet, each chunk with the record that says so."""
        encode = RowEncoder(self._view)
        if run.done >= newest.newest:  # not a row to write
            ended = before.after(run, newest.expired).to_bytes()
            self._step([], lambda _: ended)
        if run.done and self._progress is not None:
            self._progress(run.done, newest.newest)
        with closing(self._offline.chunks(self._view, newest, run.done)) as chunks:
            for rows, count in chunks:
                encoded = [row for row in encode(rows).rows if row is not None]
                run = self._next(run, encoded, count, newest, before)
                if self._progress is not None:
                    self._progress(count, newest.newest)
        return run

    def _next(self, run: Run, rows: list[Row], count: int, newest: Newest, before: Filled) -> Run:
        """Write one chunk, and return the run with it done."""
        done = replace(run, done=run.done + count, rejected=run.rejected + count - len(rows))
        written: list[Run] = []

        def noted(counts: Written) -> bytes:
            now = replace(done, written=run.written + counts.written, older=run.older + counts.older)
            written[:] = [now]
            ended = now.done == newest.newest
            return (before.after(now, newest.expired) if ended else replace(before, run=now)).to_bytes()

        self._step(rows, noted)
        return written[0]

    def _step(self, rows: list[Row], noted: Callable[[Written], bytes]) -> None:
        """Write rows and the record, unless another process has."""
        records: list[bytes] = []

        def noting(counts: Written) -> bytes:
            records[:] = [noted(counts)]
            return records[0]

        if self._online.put_step(self._name, rows, expected=self._record, progress=noting) is None:
            raise self._overtaken()
        self._record = records[0]
        self._filled = filled(self._standing._replace(progress=self._record), self._view)

    def _replace(self, run: Run, newest: Newest, before: Filled) -> Run:
        """Put the rows in the place of those that are online, of all keys or of some.

        Readers see the old rows or the new ones, whole, and those that wait to come into the table with either; and as
        no other writer is let in between reading and writing, no row is lost.
        """
        encode = RowEncoder(self._view)
        rejected = 0

        def encoded() -> Iterator[Row]:
            nonlocal rejected
            with closing(self._offline.chunks(self._view, newest)) as chunks:
                for rows, count in chunks:
                    kept = [row for row in encode(rows).rows if row is not None]
                    rejected += count - len(kept)
                    yield from kept
                    if self._progress is not None:
                        self._progress(count, newest.newest)

        noted = replace(run, wanted=replace(run.wanted, until=_seen_until(run, before)))
        record = before.after(noted, newest.expired).to_bytes()
        with self._waiting() as waiting:  # before the store's lock, as whoever pushes
            rows = chain(encoded(), waiting)
            if run.mode is Mode.rebuild:
                self._online.replace(self._name, rows, progress=record)
            else:
                keys = _keys(self._view, newest)
                done = self._online.replace_keys(self._name, keys, rows, expected=self._record, progress=record)
                if done is None:
                    raise self._overtaken()
        self._read()
        return replace(run, done=newest.newest, written=newest.newest - rejected, rejected=rejected)

    def _overtaken(self) -> OnlineStoreError:
        return OnlineStoreError(
            f'Another process has gone on with the materialization of feature view "{self._view.name}".',
            hint="It finishes what this one began, and says so.",
        )


def _seen_until(run: Run, before: Filled) -> int:
    """Return up to which event time a run has looked at the rows of every key."""
    if run.mode is Mode.restored and before.until is not None:
        return before.until
    return run.wanted.until


def _keys(view: FeatureView, newest: Newest) -> Iterator[bytes]:
    layout = KeyLayout(view.keys)
    for batch in newest.wanted_keys():
        yield from (key for key in layout.encode_batch(batch) if key is not None)


def _report(view: FeatureView, began: float, run: Run, newest: Newest | Looked, *, resumed: bool) -> MaterializeReport:
    return MaterializeReport(
        view=view.name,
        mode=run.mode,
        read=newest.read,
        written=run.written,
        older=newest.older + run.older,
        expired=newest.expired,
        rejected=newest.keyless + run.rejected,
        seconds=time.perf_counter() - began,
        resumed=resumed,
    )


def _together(view: FeatureView, reports: list[MaterializeReport], began: float) -> MaterializeReport:
    """Return one report of a run that was finished, and of the one after it."""
    counts = {
        name: sum(getattr(one, name) for one in reports) for name in ("read", "written", "older", "expired", "rejected")
    }
    return MaterializeReport(
        view=view.name,
        mode=reports[-1].mode if reports else Mode.incremental,
        seconds=time.perf_counter() - began,
        resumed=any(one.resumed for one in reports),
        **counts,
    )
