"""Training datasets: named, immutable, with a manifest that says how to make them again."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.config import Config
from featurestore.definitions import FeatureService, Field
from featurestore.definitions.names import EVENT_TIMESTAMP, check_name
from featurestore.definitions.splits import PARTS
from featurestore.errors import OfflineStoreError, SchemaError, closest
from featurestore.offline.datasets.baselines import baseline_of
from featurestore.offline.datasets.content import HASH_VERSION, ContentHash, content_hash
from featurestore.offline.datasets.environment import environment, git_commit
from featurestore.offline.datasets.manifest import (
    BASELINE,
    DATA,
    ENTITIES,
    LOADS,
    MANIFEST,
    MANIFEST_FORMAT,
    Recipe,
    datasets_folder,
    definitions_of,
    shown,
)
from featurestore.offline.datasets.splitting import SPLIT, assigned, counts, fixed
from featurestore.offline.join.entity_rows import EntityRows, feature_columns
from featurestore.offline.join.historical import HistoricalFeatures
from featurestore.offline.places import spill_folder
from featurestore.offline.tables.table import Snapshot
from featurestore.registry.heads import Head
from featurestore.registry.records import Registered
from featurestore.storage import StoragePath
from featurestore.storage.places import copy_file

_ROW_GROUP_ROWS = 131_072


def check_dataset(name: str, rows: EntityRows, recipe: Recipe, service: FeatureService) -> None:
    """Check what can be checked before the join.

    Raises:
        DefinitionError: the name cannot name a dataset.
        SchemaError: there are no rows; a column has the name that the split's is to have; or the label is not a column
            of them, is null in each, or is also an input.
    """
    check_name(name, "a dataset")
    if rows.given.num_rows == 0:
        raise SchemaError(f'Dataset "{name}" has no rows.', hint="The entity rows are empty; check their filter.")
    if SPLIT in rows.given.column_names:
        raise SchemaError(
            f'The entity rows of dataset "{name}" have a column "{SPLIT}", which says the part of each row.',
            hint="Rename or drop it; split= makes it.",
        )
    label = recipe.label
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


def split_rows(rows: EntityRows, recipe: Recipe, service: FeatureService) -> tuple[Recipe, pa.Array | None]:
    """Return the recipe with a split that needs no other rows, and the part of each row; None if there is no split.

    Raises:
        SchemaError: the split cannot be made, or leaves no rows to train on.
    """
    if recipe.split is None:
        return recipe, None
    split = fixed(recipe.split, rows)
    parts = assigned(split, rows, list(service.keys))
    if not counts(parts, split)[PARTS[0]]:
        raise SchemaError("The split leaves no rows to train on.", hint="Give another seed, other shares or instants.")
    return replace(recipe, split=split), parts


def write_dataset(
    name: str,
    features: HistoricalFeatures,
    service: Registered[FeatureService],
    recipe: Recipe,
    *,
    config: Config,
    entity_rows: EntityRows,
    parts: pa.Array | None,
    read: Mapping[str, Snapshot | None],
    ledger: pa.Table,
    audit_head: Head,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write a dataset, its monitoring baseline and its manifest; return the manifest.

    Rows go to the disk as they are joined. The folder is named by all that is in it, so that the same again finds it
    there and nothing is ever written over; and it appears under its name by one rename, when it is complete.

    Args:
        name: the dataset's name.
        features: the joined rows.
        service: the version that was joined.
        recipe: how; its split is one that needs no other rows.
        config: says where datasets lie.
        entity_rows: the entity rows; they are kept, and their instants make the baseline's blocks.
        parts: the part of each row; None if there is no split. The baseline is that of the rows to train on.
        read: by view, the snapshot that was read.
        ledger: the loads of these tables and their order, which breaks ties.
        audit_head: the audit log's, signed; whoever rewrites the log must rewrite this dataset's folder too.
        progress: called with the rows of each group that is written.

    Raises:
        SchemaError: a column of the entity rows is of a type that Parquet does not have.
        OfflineStoreError: the disk refuses.
    """
    instants = entity_rows.typed.column(EVENT_TIMESTAMP)
    with _folder(name, config) as (partial, publish):
        _write_entities(entity_rows.given, partial / ENTITIES, name)
        pq.write_table(ledger, partial / LOADS, compression="zstd")
        rows, schema = hashed(counted(in_parts(features.to_batches(), parts), progress), partial / DATA)
        rows_per_part = None if recipe.split is None or parts is None else counts(parts, recipe.split)
        kept = None if parts is None else pc.equal(parts, PARTS[0])
        fields = fields_of(service.definition, recipe)
        baseline = baseline_of(partial / DATA, fields, instants, kept).to_arrow()
        pq.write_table(baseline, partial / BASELINE, compression="zstd")
        digests = [rows.hexdigest(), *map(content_hash, (baseline, entity_rows.given, ledger))]
        identity = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]
        folder = datasets_folder(config) / name / identity
        manifest = {
            "format": MANIFEST_FORMAT,
            "name": name,
            "created_at": datetime.now(UTC).isoformat(),
            **definitions_of(service, read, recipe),
            **recipe.to_json(),
            "features": list(fields),
            "columns": {one.name: str(one.type) for one in schema},
            "rows": rows.rows,
            "rows_per_part": rows_per_part,
            "content_hash": digests[0],
            "content_hash_version": HASH_VERSION,
            "column_hashes": rows.columns(),
            "entity_rows_hash": digests[2],
            "first_instant": pc.min(instants).as_py().isoformat(),
            "last_instant": pc.max(instants).as_py().isoformat(),
            "path": shown(folder / DATA, config),
            "baseline": shown(folder / BASELINE, config),
            "entities": shown(folder / ENTITIES, config),
            "git_commit": git_commit(config.root),
            "environment": environment(),
            "notes": [
                *features.notes,
                *_empty(rows_per_part or {}),
            ],
            "audit_head": audit_head.to_json(),
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        publish(folder)
    return manifest


def _empty(rows_per_part: Mapping[str, int]) -> list[str]:
    return [f'part "{part}" of the split has no rows' for part, rows in rows_per_part.items() if not rows]


def fields_of(service: FeatureService, recipe: Recipe) -> dict[str, Field]:
    """Return the features that a service gives, by the column that they are in."""
    columns = feature_columns(service, full=recipe.full_feature_names)
    return {columns[owner, one.name]: one for owner, fields in service.outputs.items() for one in fields}


def in_parts(batches: Iterable[pa.RecordBatch], parts: pa.Array | None) -> Iterator[pa.Table]:
    """Yield rows with the part of each as their last column, in tables of the size of a row group."""
    held: list[pa.RecordBatch] = []
    start = count = 0
    for batch in batches:
        if parts is not None:
            batch = batch.append_column(SPLIT, parts.slice(start, batch.num_rows))
        start += batch.num_rows
        held.append(batch)
        count += batch.num_rows
        if count >= _ROW_GROUP_ROWS:
            yield pa.Table.from_batches(held)
            held, count = [], 0
    if held:
        yield pa.Table.from_batches(held)


def counted(tables: Iterable[pa.Table], progress: Callable[[int], None] | None) -> Iterator[pa.Table]:
    """Yield tables, and say of each how many rows it has once it was dealt with."""
    for table in tables:
        yield table
        if progress is not None:
            progress(table.num_rows)


def hashed(tables: Iterable[pa.Table], file: Path | None) -> tuple[ContentHash, pa.Schema]:
    """Return the hash of rows that come, and their columns; write them to a Parquet file, too, if one is named.

    Raises:
        OfflineStoreError: there are none.
    """
    digest: ContentHash | None = None
    schema = pa.schema([])
    writer: pq.ParquetWriter | None = None
    try:
        for table in tables:
            if digest is None:
                schema, digest = table.schema, ContentHash(table.schema)
                writer = None if file is None else pq.ParquetWriter(file, schema, compression="zstd")
            digest.update(table)
            if writer is not None:
                writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
    finally:
        if writer is not None:
            writer.close()
    if digest is None:
        raise OfflineStoreError("No rows came out of the join.", hint="It gives one for each entity row; report this.")
    return digest, schema


def _write_entities(given: pa.Table, file: Path, name: str) -> None:
    try:
        pq.write_table(given, file, compression="zstd", row_group_size=_ROW_GROUP_ROWS)
    except pa.ArrowNotImplementedError as error:
        raise SchemaError(
            f'The entity rows of dataset "{name}" have a column that no Parquet file can hold: {error}.',
            hint="Drop it, or give it a plain type.",
        ) from error


@contextmanager
def _folder(name: str, config: Config) -> Iterator[tuple[Path, Any]]:
    """Yield a folder that nobody sees, and a function that gives it its name, unless one of that name is there.

    Where datasets lie in object storage it is one of this machine, as the name is known when all is written; the
    manifest is uploaded last, and without it nothing there is a dataset.
    """
    parent = datasets_folder(config) / name
    partial = (parent if isinstance(parent, Path) else spill_folder(config)) / f".{uuid.uuid4().hex}.partial"

    def publish(folder: StoragePath) -> None:
        if not isinstance(folder, Path):
            if not (folder / MANIFEST).exists():
                for file in sorted(partial.iterdir(), key=lambda one: one.name == MANIFEST):
                    copy_file(file, folder / file.name)
            return
        try:
            if not folder.exists():
                partial.rename(folder)
        except OSError:
            if not folder.exists():  # else another process wrote the same dataset at the same moment
                raise

    try:
        partial.mkdir(parents=True)
        yield partial, publish
    except OSError as error:
        raise OfflineStoreError(
            f'Dataset "{name}" cannot be written to {parent}: {error}.',
            hint="Check the disk's space and rights; nothing was recorded.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # it holds versions
            parent.rmdir()
