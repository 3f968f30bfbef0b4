"""The files that a training dataset's manifest names, as they are now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import OfflineStoreError
from featurestore.offline.tables.snapshots import DataFile, Snapshot
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry
from featurestore.registry.erasures import present_name
from featurestore.storage import StoragePath
from featurestore.storage.parquet import read_table


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What a dataset was read from.

    Attributes:
        tables: by view, the files; None for a view that was never ingested.
        gone: what is missing, each as a sentence without its stop.
        notes: what erasures took out of these files since.
    """

    tables: Mapping[str, Snapshot | None]
    gone: tuple[str, ...]
    notes: tuple[str, ...]


def pinned(manifest: Mapping[str, Any], folder: StoragePath, registry: Registry) -> Pinned:
    """Return the files that a manifest names; of those that an erasure wrote anew, the new ones.

    Args:
        manifest: of a dataset, of any format.
        folder: of all tables.
        registry: knows which files were written anew.
    """
    tables: dict[str, Snapshot | None] = {}
    gone: list[str] = []
    erased: Counter[str] = Counter()
    for view, about in manifest["views"].items():
        version = about["table_version"]
        if version is None:
            tables[view] = None
            continue
        table, what = folder / about["storage_id"], f'table {about["storage_id"]} of feature view "{view}"'
        try:
            names = about["files"] if "files" in about else _of_version(table, version)
        except OfflineStoreError as error:
            gone.append(f"version {version} of {what} cannot be read: {error.message.rstrip('.')}")
            continue
        rewritten = registry.rewritten_files(about["storage_id"])
        files: list[DataFile] = []
        missing: list[str] = []
        for name in names:
            present, steps = present_name(name, rewritten)
            for one in steps:
                erased[one.request] += one.rows_erased
            if present is not None:
                try:
                    files.append(_data_file(table / present))
                except (OSError, pa.ArrowException):
                    missing.append(present)
        if missing:
            gone.append(f"{_count(missing, names)} of {what} {'is' if len(missing) == 1 else 'are'} gone or damaged")
        tables[view] = Snapshot(version=version, files=tuple(sorted(files, key=lambda one: one.name)))
    notes = [
        f"request {request} erased {rows:,} rows of the tables that it was made of" for request, rows in erased.items()
    ]
    return Pinned(tables=tables, gone=tuple(gone), notes=tuple(notes))


def _of_version(table: StoragePath, version: int) -> list[str]:
    return [one.name for one in OfflineTable(table).snapshot(version).files]


def _data_file(path: StoragePath) -> DataFile:
    events = read_table(path, columns=[EVENT_TIMESTAMP]).column(EVENT_TIMESTAMP)
    ends = pc.min_max(events.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    return DataFile(
        place=path,
        rows=len(events),
        size=path.stat().st_size,
        first=ends["min"].as_py() or 0,
        last=ends["max"].as_py() or 0,
    )


def _count(missing: Sequence[str], names: Sequence[str]) -> str:
    if len(missing) == 1:
        return f"file {missing[0]}"
    return f"{len(missing):,} of {len(names):,} files (the first is {missing[0]})"
