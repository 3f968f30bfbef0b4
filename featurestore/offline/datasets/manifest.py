"""What a training dataset's manifest says: all that is needed to make it again, and to prove that it is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from featurestore import formats
from featurestore.config import Config
from featurestore.definitions import FeatureService, SharedFeatureView, content_hash, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.definitions.splits import PARTS, Split, split_from_spec
from featurestore.errors import OfflineStoreError
from featurestore.offline.places import offline_folder, stored_at
from featurestore.offline.tables.table import Snapshot
from featurestore.registry.records import DatasetRecord, Registered
from featurestore.storage import StoragePath
from featurestore.storage.places import listed

#: Of the manifests that are written. Format 1 names no files, has no split, and its hashes are of the first kind.
MANIFEST_FORMAT = 2

#: The files of a dataset's folder.
DATA, ENTITIES, BASELINE, LOADS, MANIFEST = (
    "data.parquet",
    "entities.parquet",
    "baseline.parquet",
    "loads.parquet",
    "manifest.json",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a user chooses of a training dataset, beside its service and its entity rows.

    Attributes:
        label: the column of the entity rows that a model is to predict; None if there is none.
        timestamp_field: their column of instants.
        as_of: rows ingested later than this instant are hidden; None hides none.
        known_at: ``"row"`` hides from each entity row what was not yet available at its instant.
        full_feature_names: whether features are named ``<view>__<feature>``.
        split: how the rows are parted; None if they are not.
        hyperparameters: of the model that is to be trained, as JSON values; they are kept and not looked at.
    """

    label: str | None = None
    timestamp_field: str = EVENT_TIMESTAMP
    as_of: datetime | None = None
    known_at: str | None = None
    full_feature_names: bool = False
    split: Split | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; :meth:`of` reads them back."""
        return {
            "label": self.label,
            "timestamp_field": self.timestamp_field,
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
            "known_at": self.known_at,
            "full_feature_names": self.full_feature_names,
            "split": None if self.split is None else self.split.spec(),
            "hyperparameters": dict(self.hyperparameters),
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Recipe:
        """Return the recipe that a manifest, of any format, tells."""
        as_of, split = manifest.get("as_of"), manifest.get("split")
        return cls(
            label=manifest["label"],
            timestamp_field=manifest["timestamp_field"],
            as_of=None if as_of is None else datetime.fromisoformat(as_of),
            known_at=manifest.get("known_at"),
            full_feature_names=manifest.get("full_feature_names", False),
            split=None if split is None else split_from_spec(split),
            hyperparameters=manifest.get("hyperparameters", {}),
        )


def definitions_of(
    service: Registered[FeatureService], read: Mapping[str, Snapshot | None], recipe: Recipe
) -> dict[str, Any]:
    """Return what a manifest says of the definitions, and of the files that were read for them.

    Args:
        service: the version that was joined.
        read: by view, the version of its table and the files; None for a view that was never ingested.
        recipe: how they were read.
    """
    how = {key: value for key, value in recipe.to_json().items() if key in ("as_of", "known_at")}
    views = {}
    for view in service.definition.views:
        snapshot = read[view.name]
        views[view.name] = {
            "version": service.pins.get(view.reference),
            "hash": content_hash(view.owned if isinstance(view, SharedFeatureView) else view),
            "storage_id": storage_id(view),
            "table_version": None if snapshot is None else snapshot.version,
            "files": [] if snapshot is None else [one.name for one in snapshot.files],
            **how,
            **({"project": view.project} if isinstance(view, SharedFeatureView) else {}),
        }
    return {
        "service": service.id,
        "service_hash": service.content_hash,
        "views": views,
        "on_demand_views": {
            view.name: {"version": service.pins.get(view.name), "hash": content_hash(view)}
            for view in service.definition.on_demand_views
        },
    }


def datasets_folder(config: Config) -> StoragePath:
    """Return the folder of all training datasets."""
    return offline_folder(config) / "datasets"


def manifest_files(config: Config) -> list[StoragePath]:
    """Return the manifest of each dataset's folder, of all datasets that lie on this disk."""
    return listed(datasets_folder(config), f"*/*/{MANIFEST}")


def shown(path: StoragePath, config: Config) -> str:
    """Return a path as a manifest names it: relative to the feature store's folder where it lies inside."""
    return str(path.relative_to(config.root)) if path.is_relative_to(config.root) else str(path)


def found_at(text: str, config: Config) -> StoragePath:
    """Return where a file lies, or lay, that a manifest names.

    A manifest never changes, as the audit log vouches for it, and a store may move. But a dataset's folder is named by
    what is in it: where one of its name lies below the present ``[offline] path``, that one is meant.
    """
    here = datasets_folder(config)
    for part in text.split("/")[-3:]:  # dataset, content, file
        here = here / part
    if shown(here, config) != text and not here.with_name(MANIFEST).exists():
        return stored_at(text, config)
    return here


def file_of(record: DatasetRecord, name: str, config: Config) -> StoragePath:
    """Return where one of a dataset's files lies, or lay."""
    return found_at(record.manifest["path"], config).with_name(name)


def format_of(record: DatasetRecord) -> int:
    """Return the format of a dataset's manifest.

    Raises:
        OfflineStoreError: a later release wrote it.
    """
    found = int(record.manifest["format"])
    if found > MANIFEST_FORMAT:
        what, release = f"The manifest of dataset {record.id}", record.manifest.get("release", "")
        raise formats.newer(what, found, MANIFEST_FORMAT, error=OfflineStoreError, release=release)
    return found


def parts_of(manifest: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of a dataset's parts, in the order of time; none if it was not split."""
    return tuple(part for part in PARTS if part in (manifest.get("rows_per_part") or ()))
