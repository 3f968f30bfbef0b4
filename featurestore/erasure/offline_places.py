"""The places of the offline store: tables, rows kept aside, training datasets, and what dead processes left."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import FeatureView
from featurestore.erasure.place import Erased, Task
from featurestore.erasure.scope import Columns
from featurestore.errors import OfflineStoreError
from featurestore.offline.datasets.content import ContentHash
from featurestore.offline.datasets.erasures import DatasetErasure, enter_erasure, read_erasures
from featurestore.offline.datasets.first_content import first_content_hash
from featurestore.offline.datasets.manifest import DATA, manifest_files
from featurestore.offline.erasure.erased_keys import ErasedKeys, Matches
from featurestore.offline.erasure.erasing import AT_WORK_SECONDS, TableErasure
from featurestore.offline.intake.checks import UNREADABLE
from featurestore.offline.places import offline_folder, spill_folder
from featurestore.offline.tables.rewriting import abandoned, columns_of, count_matches, erase_in_place
from featurestore.offline.tables.table import OfflineTable
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file
from featurestore.storage.places import listed, remove_tree


class OfflineTables:
    """The tables of every version of our views: what they hold, and all files of their past."""

    name = "offline tables"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        total = Erased()
        for name in task.scope.views:
            total += remove_partial((offline_folder(task.config) / name).glob(".*.parquet.*"), task)
            erasure = TableErasure(
                table=OfflineTable(offline_folder(task.config) / name),
                columns=task.keys.names,
                matches=task.scope.matches([task.keys.names]),
                registry=task.registry,
                author=task.who,
                request=task.request,
                project=task.config.project,
            )
            total += erasure.count() if task.dry_run else erasure.run()
        return total


class Quarantine:
    """Rows that loads have kept aside; their keys may be what could not be read."""

    name = "quarantine"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        total = Erased()
        for name, view in task.scope.views.items():
            folder = offline_folder(task.config) / "quarantine" / name
            for file in listed(folder, "*.parquet"):
                total += _erased_from(file, task.dry_run, *_kept_aside(file, view, task.keys))
            # A partial file is one of a load at work, or of one that died.
            total += remove_partial(folder.glob(".*"), task)
        return total


def _kept_aside(file: StoragePath, view: FeatureView, keys: ErasedKeys) -> tuple[list[str], Matches]:
    dtypes = [view.keys[name].to_arrow() for name in keys.names]
    there = columns_of(file)
    if not set(keys.names) <= set(there):
        return [], _none

    def matches(batch: pa.RecordBatch) -> pa.BooleanArray:
        found = keys.mask_as_written([batch.column(name) for name in keys.names], dtypes)
        if UNREADABLE not in batch.schema.names:
            return found
        # Where a key could not be read, the cells as they came are all there is.
        unread = [any(part is None for part in row) for row in zip(*_lists(batch, keys.names), strict=True)]
        cells = batch.column(UNREADABLE).to_pylist()
        said = [bad and cell is not None and keys.in_text(str(cell)) for bad, cell in zip(unread, cells, strict=True)]
        return pa.array([one or other for one, other in zip(found.to_pylist(), said, strict=True)], pa.bool_())

    return [*keys.names, *([UNREADABLE] if UNREADABLE in there else [])], matches


def _lists(batch: pa.RecordBatch, names: Sequence[str]) -> list[list[object]]:
    return [batch.column(name).to_pylist() for name in names]


class Datasets:
    """Training datasets: their rows and their entity rows. The manifest stays as it is; ``erasures.json`` says more."""

    name = "training datasets"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        total = Erased()
        for file in manifest_files(task.config):
            manifest = _manifest(file)
            if manifest.get("audit_head", {}).get("project", task.config.project) == task.config.project:
                total += _erased_from_dataset(file.parent, manifest, task)
        datasets = offline_folder(task.config) / "datasets"
        return total + remove_partial(datasets.glob("*/.*"), task)


def _manifest(file: StoragePath) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise OfflineStoreError(
            f"The manifest {file} cannot be read, so nobody knows whose rows lie beside it: {error}.",
            hint="Bring it back from a backup, or remove the dataset's folder; then erase again.",
        ) from error
    return found


def _erased_from_dataset(folder: StoragePath, manifest: Mapping[str, Any], task: Task) -> Erased:
    found: dict[StoragePath, tuple[int, list[Columns]]] = {}
    for file in listed(folder, "*.parquet"):
        places = task.scope.places_in(str(manifest["service"]), columns_of(file))
        rows = count_matches(file, _names(places), task.scope.matches(places)) if places else 0
        if rows:
            found[file] = (rows, places)
    if found and not task.dry_run:
        data = folder / DATA
        if data in found:
            _enter(folder, manifest, task, *found[data])
        for file, (_, places) in found.items():
            erase_in_place(file, task.scope.matches(places), keep_empty=True)
    return Erased(rows=sum(rows for rows, _ in found.values()), files=len(found))


def _enter(folder: StoragePath, manifest: Mapping[str, Any], task: Task, rows: int, places: list[Columns]) -> None:
    """Say what is about to be erased; of an erasure that died here before, it is said already."""
    digest = _rest_hash(folder / DATA, manifest, task.scope.matches(places))
    before = read_erasures(folder)
    if not before or (before[-1].content_hash, before[-1].request) != (digest, task.request):
        enter_erasure(folder, DatasetErasure(request=task.request, rows=rows, content_hash=digest))


def _rest_hash(file: StoragePath, manifest: Mapping[str, Any], matches: Matches) -> str:
    """Return the content hash of the rows that will be left, of the kind that the manifest has; "" if none will."""
    with parquet_file(file) as opened:
        schema = opened.schema_arrow
        kept = (batch.filter(pc.invert(matches(batch))) for batch in opened.iter_batches())
        if manifest.get("content_hash_version", 1) == 1:
            table = pa.Table.from_batches(kept, schema)
            return first_content_hash(table) if table.num_rows else ""
        digest = ContentHash(schema)
        for batch in kept:
            digest.update(batch)
        return digest.hexdigest() if digest.rows else ""


class Leftovers:
    """What DuckDB spilled to the disk for queries whose processes died."""

    name = "spilled files"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        return remove_partial((spill_folder(task.config)).rglob("*"), task)


def remove_partial(found: Iterable[StoragePath], task: Task) -> Erased:
    """Remove files, and folders, that their writers have left; those that are being written are counted as waiting."""
    total = Erased()
    for path in sorted(found):
        if abandoned(path):
            newest = 0.0
        else:
            newest = max((_written(one) for one in (path, *path.rglob("*"))), default=0.0)
        if time.time() - newest < AT_WORK_SECONDS:
            total += Erased(waiting=1)
            continue
        total += Erased(files=1)
        if task.dry_run:
            continue
        remove_tree(path)
    return total


def _written(path: StoragePath) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _erased_from(file: StoragePath, dry_run: bool, columns: list[str], matches: Matches) -> Erased:
    rows = count_matches(file, columns, matches) if columns else 0
    if rows and not dry_run:
        erase_in_place(file, matches)
    return Erased(rows=rows, files=int(rows > 0))


def _names(places: Sequence[Columns]) -> list[str]:
    return list(dict.fromkeys(name for columns in places for name in columns))


def _none(batch: pa.RecordBatch) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(False), batch.num_rows)
