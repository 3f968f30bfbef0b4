"""A client that is answered in this process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, Model
from featurestore.errors import InvalidRequestError, ObjectNotFoundError
from featurestore.store import clients
from featurestore.types import Float64, Int64

USER = Entity(name="user", dtypes=[Int64])
VIEW = FeatureView(name="counts", entities=[USER], schema=[Field(name="x", dtype=Float64)])
SERVICE = FeatureService(name="svc", features=[VIEW])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop", project="shop") as store:
        store.apply([SERVICE])
        yield store


def row(x: float) -> dict[str, object]:
    return {"user": 1, "x": x, "event_timestamp": datetime.now(UTC)}


def test_what_it_pushes_is_served_at_once_and_kept(store: FeatureStore) -> None:
    client = store.client()
    pushed = client.push("counts", [row(7)])
    assert (pushed.view, pushed.accepted, dict(pushed.rejected)) == ("counts@1", 1, {})
    assert client.get_online_features("svc", [{"user": 1}]).to_dict() == {"x": [7.0]}
    store.flush_pushes()
    asked = [{"user": 1, "event_timestamp": datetime.now(UTC)}]
    assert store.get_historical_features(asked, "svc").to_polars()["x"].to_list() == [7.0]


def test_a_whole_number_that_no_double_is_cannot_be_a_float(store: FeatureStore) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"has 9007199254740993 in row 0, which no Float64 is exactly"
    ) as caught:
        store.client().push("counts", [row(2**53 + 1)])
    assert "doubles" in caught.value.hint


def test_it_logs_what_a_model_predicted_and_what_came_of_it(store: FeatureStore) -> None:
    store.create_training_dataset(
        "set", entity_df=[{"user": 1, "event_timestamp": datetime.now(UTC), "y": 1.0}], features="svc", label="y"
    )
    store.registry.record_model(Model(name="churn", service="svc@1", dataset="set@1"), who="tests")
    client = store.client()
    client.log_predictions("churn", [{"prediction_id": "a", "number": 0.5}])
    client.log_outcomes("churn", [{"prediction_id": "a", "number": 1.0}])
    assert store.predictions("churn").column("number").to_pylist() == [0.5]
    assert store.outcomes("churn").column("number").to_pylist() == [1.0]
    with pytest.raises(ObjectNotFoundError, match="chrn"):
        client.log_outcomes("chrn", [{"prediction_id": "a", "number": 1.0}])


def test_it_sees_what_is_applied_after_it_was_made(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_FRESH_SECONDS", 0.0)
    client = store.client()
    assert client.get_online_features("svc", [{"user": 1}]).service == "svc@1"
    wider = FeatureView(name="counts", entities=[USER], schema=[*VIEW.schema, Field(name="y", dtype=Int64)])
    store.apply([FeatureService(name="svc", features=[wider])])
    answer = client.get_online_features("svc", [{"user": 1}])
    assert (answer.service, answer.to_dict()) == ("svc@2", {"x": [None], "y": [None]})
