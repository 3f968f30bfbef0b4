"""Which training data a service version is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.config import Config
from featurestore.errors import MonitorError
from featurestore.profiles import Baseline
from featurestore.registry import DatasetRecord, Registry


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A baseline and where it comes from.

    Attributes:
        dataset: ``delays_2013q1@1``.
        model: the model that was trained on it, ``flight_delay_ridge@1``, or "" where none is recorded.
        baseline: the profiles.
    """

    dataset: str
    model: str
    baseline: Baseline


def find_reference(config: Config, registry: Registry, service: str) -> Reference | None:
    """Return the dataset of the newest model of a service version, else the newest dataset made for it.

    Args:
        config: says where datasets lie.
        registry: knows models and datasets.
        service: the service version.

    Raises:
        MonitorError: the baseline's file cannot be read.
    """
    models = [one for one in registry.models(service) if one.service == service]
    if models:
        newest = max(models, key=lambda one: one.created_at)
        return _read(config, registry.dataset(newest.dataset), newest.id)
    datasets = [one for one in registry.datasets() if one.manifest["service"] == service]
    return _read(config, max(datasets, key=lambda one: one.created_at), "") if datasets else None


def _read(config: Config, dataset: DatasetRecord, model: str) -> Reference:
    file = config.path(dataset.manifest["baseline"])
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise MonitorError(
            f"The baseline of dataset {dataset.id} cannot be read: {error}.",
            hint="It is written with the dataset; make the dataset again.",
        ) from error
    return Reference(dataset=dataset.id, model=model, baseline=Baseline.from_arrow(table))
