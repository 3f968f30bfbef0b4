"""Training datasets: named, immutable, with a manifest that says how to make them again."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.config import Config
from featurestore.definitions import FeatureService, SharedFeatureView, storage_id
from featurestore.definitions.names import EVENT_TIMESTAMP, check_name
from featurestore.errors import OfflineStoreError, SchemaError, closest
from featurestore.offline.content import content_hash
from featurestore.offline.entity_rows import EntityRows
from featurestore.offline.environment import environment, git_commit
from featurestore.offline.historical import HistoricalFeatures
from featurestore.profiles import fit_baseline
from featurestore.registry.heads import Head
from featurestore.registry.records import DatasetRecord, Registered

if TYPE_CHECKING:
    import pandas as pd

MANIFEST_FORMAT = 1
_MANIFEST = "manifest.json"


def check_dataset(name: str, rows: EntityRows, label: str | None, service: FeatureService) -> None:
    """Check what can be checked before the join.

    Raises:
        DefinitionError: the name cannot name a dataset.
        SchemaError: there are no rows; or the label is not a column of them, is null in each, or is also an input.
    """
    check_name(name, "a dataset")
    if rows.given.num_rows == 0:
        raise SchemaError(f'Dataset "{name}" has no rows.', hint="The entity rows are empty; check their filter.")
    if label is None:
        return
    if label not in rows.given.column_names:
        raise SchemaError(
            f'The entity rows of dataset "{name}" have no label "{label}".',
            hint=closest(str(label), rows.given.column_names),
        )
    if label in (*service.keys, *(one.name for one in service.request)):
        raise SchemaError(
            f'The label "{label}" of dataset "{name}" is an input of "{service.name}".',
            hint="Name the column that the model is to predict.",
        )
    if rows.given.column(label).null_count == rows.given.num_rows:
        raise SchemaError(
            f'The label "{label}" of dataset "{name}" is null in every row.', hint="Check where the labels come from."
        )


def write_dataset(
    name: str,
    features: HistoricalFeatures,
    service: Registered[FeatureService],
    *,
    config: Config,
    entity_rows: EntityRows,
    timestamp_field: str,
    label: str | None,
    table_versions: Mapping[str, int | None],
    audit_head: Head,
) -> dict[str, Any]:
    """Write a dataset, its monitoring baseline and its manifest; return the manifest.

    Args:
        name: the dataset's name.
        features: the joined rows.
        service: the version that was joined.
        config: says where datasets lie.
        entity_rows: the entity rows; their hash stands in the manifest, their instants make the baseline's blocks.
        timestamp_field: the column of the entity rows that held the instants.
        label: the column to be predicted, if there is one.
        table_versions: the Delta version of each view's table that was read.
        audit_head: the audit log's, signed; whoever rewrites the log must rewrite this dataset's folder too.

    Raises:
        OfflineStoreError: the disk refuses.
    """
    table = features.to_arrow()
    instants = entity_rows.typed.column(EVENT_TIMESTAMP)
    digest = content_hash(table)
    outputs = [one for fields in service.definition.outputs.values() for one in fields]
    profiled = table.select([one.name for one in outputs]).append_column(EVENT_TIMESTAMP, instants)
    baseline = fit_baseline(profiled, outputs).to_arrow()
    # Named by all that is in it: the same again finds it there, and nothing is ever written over.
    identity = hashlib.sha256(f"{digest} {content_hash(baseline)}".encode()).hexdigest()
    folder = _datasets(config) / name / identity[:16]
    manifest: dict[str, Any] = {
        "format": MANIFEST_FORMAT,
        "name": name,
        "created_at": datetime.now(UTC).isoformat(),
        "service": service.id,
        "service_hash": service.content_hash,
        "views": {
            view.name: {
                "version": service.pins.get(view.reference),
                "storage_id": storage_id(view),
                "table_version": table_versions[view.name],
                **({"project": view.project} if isinstance(view, SharedFeatureView) else {}),
            }
            for view in service.definition.views
        },
        "on_demand_views": {
            view.name: {"version": service.pins.get(view.name)} for view in service.definition.on_demand_views
        },
        "features": [one.name for one in outputs],
        "label": label,
        "timestamp_field": timestamp_field,
        "columns": {name: str(table.schema.field(name).type) for name in table.column_names},
        "rows": table.num_rows,
        "content_hash": digest,
        "entity_rows_hash": content_hash(entity_rows.given),
        "first_instant": _iso(instants, "min"),
        "last_instant": _iso(instants, "max"),
        "path": _shown(folder / "data.parquet", config),
        "baseline": _shown(folder / "baseline.parquet", config),
        "git_commit": git_commit(config.root),
        "environment": environment(),
        "notes": list(features.notes),
        "audit_head": audit_head.to_json(),
    }
    try:
        _write(folder, table, baseline, manifest)
    except OSError as error:
        raise OfflineStoreError(f'Dataset "{name}" cannot be written to {folder}: {error}') from error
    return manifest


def manifest_files(config: Config) -> list[Path]:
    """Return the manifest of each dataset's folder, of all datasets that lie on this disk."""
    return sorted(_datasets(config).glob(f"*/*/{_MANIFEST}"))


def _datasets(config: Config) -> Path:
    return config.path(config.offline.path) / "datasets"


def _write(folder: Path, table: pa.Table, baseline: pa.Table, manifest: dict[str, Any]) -> None:
    """Write the files into a folder that appears under its name only when it is complete."""
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        pq.write_table(table, partial / "data.parquet", compression="zstd")
        pq.write_table(baseline, partial / "baseline.parquet", compression="zstd")
        (partial / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # else another process wrote the same dataset at the same moment
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _shown(path: Path, config: Config) -> str:
    return str(path.relative_to(config.root)) if path.is_relative_to(config.root) else str(path)


def _iso(instants: pa.ChunkedArray, which: str) -> str:
    found: datetime = pc.min_max(instants)[which].as_py()
    return found.isoformat()


class TrainingDataset:
    """A training dataset: its record, and its rows.

    Attributes:
        record: name, version and manifest.
        features: the rows; ``.to_arrow()``, ``.to_polars()``, ``.to_pandas()``.
    """

    def __init__(self, record: DatasetRecord, features: HistoricalFeatures) -> None:
        self.record = record
        self.features = features

    @property
    def id(self) -> str:
        """``delays_2013q1@1``."""
        return self.record.id

    @property
    def manifest(self) -> Mapping[str, Any]:
        """How it was made: definition and table versions, row count, content hash, commit, packages."""
        return self.record.manifest

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table."""
        return self.features.to_arrow()

    def to_polars(self) -> pl.DataFrame:
        """Return a Polars frame."""
        return self.features.to_polars()

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame; pandas must be installed."""
        return self.features.to_pandas()
