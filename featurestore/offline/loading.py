"""Rows into a table: those that a caller passes, and what is new in a source."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureView, storage_id
from featurestore.offline import ingest, reading
from featurestore.offline.conform import sentence
from featurestore.offline.frames import to_reader
from featurestore.offline.ingest import IngestReport
from featurestore.offline.opened import Opened
from featurestore.offline.pieces import Piece
from featurestore.offline.sharing import check_ours
from featurestore.registry.records import Load

Progress = Callable[[int], None]


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
    ) -> IngestReport:
        """Load rows of a frame or a file; see :func:`featurestore.offline.ingest.load`.

        Args:
            view: the view.
            frame: rows as :func:`featurestore.offline.frames.to_reader` takes them, or the path of a .parquet or .csv
                file, which is read as a FileSource of the view is.
            who: who loads.
            load_id: the same id twice is one load; made up when not given.
            reason: why.
            progress: called with the rows of each batch.

        Raises:
            DataError: the rows, the file or the load id cannot be taken.
            OfflineStoreError: the disk or the table refuses.
        """
        started = time.monotonic()
        load_id = f"load-{uuid.uuid4()}" if load_id is None else ingest.check_load_id(load_id)
        with self._rows(view, frame, load_id) as reader:
            loaded, notes = self._load(view, reader, load_id, who, reason, progress)
        return IngestReport(
            view=view.name,
            loads=() if loaded is None else (loaded,),
            skipped=1 if loaded is None else 0,
            notes=notes,
            seconds=time.monotonic() - started,
        )

    @contextmanager
    def _rows(self, view: FeatureView, frame: Any, load_id: str) -> Iterator[pa.RecordBatchReader]:
        what = f'the rows for feature view "{view.name}"'
        if not isinstance(frame, (str, os.PathLike)):
            yield to_reader(frame, what)
            return
        with reading.file_piece(Path(frame), view, load_id).read(self._config, sentence(what)) as reader:
            yield reader

    def ingest_source(
        self, view: FeatureView, *, who: str, reason: str = "", progress: Progress | None = None
    ) -> IngestReport:
        """Load what is new in the view's source.

        That is files that were never loaded or that changed since, the versions of a Delta table since the last one,
        or what a database's query gives. A source that lies elsewhere than at its last load is said, in the commit and
        the audit too.

        Raises:
            DataError: the view has no source to read, or a part of it cannot be read.
            ConfigError: ``featurestore.toml`` does not say how to reach it.
        """
        started = time.monotonic()
        loads: list[Load] = []
        notes: dict[str, None] = {}
        skipped = 0
        table = self.table(view)
        last = table.newest_of_source()
        place = "" if last is None else last.location
        for piece in reading.pieces(view, self._config, last):
            if table.has_load(piece.load_id):
                skipped += 1
                continue
            moved_from = place if place != piece.location else ""
            with piece.read(self._config, f'The source of feature view "{view.name}"') as reader:
                loaded, said = self._load(
                    view, reader, piece.load_id, who, reason, progress, source=piece, moved_from=moved_from
                )
            if loaded is None:
                skipped += 1
                continue
            loads.append(loaded)
            place = piece.location
            moved = [f"the source moved from {moved_from} to {place}"] if moved_from else []
            notes.update(dict.fromkeys([*moved, *piece.notes, *said]))
        return IngestReport(
            view=view.name,
            loads=tuple(loads),
            skipped=skipped,
            notes=tuple(notes),
            seconds=time.monotonic() - started,
        )

    def quarantine(self, view: FeatureView) -> pa.Table | None:
        """Return the rows kept aside by the view's loads, with the column ``reason``; None when there are none."""
        loads = self.loads(view)
        return ingest.read_quarantine([self._quarantine_file(view, load.load_id) for load in loads])

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
    ) -> tuple[Load | None, tuple[str, ...]]:
        """Publish a load; None in place of it when it was published before."""
        check_ours(view)
        self.loads(view)  # which refuses a table that is another project's
        table = self.table(view)
        published = False
        notes: tuple[str, ...] = ()
        if not table.has_load(load_id):
            published, notes = ingest.load(
                reader,
                checked_as or view,
                table,
                self._quarantine_file(view, load_id),
                load_id=load_id,
                now=datetime.now(UTC),
                max_future_seconds=self._config.offline.max_future_seconds,
                author=who,
                reason=reason,
                progress=progress,
                source=source,
                moved_from=moved_from,
                carried=carried,
                project=self._config.project,
            )
        loads = self.loads(view)
        return next(load for load in reversed(loads) if load.load_id == load_id) if published else None, notes

    def _quarantine_file(self, view: FeatureView, load_id: str) -> Path:
        return self._folder / "quarantine" / storage_id(view) / f"{load_id}.parquet"
