"""What somebody might send to the methods that write: it is taken or refused, and never a fault of ours."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, Model
from featurestore.errors import InvalidRequestError, LimitExceededError, ObjectNotFoundError
from featurestore.types import Int64
from featurestore.v1 import serving_pb2 as pb

READS = runpy.run_path(str(Path(__file__).with_name("test_malformed.py")))
Answer = Callable[[str, bytes], bytes]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answer]:
    """A store that takes pushes of every type, and a model."""
    thing = Entity(name="thing", join_keys=["id"], dtypes=[Int64])
    schema = [Field(name=name, dtype=dtype) for name, dtype in READS["TYPES"].items()]
    view = FeatureView(name="plain", entities=[thing], schema=schema)
    with FeatureStore.init(tmp_path_factory.mktemp("malformed") / "repo", project="malformed") as store:
        store.apply([FeatureService(name="svc", features=[view])])
        labels = [{"id": 1, "event_timestamp": datetime.now(UTC), "y": 1.0}]
        store.create_training_dataset("set", entity_df=labels, features="svc", label="y")
        store.registry.record_model(Model(name="typed", service="svc@1", dataset="set@1"), who="tests")
        yield store.client()._transport


def right() -> Mapping[str, tuple[Any, bytes]]:
    """Return by method its message, and a request that is right."""
    push = pb.PushFeaturesRequest(view="plain")
    for name, dtype in {"id": Int64, **READS["TYPES"]}.items():
        READS["column"](push, name, dtype, 2)
        push.columns[-1].nulls = b""
    push.columns.add(name="event_timestamp").int64s.values.extend([1, 2])
    predictions = pb.LogPredictionsRequest(model="typed")
    predictions.predictions.add(prediction_id="a", number=0.5, probabilities={"x": 0.5}, predicted_at=1)
    outcomes = pb.LogOutcomesRequest(model="typed")
    outcomes.outcomes.add(prediction_id="a", metric="m", label="x")
    made = {"PushFeatures": push, "LogPredictions": predictions, "LogOutcomes": outcomes}
    return {name: (type(one), one.SerializeToString()) for name, one in made.items()}


RIGHT = right()


@pytest.mark.parametrize("method", RIGHT)
def test_the_requests_that_are_damaged_are_right_before(answer: Answer, method: str) -> None:
    answered = answer(method, RIGHT[method][1])
    if method == "PushFeatures":
        assert pb.PushFeaturesResponse.FromString(answered).rows_accepted == 2


@pytest.mark.parametrize("method", RIGHT)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_bytes_come_they_are_taken_or_refused(answer: Answer, method: str, data: st.DataObject) -> None:
    message, good = RIGHT[method]
    serialized = READS["messages"](message.DESCRIPTOR).map(lambda one: one.SerializeToString())
    faulty = st.builds(READS["damaged"], st.randoms(use_true_random=False), st.just(good) | serialized)
    sent = data.draw(st.binary(max_size=60) | serialized | faulty)
    try:
        answer(method, sent)
    except (InvalidRequestError, LimitExceededError, ObjectNotFoundError) as refused:
        READS["check_said"](str(refused))
