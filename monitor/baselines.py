"""What a stream is compared with: a training dataset, or a period of serving, and how their rows are weighed."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.config import Config
from featurestore.definitions import BaselineSource, Field, FileSource
from featurestore.definitions.splits import PARTS
from featurestore.errors import MonitorError
from featurestore.offline.datasets.manifest import DATA, Recipe, file_of, found_at, parts_of
from featurestore.offline.datasets.splitting import SPLIT
from featurestore.offline.datasets.training import fields_of
from featurestore.offline.engine import identifier, literal
from featurestore.offline.places import spill_folder
from featurestore.profiles import Baseline, fit_baseline
from featurestore.registry import DatasetRecord, Registry
from featurestore.storage import StoragePath
from featurestore.storage.parquet import read_table
from featurestore.storage.places import local_file
from monitor.windows import ServingLog, Stream, Window, source_stream

#: Grows when the same rows would give another baseline.
_FORMAT = 1
_SQLITE = "sqlite:///"
_INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A baseline and where it comes from.

    Attributes:
        id: names the baseline, and no other one: ``delays_2013q1@1`` for the one that is stored with a dataset,
            ``delays_2013q1@1#5a0c...`` for one of its rows filtered or weighed, ``flight_delay@1
            2013-07-01T00:00:00Z/2013-08-01T00:00:00Z#77f1...`` for a period.
        dataset: ``delays_2013q1@1``; "" for a period.
        model: the model that was trained on it, ``flight_delay_ridge@1``, or "" where none is recorded.
        baseline: the profiles.
    """

    id: str
    dataset: str
    model: str
    baseline: Baseline


def find_reference(
    config: Config,
    registry: Registry,
    service: str,
    source: BaselineSource | None = None,
    *,
    stream: Stream | None = None,
    fields: Sequence[Field] = (),
    watermark: datetime | None = None,
) -> Reference | None:
    """Return what a stream is compared with; None where there is nothing yet.

    Without a source, that is the dataset of the newest model of the service version, else the newest dataset made for
    it. What has to be fitted is fitted once, and kept beside the monitor's database: profiles, and no rows.

    Args:
        config: says where datasets lie, and the monitor's database.
        registry: knows models, datasets and services.
        service: the service version; "" for a stream that is of none, whose source names a dataset or a period.
        source: which rows, if not those.
        stream: what a period is a part of; None for the serving log of the service version.
        fields: what to watch in a period; none for what the service version gives.
        watermark: up to where the stream is complete, less the lateness allowed; a period that ends later is nothing
            yet. None does not ask.

    Raises:
        MonitorError: a baseline's file or the rows cannot be read, or the filter cannot be applied.
        ObjectNotFoundError: there is no such dataset.
        DataError: no row is left to compare with, or a weight is none.
    """
    if source is not None and source.since is not None:
        return _of_period(config, registry, service, source, stream=stream, fields=fields, watermark=watermark)
    dataset, model = _dataset(registry, service, None if source is None else source.dataset)
    if dataset is None:
        return None
    if source is None or source.automatic:
        return Reference(id=dataset.id, dataset=dataset.id, model=model, baseline=_stored(config, dataset))
    return _of_rows(config, registry, dataset, model, source)


def kept_baseline(config: Config, registry: Registry, name: str) -> Baseline:
    """Return the baseline of a name that :attr:`Reference.id` gave; nothing is fitted for it.

    Raises:
        MonitorError: it is not kept any more, or cannot be read.
        ObjectNotFoundError: its dataset is gone.
    """
    dataset, fitted, key = name.partition("#")
    if not fitted:
        return _stored(config, registry.dataset(dataset))
    for file in baselines_folder(config).glob(f"{glob.escape(key)}*.parquet"):
        return _read(file, f"Baseline {name}", "The next window is compared with one that is fitted anew.")
    raise MonitorError(
        f"Baseline {name} is not kept any more.", hint="The next window is compared with one that is fitted anew."
    )


def model_behind(registry: Registry, service: str, source: BaselineSource | None) -> str:
    """Return the model whose training data a stream is compared with when nothing else was accepted; "" for none."""
    if source is not None and source.since is not None:
        return ""
    return _dataset(registry, service, None if source is None else source.dataset)[1]


def _dataset(registry: Registry, service: str, named: str | None) -> tuple[DatasetRecord | None, str]:
    """Return a dataset, and the newest model of the service version that was trained on it."""
    models = [one for one in registry.models(service) if one.service == service] if service else []
    newest = max(models, key=lambda one: one.created_at, default=None)
    if named is not None:
        dataset = registry.dataset(named)
        trained = [one for one in models if one.dataset == dataset.id]
        return dataset, max(trained, key=lambda one: one.created_at).id if trained else ""
    if newest is not None:
        return registry.dataset(newest.dataset), newest.id
    datasets = [one for one in registry.datasets() if one.manifest["service"] == service]
    return max(datasets, key=lambda one: one.created_at, default=None), ""


def _stored(config: Config, dataset: DatasetRecord) -> Baseline:
    return _read(
        found_at(dataset.manifest["baseline"], config),
        f"The baseline of dataset {dataset.id}",
        "It is written with the dataset; make the dataset again.",
    )


def _of_rows(
    config: Config, registry: Registry, dataset: DatasetRecord, model: str, source: BaselineSource
) -> Reference:
    """Return the baseline of the rows of a dataset that count, as they count."""
    manifest = dataset.manifest
    recipe = Recipe.of(manifest)
    columns = fields_of(registry.service(str(manifest["service"])).definition, recipe)
    key = _key({"rows": manifest["content_hash"], "columns": _told(columns), **_how(source)})
    found = _kept(config, key)
    if found is None:
        where = [f"({source.filter}\n)"] if source.filter else []
        if parts_of(manifest):
            where.append(f"{identifier(SPLIT)} = {literal(PARTS[0])}")
        with local_file(file_of(dataset, DATA, config), spill_folder(config)) as file:
            rows = FileSource(path=glob.escape(str(file)), timestamp_field=recipe.timestamp_field)
            with source_stream(rows, config, name=f"dataset {dataset.id}") as stream:
                found = _fitted(stream, stream.period(None, None), columns, " AND ".join(where), source.weight)
        _keep(config, key, found)
    return Reference(id=f"{dataset.id}#{key[:12]}", dataset=dataset.id, model=model, baseline=found)


def _of_period(
    config: Config,
    registry: Registry,
    service: str,
    source: BaselineSource,
    *,
    stream: Stream | None,
    fields: Sequence[Field],
    watermark: datetime | None,
) -> Reference | None:
    assert source.since is not None and source.until is not None  # noqa: S101, PT018 - a source has both, or none
    if stream is None:
        stream = ServingLog(config).stream(service)
    if not fields:
        outputs = registry.service(service).definition.outputs
        fields = [one for given in outputs.values() for one in given]
    columns = {one.name: one for one in fields}
    period = [one.isoformat().replace("+00:00", "Z") for one in (source.since, source.until)]
    key = _key({"stream": stream.name, "period": period, "columns": _told(columns), **_how(source)})
    found = _kept(config, key)
    if found is None:
        if watermark is not None and watermark < source.until:
            return None
        window = stream.period(source.since, source.until)
        if not window.rows:
            raise MonitorError(
                f"{stream.name} has no rows from {period[0]} to {period[1]}, which are to be its baseline.",
                hint="Name a period that has some: BaselineSource(since=..., until=...).",
            )
        found = _fitted(stream, window, columns, source.filter, source.weight)
        _keep(config, key, found)
    return Reference(id=f"{stream.name} {'/'.join(period)}#{key[:12]}", dataset="", model="", baseline=found)


def _fitted(stream: Stream, window: Window, columns: Mapping[str, Field], where: str, weight: str) -> Baseline:
    """Return the baseline of rows that may be more than memory holds: they are read some columns at a time."""
    column_of = {one.name: column for column, one in columns.items()}

    def opened(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        wanted = [column_of.get(name, name) for name in names if name != stream.time_column]
        with stream.read(window, wanted, where=where) as reader:
            for batch in reader:
                arrays = {name: batch.column(name) for name in batch.schema.names}
                arrays[stream.time_column] = _instants(batch.column(stream.time_column))
                given = {
                    name: column for name in names if (column := arrays.get(column_of.get(name, name))) is not None
                }
                yield pa.record_batch(given)

    return fit_baseline(opened, list(columns.values()), time_column=stream.time_column, weight=weight or None)


def _instants(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        return column.cast(_INSTANT, safe=False)
    return column.cast(pa.timestamp("us")).cast(pa.int64()).cast(_INSTANT)


def _how(source: BaselineSource) -> dict[str, Any]:
    return {"format": _FORMAT, "filter": source.filter.strip(), "weight": source.weight}


def _told(columns: Mapping[str, Field]) -> list[list[str]]:
    return [[column, one.name, str(one.dtype)] for column, one in columns.items()]


def _key(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def baselines_folder(config: Config) -> Path:
    """Return where baselines are kept that the monitor fitted: beside its database."""
    url = config.database_url(config.monitor.database)
    database = Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else config.path("data/monitor.db")
    return database.with_suffix("") / "baselines"


def _kept(config: Config, key: str) -> Baseline | None:
    file = baselines_folder(config) / f"{key}.parquet"
    if not file.exists():
        return None
    return _read(file, "A baseline that the monitor keeps", f"Remove it, and it is fitted again: {file}")


def _keep(config: Config, key: str, baseline: Baseline) -> None:
    folder = baselines_folder(config)
    part = folder / f".{key}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(baseline.to_arrow(), part, compression="zstd")
        part.replace(folder / f"{key}.parquet")
    except OSError as error:
        raise MonitorError(
            f"The baselines of the monitor cannot be written to {folder}: {error.strerror or error}.",
            hint="Check the disk's space and rights; the next run fits the baseline again.",
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _read(file: StoragePath, what: str, hint: str) -> Baseline:
    try:
        table = read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise MonitorError(f"{what} cannot be read: {error}.", hint=hint) from error
    return Baseline.from_arrow(table)
