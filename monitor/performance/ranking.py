"""The importance of a recorded model's features, from a dataset, kept with the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import MonitorError
from featurestore.store import FeatureStore
from monitor.performance.importance import Importances, feature_importance

_DAY_MICROSECONDS = 86_400_000_000


def model_importance(
    store: FeatureStore,
    model: str,
    predict: Callable[[Any], Any],
    *,
    dataset: str = "",
    part: str = "",
    metric: str = "",
    repeats: int = 5,
    seed: int = 0,
    confidence: float = 0.95,
    record: bool = False,
) -> tuple[str, Importances]:
    """Return a model's id and the importance of its service's features.

    Days of the dataset are blocks: rows of one day resemble each other, and intervals are as much wider.

    Args:
        store: where the model and the dataset are.
        model: ``churn@3``; without a version it is the newest.
        predict: takes a Polars frame with the dataset's columns but the label, gives a prediction for each row; see
            :func:`monitor.performance.importance.feature_importance`.
        dataset: ``buyers@1``; that of the model when empty.
        part: of a dataset that was split: ``test``; all rows when empty.
        metric: as of :func:`feature_importance`.
        repeats: shuffles of each feature.
        seed: of the shuffles.
        confidence: of each interval by itself.
        record: whether they are kept with the model, in place of those before: the monitor ranks features by them.

    Raises:
        ObjectNotFoundError: there is no such model or dataset.
        SchemaError: the dataset has no such part.
        MonitorError: the model declares no task, the dataset has no label, or ``predict`` gives something else.
    """
    known = store.registry.model(model)
    if not known.evaluation.task:
        raise MonitorError(
            f"Model {known.id} declares no task.",
            hint=f'store.update_model("{known.id}", evaluation=Evaluation(task="binary"))',
        )
    rows = store.get_training_dataset(dataset or known.dataset)
    label = rows.manifest.get("label")
    if not label:
        raise MonitorError(
            f"Dataset {rows.id} has no label.", hint='Make it with label=: create_training_dataset(..., label="...").'
        )
    table = (rows.split(part) if part else rows).to_arrow()
    table = table.filter(pc.is_valid(table.column(label)))
    service = store.registry.service(known.service).definition
    features = [one.name for fields in service.outputs.values() for one in fields]
    found = feature_importance(
        predict,
        table,
        target=label,
        evaluation=known.evaluation,
        features=features,
        metric=metric,
        repeats=repeats,
        seed=seed,
        confidence=confidence,
        blocks=_days(table, rows.manifest.get("timestamp_field") or EVENT_TIMESTAMP),
    )
    if record:
        store.update_model(known.id, feature_importances=found.values, importance_intervals=found.intervals)
    return known.id, found


def _days(table: pa.Table, column: str) -> NDArray[np.int64] | None:
    """Return the day of each row; None where there is none, or only one."""
    if column not in table.column_names or not pa.types.is_timestamp(table.column(column).type):
        return None
    instants = table.column(column)
    if instants.null_count:
        return None
    days: NDArray[np.int64] = instants.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() // _DAY_MICROSECONDS
    return days if len(np.unique(days)) > 1 else None
