"""Which files a store consists of: in the offline store, in the logs, and the keys that it made itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from featurestore.config import OWN_ERASURE_KEY, OWN_SIGNING_KEY, Config
from featurestore.moving.files import Captured, FileSet, capture, name_below
from featurestore.offline.datasets.manifest import MANIFEST
from featurestore.offline.places import offline_folder
from featurestore.offline.tables.delta_log import file_history
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import schema
from featurestore.serving.log import WATERMARKS
from featurestore.serving.log_files import counted
from featurestore.serving.worker_status import STATUS
from featurestore.storage import StoragePath

#: The parts that are files, in the order in which they are copied.
FILE_PARTS = ("keys", "tables", "quarantine", "profiles", "datasets", "log", "feedback", "messages")

#: Folders of the offline store that are no tables.
_BESIDE = ("quarantine", "profiles", "datasets")
_LOG = "_delta_log"
_LAST_CHECKPOINT = "_last_checkpoint"
_LOCK = ".lock"


def table_names(config: Config) -> list[str]:
    """Return the tables in the offline store's folder, of all projects that keep theirs there."""
    return _table_names(offline_folder(config))


def file_sets(
    config: Config, target: Config, connection: Connection, versions: dict[str, int], *, keys: bool
) -> Iterator[FileSet]:
    """Yield the files of a store as they are now, part by part.

    Args:
        config: the store's.
        target: the destination's.
        connection: a snapshot of the registry that is no newer than ``versions``.
        versions: of the tables.
        keys: whether the secrets that the store made itself belong to it.
    """
    here, there = offline_folder(config), offline_folder(target)
    if keys and config.root != target.root:
        names = (OWN_SIGNING_KEY, OWN_ERASURE_KEY)
        yield _set("keys", config.root, target.root, partial(_named, names=names))
    yield FileSet(
        part="tables",
        source=here,
        target=there,
        files=tuple(_captured_tables(here, connection, versions)),
        listed=_files_of_tables,
        note=f"{len(versions):,} tables" if len(versions) != 1 else "1 table",
    )
    for part in ("quarantine", "profiles"):
        yield _set(part, here, there, partial(_visible_below, part))
    yield _set("datasets", here, there, _files_of_datasets)
    pairs = {
        "log": (config.serving.log_path, target.serving.log_path, _log_files),
        "feedback": (config.serving.feedback_path, target.serving.feedback_path, _visible),
        "messages": (config.streaming.path, target.streaming.path, _visible),
    }
    for part, (one, other, listed) in pairs.items():
        source, destination = config.path(one), target.path(other)
        yield _set(part, source, destination, listed, content=_grows if part == "log" else _never)


def _set(part: str, source: StoragePath, target: StoragePath, listed: Any, content: Any = None) -> FileSet:
    noted = content or _never
    found = [capture(one, name_below(one, source), content=noted(one)) for one in listed(source)]
    return FileSet(
        part=part, source=source, target=target, files=tuple(one for one in found if one is not None), listed=listed
    )


def _never(path: StoragePath) -> bool:  # noqa: ARG001 - one of several such questions
    return False


def _grows(path: StoragePath) -> bool:
    return path.suffix != ".parquet"


def files_below(folder: StoragePath) -> list[StoragePath]:
    """Return the files below a folder, none of them hidden, locks, or in a hidden folder; by name."""
    found = []
    for path in folder.rglob("*"):
        name = name_below(path, folder)
        hidden = any(part.startswith(".") for part in name.split("/"))
        if not hidden and not name.endswith((_LOCK, "/lock")) and (not isinstance(path, Path) or path.is_file()):
            found.append((name, path))
    return [path for _, path in sorted(found, key=lambda one: one[0])]


def _visible(folder: StoragePath) -> Iterable[StoragePath]:
    return files_below(folder)


def _visible_below(part: str, folder: StoragePath) -> Iterable[StoragePath]:
    return files_below(folder / part)


def _named(folder: StoragePath, *, names: Iterable[str]) -> Iterable[StoragePath]:
    return [folder / name for name in names if (folder / name).exists()]


def _log_files(folder: StoragePath) -> Iterable[StoragePath]:
    """Return the rows of the serving log, the heads beside it, and how far each worker had come; not who works now."""
    found = [one for one in files_below(folder) if name_below(one, folder).split("/")[0] != STATUS]
    nested = [one for one in found if "/" in name_below(one, folder)]
    by_service: dict[str, list[str]] = {}
    for one in nested:
        by_service.setdefault(one.parent.name, []).append(str(one))
    count = {name for names in by_service.values() for name in counted(names)}
    nested = [one for one in nested if str(one) in count]
    return sorted(nested, key=lambda one: (one.parent.name == WATERMARKS, str(one)))


def _files_of_datasets(folder: StoragePath) -> Iterable[StoragePath]:
    found = files_below(folder / "datasets")
    # What is being written has its name already in object storage, and is no dataset before its manifest is there.
    whole = {str(one.parent) for one in found if one.name == MANIFEST}
    return sorted((one for one in found if str(one.parent) in whole), key=lambda one: (one.name == MANIFEST, str(one)))


def _table_names(folder: StoragePath) -> list[str]:
    names = {one.name for one in folder.glob("*") if not one.name.startswith(".")} - set(_BESIDE)
    return sorted(name for name in names if (folder / name / _LOG).exists())


def _files_of_tables(folder: StoragePath) -> Iterable[StoragePath]:
    for name in _table_names(folder):
        yield from files_below(folder / name)


def _captured_tables(folder: StoragePath, connection: Connection, versions: dict[str, int]) -> Iterator[Captured]:
    """Yield the files that the tables' versions so far consist of, and what an erasure put in the place of some.

    What belongs to no commit is of a load that runs, or of one that died.
    """
    pinned = _pinned(connection)
    for name, version in versions.items():
        table = OfflineTable(folder / name)
        named = set(file_history(table.path, version)) | {one.name for one in table.snapshot(version).files}
        named |= pinned.get(name, set()) | _rewritten(connection, name)
        there = files_below(table.path)
        log = [one for one in there if one.parent.name == _LOG]
        for path in (one for one in there if one.name in named):
            yield from _found(path, folder)
        for path in sorted(log, key=lambda one: (one.suffix != ".json", one.name)):
            if _number(path.name) <= version:
                yield from _found(path, folder)
        yield from _last_checkpoint(table.path / _LOG / _LAST_CHECKPOINT, folder, version)


def _found(path: StoragePath, folder: StoragePath) -> Iterator[Captured]:
    one = capture(path, name_below(path, folder))
    if one is not None:
        yield one


def _number(name: str) -> int:
    """Return the version that a file of Delta's log is of; one beyond all for what is of none."""
    digits = name.partition(".")[0]
    return int(digits) if digits.isdigit() else 1 << 62


def _last_checkpoint(path: StoragePath, folder: StoragePath, version: int) -> Iterator[Captured]:
    found = capture(path, name_below(path, folder), content=True)
    # Only a hint, which Delta does without; one that leads beyond what is copied would lead nowhere.
    if found is not None and found.content and json.loads(found.content)["version"] <= version:
        yield found


def _pinned(connection: Connection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for manifest in connection.execute(select(schema.datasets.c.manifest)).scalars():
        for view in json.loads(manifest)["views"].values():
            found.setdefault(view["storage_id"], set()).update(view.get("files", ()))
    return found


def _rewritten(connection: Connection, storage_id: str) -> set[str]:
    table = schema.rewritten_files
    rows = connection.execute(select(table.c.file, table.c.replaced_by).filter_by(storage_id=storage_id))
    return {name for row in rows for name in row if name is not None}
