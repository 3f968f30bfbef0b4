"""Rows into a table: those that a caller passes, and what is new in a source."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import DataError, LoadRefusedError
from featurestore.offline.erasure import suppression
from featurestore.offline.erasure.erasing import erase_since
from featurestore.offline.intake import ingest, load_profiles, spool
from featurestore.offline.intake.conform import sentence
from featurestore.offline.intake.frames import rows_of, to_reader
from featurestore.offline.intake.ingest import IngestReport, Outcome, Past
from featurestore.offline.intake.load_profiles import LoadProfile
from featurestore.offline.intake.rerun import Rerun
from featurestore.offline.intake.spool import Spool
from featurestore.offline.opened import Opened
from featurestore.offline.places import local_folder, spill_folder
from featurestore.offline.sources import reading
from featurestore.offline.sources.pieces import Piece
from featurestore.offline.tables.disk import low_disk
from featurestore.offline.tables.provenance import Provenance
from featurestore.offline.tables.sharing import check_ours
from featurestore.offline.tables.superseding import Superseding
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry.records import Load
from featurestore.storage import StoragePath

Progress = Callable[[int], None]


@contextmanager
def about(piece: Piece, pieces: Sequence[Piece], *, published: int = 0) -> Iterator[None]:
    """Let an error of the rows say of which part of a source they are, where it has several.

    Args:
        piece: the part.
        pieces: all of them.
        published: loads of the parts before it that are published by now.
    """
    try:
        yield
    except DataError as error:
        if len(pieces) > 1:
            before = f"; {published} load(s) of those before it are published, and stay" if published else ""
            error.hint = f"{error.hint} This is about {piece.name}{before}.".lstrip()
        raise


class Loading(Opened):
    """Ingest."""

    def ingest(
        self,
        view: FeatureView,
        frame: Any,
        *,
        who: str,
        load_id: str | None = None,
        reason: str = "",
        progress: Progress | None = None,
        accept_anomalies: bool = False,
    ) -> IngestReport:
        """Load rows of a frame or a file; see :func:`featurestore.offline.intake.ingest.load`.

        Args:
            view: the view.
            frame: rows as :func:`featurestore.offline.intake.frames.to_reader` takes them, or the path of a .parquet or
                .csv file, which is read as a FileSource of the view is.
            who: who loads.
            load_id: the same id twice is one load. When not given, that of a file tells of its bytes, so that the same
                file twice is one load too, and any other is made up.
            reason: why.
            progress: called with the rows of each batch.
            accept_anomalies: whether the rows are right even if they are unlike those of the loads before.

        Raises:
            DataError: the rows, the file or the load id cannot be taken.
            LoadRefusedError: a gate of the view refuses the load; nothing was published.
            OfflineStoreError: the disk or the table refuses.
        """
        started = time.monotonic()
        file = Path(frame) if load_id is None and isinstance(frame, (str, os.PathLike)) else None
        given = f"load-{uuid.uuid4()}" if load_id is None else ingest.check_load_id(load_id)
        with (
            nullcontext(lambda: given) if file is None else reading.file_load_id(file) as found,
            self._rows(view, frame) as reader,
        ):
            load_id = found()
            loaded, outcome = self._load(view, reader, load_id, who, reason, progress, accepted=accept_anomalies)
        again: tuple[str, ...] = ()
        if loaded is None and file is not None:
            again = (f"{file} is loaded already, as {load_id}; another load id writes its rows once more",)
        elif loaded is None:
            again = self._passed_over(view, load_id, rows_of(frame))
        return IngestReport(
            view=view.name,
            loads=() if loaded is None else (loaded,),
            skipped=1 if loaded is None else 0,
            notes=(*again, *outcome.notes, *self._low_disk()),
            seconds=time.monotonic() - started,
            anomalies=outcome.anomalies,
            warned=outcome.warned,
        )

    def _passed_over(self, view: FeatureView, load_id: str, rows: int | None) -> tuple[str, ...]:
        """Return what is to be said of rows whose load id was published before."""
        before = next((load.rows_read for load in self.loads(view) if load.load_id == load_id), None)
        if before is None or rows is None or rows == before:
            return (f'load "{load_id}" was published before; these rows were not compared with it',)
        other = (
            f'load "{load_id}" was published before with other rows, {before:,} of them: these {rows:,} are not written'
        )
        return (f"{other}; give them a load id of their own",)

    def spooled(self, rows: pa.RecordBatchReader, what: str) -> AbstractContextManager[Spool]:
        """Keep a stream on disk, so that several versions of a view can read it; see :func:`~.spool.spooled`.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        return spool.spooled(rows, spill_folder(self._config), sentence(what))

    @contextmanager
    def _rows(self, view: FeatureView, frame: Any) -> Iterator[pa.RecordBatchReader]:
        what = f'the rows for feature view "{view.name}"'
        if not isinstance(frame, (str, os.PathLike)):
            yield to_reader(frame, what)
            return
        with reading.file_piece(Path(frame), view).read(self._config, sentence(what)) as reader:
            yield reader

    def ingest_source(
        self,
        view: FeatureView,
        *,
        who: str,
        reason: str = "",
        progress: Progress | None = None,
        accept_anomalies: bool = False,
    ) -> IngestReport:
        """Load what is new in the view's source.

        That is files that were never loaded or that changed since, the versions of a Delta table since the last one,
        or what a database's query gives. A source that lies elsewhere than at its last load is said, in the commit and
        the audit too.

        Raises:
            DataError: the view has no source to read, or a part of it cannot be read.
            LoadRefusedError: a gate of the view refuses a part; those before it are published.
            ConfigError: ``featurestore.toml`` does not say how to reach it.
        """
        started = time.monotonic()
        loads: list[Load] = []
        notes: dict[str, None] = {}
        anomalies: list[str] = []
        warned: Counter[str] = Counter()
        skipped = 0
        table = self.table(view)
        last = table.newest_of_source()
        place = "" if last is None else last.location
        pieces = reading.pieces(view, self._config, last)
        for piece in pieces:
            if table.has_load(piece.load_id):
                skipped += 1
                continue
            moved_from = place if place != piece.location else ""
            again = self._again(view, table, piece)
            with (
                about(piece, pieces, published=len(loads)),
                piece.read(self._config, f'The source of feature view "{view.name}"') as reader,
            ):
                loaded, outcome = self._load(
                    view,
                    reader,
                    piece.load_id,
                    who,
                    reason,
                    progress,
                    source=piece,
                    moved_from=moved_from,
                    into=again or table,
                    accepted=accept_anomalies,
                )
            if loaded is None:
                skipped += 1
                continue
            loads.append(loaded)
            place = piece.location
            moved = [f"the source moved from {moved_from} to {place}"] if moved_from else []
            notes.update(dict.fromkeys([*moved, *piece.notes, *outcome.notes, *(() if again is None else again.notes)]))
            # Of a source that is one thing, the view says all.
            anomalies += (f"{piece.name}: {text}" if len(pieces) > 1 else text for text in outcome.anomalies)
            warned.update(outcome.warned)
        return IngestReport(
            view=view.name,
            loads=tuple(loads),
            skipped=skipped,
            notes=(*notes, *self._low_disk()),
            seconds=time.monotonic() - started,
            anomalies=tuple(anomalies),
            warned=warned,
        )

    def check_query(self, view: FeatureView) -> None:
        """Check the query that makes a view's rows against the columns of its sources, as far as these are here.

        Raises:
            DefinitionError: it cannot run over them.
            ConfigError: ``featurestore.toml`` puts a source where such a source cannot be.
        """
        reading.check_query(view, self._config)

    def _again(self, view: FeatureView, table: OfflineTable, piece: Piece) -> Rerun | None:
        """Return the table as a piece is to meet it that gives rows again; None for one that does not."""
        if piece.interval is None:
            return None
        what = f'Comparing the rows of feature view "{view.name}"'
        return Rerun(table, view, piece.interval, lambda: self._connect([view], what))

    def _load(
        self,
        view: FeatureView,
        reader: pa.RecordBatchReader,
        load_id: str,
        who: str,
        reason: str,
        progress: Progress | None,
        checked_as: FeatureView | None = None,
        source: Piece | None = None,
        moved_from: str = "",
        carried: Sequence[str] = (),
        provenance: Provenance | None = None,
        into: OfflineTable | None = None,
        accepted: bool | None = None,
        again_from: StoragePath | None = None,
        now: datetime | None = None,
    ) -> tuple[Load | None, Outcome]:
        """Publish a load; None in place of it when it was published before."""
        check_ours(view)
        known = self.loads(view)  # which refuses a table that is another project's
        table = into or Superseding(self.table(view).path)
        outcome = Outcome(published=False)
        if table.has_load(load_id):
            return None, outcome
        erased = suppression.suppressed(view, self._registry, self._config)
        quarantine = again_from or self._quarantine_file(view, load_id)
        try:
            outcome = ingest.load(
                reader,
                checked_as or view,
                table,
                quarantine,
                load_id=load_id,
                now=now or datetime.now(UTC),
                max_future_seconds=self._config.offline.max_future_seconds,
                author=who,
                reason=reason,
                progress=progress,
                source=source,
                moved_from=moved_from,
                carried=carried,
                provenance=provenance,
                project=self._config.project,
                suppressed=erased,
                past=None if accepted is None else self._past(view, load_id, known, accepted),
                again=again_from is not None,
            )
        except LoadRefusedError as error:
            self._registry.record_refusal(storage_id(view), load_id, error.reasons, reason=reason, who=who)
            raise
        if not outcome.published:
            return None, outcome
        erase_since(erased, view, self.table(view), quarantine, self._registry, self._config, author=who)
        return next(load for load in reversed(self.loads(view)) if load.load_id == load_id), outcome

    def _past(self, view: FeatureView, load_id: str, known: Sequence[Load], accepted: bool) -> Past | None:
        """Return what a load is compared with; None if the view does not want that."""
        if view.gate.on_anomaly == "ignore":
            return None
        history: list[LoadProfile] = []
        for load in reversed(known):
            # What was carried over or re-ingested has none.
            found = load_profiles.read(self._profile_file(view, load.load_id))
            if found is not None:
                history.append(found)
            if len(history) == view.gate.history:
                break
        return Past(history=history[::-1], profile=self._profile_file(view, load_id), accepted=accepted)

    def _low_disk(self) -> tuple[str, ...]:
        said = low_disk(local_folder(self._config), self._config.offline.low_disk_mb)
        return () if said is None else (said,)

    def _profile_file(self, view: FeatureView, load_id: str) -> StoragePath:
        return self._folder / "profiles" / storage_id(view) / f"{load_id}.json"

    def _quarantine_file(self, view: FeatureView, load_id: str) -> StoragePath:
        return self._folder / "quarantine" / storage_id(view) / f"{load_id}.parquet"
