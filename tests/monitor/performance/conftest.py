"""Samples and joined rows by hand, and a store with a model whose predictions and outcomes a test logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.serving.feedback import OUTCOMES, PREDICTIONS
from featurestore.types import Float64, Int64
from monitor.performance.sample import Sample

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def start() -> datetime:
    return START


@pytest.fixture
def binary() -> Callable[..., Sample]:
    """Make a binary sample of truth and scores."""

    def make(truth: Any, scores: Any, threshold: float = 0.5) -> Sample:
        true, likely = np.asarray(truth, np.float64), np.asarray(scores, np.float64)
        chosen = (likely >= threshold).astype(np.float64)
        return Sample(task="binary", truth=true, predicted=chosen, scores=likely, places=np.arange(len(true)))

    return make


@pytest.fixture
def numbers() -> Callable[..., Sample]:
    """Make a regression's sample of truth and predictions."""

    def make(truth: Any, predicted: Any) -> Sample:
        true, guess = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
        return Sample(task="regression", truth=true, predicted=guess, scores=None, places=np.arange(len(true)))

    return make


def _table(schema: pa.Schema, rows: Sequence[dict[str, Any]], defaults: dict[str, Any]) -> pa.Table:
    filled = [defaults | row for row in rows]
    return pa.table({one.name: pa.array([row.get(one.name) for row in filled], one.type) for one in schema})


@pytest.fixture
def predicted() -> Callable[..., pa.Table]:
    """Make a log of predictions from dicts; instants are hours since the start."""

    def make(*rows: dict[str, Any]) -> pa.Table:
        timed = [row | {"predicted_at": START + timedelta(hours=row.get("predicted_at", 0))} for row in rows]
        arrived = [row | {"logged_at": START + timedelta(seconds=n)} for n, row in enumerate(timed)]
        return _table(PREDICTIONS.stored, arrived, {"model": "churn@1", "request_id": "", "row": 0})

    return make


@pytest.fixture
def observed() -> Callable[..., pa.Table]:
    """Make a log of outcomes from dicts; instants are hours since the start."""

    def make(*rows: dict[str, Any]) -> pa.Table:
        timed = [row | {"observed_at": START + timedelta(hours=row.get("observed_at", 1))} for row in rows]
        arrived = [row | {"logged_at": START + timedelta(seconds=n)} for n, row in enumerate(timed)]
        return _table(OUTCOMES.stored, arrived, {"model": "churn", "metric": ""})

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with service ``scoring``, versions 1 and 2, and the record of a dataset ``buyers``."""
    user = Entity(name="user", dtypes=[Int64])
    view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    visits = FeatureView(name="visits", entities=[user], schema=[Field(name="count", dtype=Float64)])
    with FeatureStore.init(tmp_path / "shop", project="shop") as store:
        store.apply([FeatureService(name="scoring", features=[view])])
        store.apply([FeatureService(name="scoring", features=[view, visits])])
        store.registry.record_dataset("buyers", {"service": "scoring@2", "label": "bought"}, who="tests")
        yield store


@pytest.fixture
def churn(store: FeatureStore) -> FeatureStore:
    """The same store with ``churn@1`` of ``scoring@1`` and ``churn@2`` of ``scoring@2``: binary, a delay of a day."""
    for service in ("scoring@1", "scoring@2"):
        store.log_model(
            "churn", service=service, dataset="buyers", environment={}, task="binary", label_delay=timedelta(days=1)
        )
    return store


@pytest.fixture
def serve() -> Callable[..., None]:
    """Log predictions of some days, and their outcomes twelve hours later."""

    def log(
        store: FeatureStore,
        *,
        model: str = "churn@1",
        days: int = 3,
        rows: int = 100,
        first: int = 0,
        quality: float = 2.0,
        seed: int = 0,
        prefix: str = "p",
    ) -> None:
        random = np.random.default_rng([seed, first])
        count = days * rows
        logit = random.normal(size=count)
        truth = random.random(count) < 1 / (1 + np.exp(-quality * logit))
        scores = 1 / (1 + np.exp(-2.0 * logit))
        at = [START + timedelta(days=first) + timedelta(days=days) * (n / count) for n in range(count)]
        ids = [f"{prefix}-{first}-{n}" for n in range(count)]
        store.log_predictions(
            model,
            [
                {"prediction_id": one, "number": score, "predicted_at": when}
                for one, score, when in zip(ids, scores.tolist(), at, strict=True)
            ],
        )
        store.log_outcomes(
            model,
            [
                {"prediction_id": one, "number": float(true), "observed_at": when + timedelta(hours=12)}
                for one, true, when in zip(ids, truth.tolist(), at, strict=True)
            ],
        )

    return log
