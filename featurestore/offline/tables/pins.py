"""Files that training datasets were read from: as long as a dataset is there, so are they."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from featurestore.config import Config
from featurestore.errors import OfflineStoreError
from featurestore.offline.datasets.manifest import found_at, manifest_files
from featurestore.offline.places import offline_folder
from featurestore.offline.tables.table import OfflineTable
from featurestore.registry import Registry
from featurestore.registry.erasures import present_names
from featurestore.storage import StoragePath


def pins(config: Config, registry: Registry, *, without: Collection[str] = ()) -> dict[str, dict[str, str]]:
    """Return the pinned files of each table, by storage id and name, each with a dataset that names it.

    Datasets of other projects in the same folder count too: they may be made of views of this one.

    Args:
        config: says where tables and datasets lie.
        registry: knows datasets, and files that an erasure wrote anew.
        without: datasets that do not count.

    Raises:
        OfflineStoreError: a manifest or a table's log cannot be read.
    """
    folder = offline_folder(config)
    found: dict[str, dict[str, str]] = {}
    for dataset, manifest in _manifests(config, registry, without):
        for view in manifest["views"].values():
            name, version = view["storage_id"], view["table_version"]
            if version is None:
                continue
            files = view["files"] if "files" in view else _of_version(folder / name, version)
            for file in {*files, *present_names(files, registry.rewritten_files(name))}:
                found.setdefault(name, {}).setdefault(file, dataset)
    return found


def _manifests(config: Config, registry: Registry, without: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    known: set[StoragePath] = set()
    for record in registry.datasets(removed=True):
        known.add(found_at(record.manifest["path"], config).parent)
        if record.removed_at is None and record.id not in without:
            yield record.id, record.manifest
    for file in manifest_files(config):
        if file.parent not in known:
            try:
                manifest = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise OfflineStoreError(
                    f"The manifest {file} cannot be read, so what it pins is not known: {error}.",
                    hint="Bring it back from a backup, or remove its folder.",
                ) from error
            yield f"{manifest['name']} in {file.parent}", manifest


def _of_version(table: StoragePath, version: int) -> list[str]:
    # Manifests of earlier releases name the table's version alone.
    return [one.name for one in OfflineTable(table).snapshot(version).files]
