"""The offline store: ingest, reads for materialization, and features at an instant."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from featurestore.config import Config
from featurestore.definitions import FeatureService, FeatureView, SharedFeatureView, heritage, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.offline import carry_over, engine, ingest, join, reading
from featurestore.offline.conform import sentence
from featurestore.offline.frames import to_reader, to_table
from featurestore.offline.historical import EntityRows, HistoricalFeatures, check_entity_rows, features_at
from featurestore.offline.ingest import IngestReport
from featurestore.offline.pieces import Piece
from featurestore.offline.sharing import check_here, check_ours, check_whose
from featurestore.offline.tables import OfflineTable
from featurestore.offline.training import check_dataset, write_dataset
from featurestore.registry import Registry, signing_key
from featurestore.registry.records import DatasetRecord, Load, Registered
from featurestore.types import microseconds

Progress = Callable[[int], None]


class OfflineStore:
    """Tables of feature rows, one for each storage id, below ``offline.path``."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._folder = config.path(config.offline.path)

    def table(self, view: FeatureView) -> OfflineTable:
        """Return the view's table.

        Raises:
            OfflineStoreError: another project has loaded it, and it is not here.
        """
        table = OfflineTable(self._folder / storage_id(view))
        check_here(view, table, self._registry)
        return table

    def table_version(self, view: FeatureView) -> int | None:
        """Return the version of the view's table, or None when it was never ingested."""
        return self.table(view).version()

    # Ingest

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

    def loads(self, view: FeatureView) -> list[Load]:
        """Return the view's loads in commit order, entering those that a killed writer left out of the ledger.

        The ledger of another project's view is that project's, and only read.

        Raises:
            OfflineStoreError: another project keeps a view that is defined alike in the same folder.
        """
        table, name = self.table(view), storage_id(view)
        if isinstance(view, SharedFeatureView):
            return self._registry.owner(view).loads(name)
        known = self._registry.loads(name)
        if not table.exists():
            return known
        for version, said in table.loads_since(known[-1].table_version if known else None):
            check_whose(view, said.project, self._config.project)
            self._registry.record_load(
                load_id=said.load_id,
                storage_id=name,
                table_version=version,
                rows_read=said.rows_read,
                rows_written=said.rows_written,
                rows_quarantined=said.rows_quarantined,
                reasons=said.reasons,
                author=said.author,
                moved=(said.moved_from, said.location) if said.moved_from else None,
            )
        return self._registry.loads(name)

    # A new version's history

    def missing_loads(self, old: FeatureView, new: FeatureView) -> list[Load]:
        """Return the loads of the older version's table that the newer one's does not have, in their order.

        These are the loads published after the newer one's last, as from then on only the older one was fed; and those
        before its first, if it took over nothing yet of what it may. But not what the older one took over from the
        newer, nor a piece of the source that the newer one has read itself.
        """
        if storage_id(old) == storage_id(new):
            return []
        lacking = carry_over.lacking(self.loads(old), self.loads(new), old, new)
        there = self.table(new).having([load.load_id for load in lacking])
        return [load for load in lacking if load.load_id not in there]

    def carry_over(self, old: FeatureView, new: FeatureView, *, who: str) -> IngestReport | None:
        """Bring the rows of an older version that a newer one lacks into its table, as one load.

        Args:
            old: the version that has the rows.
            new: the version that takes the fields which mean the same in both; the others are null in these rows.
            who: who loads.

        Returns:
            What became of the rows; None if there are none, or none that mean the same.

        Raises:
            OfflineStoreError: a table cannot be read, or the disk refuses.
        """
        started = time.monotonic()
        inherited = heritage(old, new)
        missing = self.missing_loads(old, new)
        if inherited.obstacle or not sum(load.rows_written for load in missing):
            return None
        files = self.table(old).files()
        query = carry_over.rows_to_carry(old, new, inherited, files, [load.order for load in missing])
        said = {one.load_id: one.carried for _, one in self.table(old).loads_since(None)}
        load_id = carry_over.load_id(old, missing[-1].order)
        with self._connect([old], f'Carrying over the rows of feature view "{old.name}"') as connection:
            loaded, notes = self._load(
                new,
                connection.sql(query).to_arrow_reader(engine.BATCH_ROWS),
                load_id,
                who,
                f"the rows of {storage_id(old)}",
                None,
                checked_as=carry_over.carrying_view(new, inherited),
                carried=carry_over.read_already(missing, inherited, said),
            )
        return IngestReport(
            view=new.name,
            loads=() if loaded is None else (loaded,),
            skipped=1 if loaded is None else 0,
            notes=notes,
            seconds=time.monotonic() - started,
        )

    # Reads for materialization

    def newest_rows(self, view: FeatureView, *, until: datetime) -> pa.RecordBatchReader:
        """Return of each key the newest row with event time up to ``until``.

        Columns: keys, features, event_timestamp, created_timestamp, row_number, load_order.
        """
        return self._stream(view, lambda files: join.newest_per_key(view, files, microseconds(until)))

    def rows_by_event_time(self, view: FeatureView, *, after: datetime | None) -> pa.RecordBatchReader:
        """Return all rows with event time after ``after``, oldest first; columns as :meth:`newest_rows`."""
        after_us = None if after is None else microseconds(after)
        return self._stream(view, lambda files: join.by_event_time(view, files, after_us))

    def _stream(self, view: FeatureView, query: Callable[[list[str]], str]) -> pa.RecordBatchReader:
        files = self.table(view).files() if self.table(view).exists() else []
        if not files:
            return pa.RecordBatchReader.from_batches(join.row_schema(view), [])

        def batches() -> Iterator[pa.RecordBatch]:
            with self._connect([view], f'Reading the rows of feature view "{view.name}"') as connection:
                try:
                    yield from connection.sql(query(files)).to_arrow_reader(engine.BATCH_ROWS)
                except (duckdb.Error, OSError) as error:  # OSError is how DuckDB's errors come out of a stream
                    raise join.unreadable(view, error) from error

        schema = join.row_schema(view)
        ordered = (batch.select(schema.names).cast(schema) for batch in batches())
        return pa.RecordBatchReader.from_batches(schema, ordered)

    # Features at an instant

    def historical_features(
        self,
        service: Registered[FeatureService],
        entity_df: Any,
        *,
        timestamp_field: str = EVENT_TIMESTAMP,
        with_status: bool = False,
    ) -> HistoricalFeatures:
        """Return the service's features for each entity row at its instant.

        Raises:
            SchemaError: a key or request field is missing or of another type.
            TimestampError: instants name no time zone.
        """
        given = to_table(entity_df, f'the entity rows for "{service.name}"')
        rows = check_entity_rows(given, service.definition, timestamp_field, with_status=with_status)
        features, _ = self._features(service, rows, with_status)
        return features

    def create_dataset(
        self,
        name: str,
        service: Registered[FeatureService],
        entity_df: Any,
        *,
        label: str | None,
        timestamp_field: str = EVENT_TIMESTAMP,
        who: str,
    ) -> tuple[DatasetRecord, HistoricalFeatures]:
        """Join, write and record a training dataset; see :func:`featurestore.offline.training.write_dataset`.

        Raises:
            SchemaError: as :meth:`historical_features`; or the label is none, or there are no rows.
            TimestampError: instants name no time zone.
            OfflineStoreError: a table cannot be read, or the disk refuses.
        """
        given = to_table(entity_df, f'the entity rows of dataset "{name}"')
        rows = check_entity_rows(given, service.definition, timestamp_field, with_status=False)
        check_dataset(name, rows, label, service.definition)
        features, versions = self._features(service, rows, with_status=False)
        manifest = write_dataset(
            name,
            features,
            service,
            config=self._config,
            entity_rows=rows,
            timestamp_field=timestamp_field,
            label=label,
            table_versions=versions,
            audit_head=self._registry.head(signing_key(self._config)),
        )
        return self._registry.record_dataset(name, manifest, who=who), features

    def _features(
        self, service: Registered[FeatureService], rows: EntityRows, with_status: bool
    ) -> tuple[HistoricalFeatures, Mapping[str, int | None]]:
        definition = service.definition
        # Versions first, then the files of just these versions: what the manifest says is what was read.
        versions = {view.name: self.table_version(view) for view in definition.views}
        files = {
            view.name: [] if versions[view.name] is None else self.table(view).files(versions[view.name])
            for view in definition.views
        }
        with self._connect(list(definition.views), f'The point-in-time join of "{service.id}"') as connection:
            features = features_at(connection, definition, rows, files, label=service.id, with_status=with_status)
        return features, versions

    @contextmanager
    def _connect(self, views: list[FeatureView], what: str) -> Iterator[duckdb.DuckDBPyConnection]:
        loads = [load for view in views for load in self.loads(view)]
        ledger = pa.table(
            {
                "storage_id": pa.array([load.storage_id for load in loads], pa.string()),
                "load_id": pa.array([load.load_id for load in loads], pa.string()),
                "load_order": pa.array([load.order for load in loads], pa.int64()),
            }
        )
        with engine.connect(self._config.offline, self._folder / ".spill", what) as connection:
            connection.register(join.LOADS, ledger)
            yield connection
