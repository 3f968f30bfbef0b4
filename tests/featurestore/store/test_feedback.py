"""Predictions and outcomes from a user's hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, Model
from featurestore.errors import DataError, InvalidRequestError, ObjectNotFoundError
from featurestore.types import Int64

HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    user = Entity(name="user", dtypes=[Int64])
    view = FeatureView(name="counts", entities=[user], schema=[Field(name="x", dtype=Int64)])
    with FeatureStore.init(tmp_path / "shop", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        rows = [{"user": 1, "event_timestamp": datetime.now(UTC), "label": 1.0}]
        store.create_training_dataset("set", entity_df=rows, features="svc", label="label")
        for _ in range(2):
            store.registry.record_model(Model(name="churn", service="svc@1", dataset="set@1"), who="tests")
        yield store


def test_predictions_and_outcomes_are_logged_and_read(store: FeatureStore) -> None:
    now = datetime.now(UTC)
    made = [
        {"prediction_id": "a", "request_id": "r", "row": 0, "number": 0.75, "predicted_at": now - 3 * HOUR},
        {"prediction_id": "b", "label": "stays", "probabilities": {"stays": 0.9, "goes": 0.1}},
    ]
    assert vars(store.log_predictions("churn", made)) == {"model": "churn@2", "rows": 2}
    assert store.log_predictions("churn@1", [{"prediction_id": "c", "number": 1}]).model == "churn@1"
    assert vars(store.log_outcomes("churn", [{"prediction_id": "a", "number": 1.0}])) == {"model": "churn", "rows": 1}
    assert store.predictions("churn").column("prediction_id").to_pylist() == ["a", "b", "c"]
    assert store.predictions("churn", now - HOUR).column("prediction_id").to_pylist() == ["b", "c"]
    assert store.predictions("churn", end=now - HOUR).column("prediction_id").to_pylist() == ["a"]
    assert store.predictions("churn@1").column("prediction_id").to_pylist() == ["c"]
    assert store.outcomes("churn").column("number").to_pylist() == [1.0]
    assert store.status()["bytes"]["feedback"] > 0


def test_frames_are_taken_as_lists_are(store: FeatureStore) -> None:
    columns = {"prediction_id": ["a", "b"], "number": [1.0, 2.0]}
    for number, frame in enumerate((pl.DataFrame(columns), pd.DataFrame(columns))):
        assert store.log_outcomes("churn", frame).rows == 2
        assert len(list(store.config.path("data/feedback/outcomes/churn").glob("*.parquet"))) == number + 1
    assert store.log_outcomes("churn", []).rows == 0
    assert store.outcomes("churn").num_rows == 2


def test_a_model_that_nobody_recorded_is_named_with_those_that_there_are(store: FeatureStore) -> None:
    for call in (store.log_predictions, store.log_outcomes):
        with pytest.raises(ObjectNotFoundError, match='no model "chrun"') as caught:
            call("chrun", [{"prediction_id": "a", "number": 1.0}])
        assert caught.value.hint == 'Did you mean "churn"?'
    with pytest.raises(ObjectNotFoundError, match='no model "chrun"'):
        store.predictions("chrun")


def test_rows_that_are_none_are_refused_and_nothing_of_the_call_is_kept(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="not a table"):
        store.log_predictions("churn", {"prediction_id": "a"})
    with pytest.raises(InvalidRequestError, match=r"predictions\[1\].value is missing"):
        store.log_predictions("churn", [{"prediction_id": "a", "number": 1.0}, {"prediction_id": "b"}])
    assert store.predictions("churn").num_rows == 0


def test_gc_removes_old_files_when_the_log_has_a_retention(store: FeatureStore) -> None:
    store.log_predictions("churn", [{"prediction_id": "a", "number": 1.0}])
    store.log_outcomes("churn", [{"prediction_id": "a", "number": 1.0}])
    later = datetime.now(UTC) + timedelta(days=91)
    assert [one for one in store.gc(now=later).removed if one.kind == "feedback"] == []
    (store.config.root / "featurestore.toml").write_text('project = "shop"\n[retention]\nlog = "90 days"\n')
    with FeatureStore(store.config.root) as again:
        report = again.gc(now=later)
        assert {one.what for one in report.removed if one.kind == "feedback"} == {
            "outcomes of churn",
            "predictions of churn",
        }
        assert again.predictions("churn").num_rows == 0
