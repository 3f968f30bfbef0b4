"""What may be a prediction or an outcome, and what is said of what may not."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from featurestore.errors import InvalidRequestError, LimitExceededError
from featurestore.serving.feedback import OUTCOMES, PREDICTIONS, Kind
from featurestore.serving.feedback.rows import checked, from_frame, from_outcomes, from_predictions
from featurestore.v1 import serving_pb2 as pb

GOOD: dict[str, Any] = {"prediction_id": "p", "number": 0.5}


def test_a_prediction_of_a_request_has_all_that_it_was_sent_with(rows: Any) -> None:
    sent = pb.LogPredictionsRequest(model="churn")
    sent.predictions.add(prediction_id="a", request_id="r", row=2, number=0.0, predicted_at=rows.now_us - 5)
    sent.predictions.add(prediction_id="b", label="stays", probabilities={"stays": 0.75, "goes": 0.25})
    found = checked(PREDICTIONS, from_predictions(sent), rows.model(), now=rows.now_us).to_pylist()
    nothing = {"model": "churn@3", "logged_at": None, "number": None, "label": None, "probabilities": None}
    assert found == [
        nothing
        | {"prediction_id": "a", "request_id": "r", "row": 2, "number": 0.0}
        | {"predicted_at": rows.now - timedelta(microseconds=5)},
        nothing
        | {"prediction_id": "b", "request_id": "", "row": 0, "label": "stays", "predicted_at": rows.now}
        | {"probabilities": [("goes", 0.25), ("stays", 0.75)]},
    ]


def test_an_outcome_of_a_request_is_of_the_model_whichever_version_predicted(rows: Any) -> None:
    sent = pb.LogOutcomesRequest(model="churn@3")
    sent.outcomes.add(prediction_id="a", metric="revenue", number=-3.5, observed_at=rows.now_us)
    sent.outcomes.add(prediction_id="a", label="goes")
    found = checked(OUTCOMES, from_outcomes(sent), rows.model(), now=rows.now_us).to_pylist()
    assert [(one["model"], one["metric"], one["number"], one["label"]) for one in found] == [
        ("churn", "revenue", -3.5, None),
        ("churn", "", None, "goes"),
    ]
    assert {one["observed_at"] for one in found} == {rows.now}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prediction_id": ""}, r"predictions\[1\].prediction_id is empty"),
        ({"prediction_id": None}, r"predictions\[1\].prediction_id is empty"),
        ({"prediction_id": "x" * 1001}, r"predictions\[1\].prediction_id has over 1,000 letters"),
        ({"number": None}, r"predictions\[1\].value is missing"),
        ({"label": "stays"}, r"predictions\[1\].value is both a number and a label"),
        ({"number": math.nan}, r"predictions\[1\].number is not finite"),
        ({"number": -math.inf}, r"predictions\[1\].number is not finite"),
        ({"number": None, "label": ""}, r"predictions\[1\].label is empty"),
        ({"row": -1}, r"predictions\[1\].row is below 0"),
        ({"probabilities": {"stays": 1.01}}, r"predictions\[1\].probabilities has one that does not lie between"),
        ({"probabilities": {"stays": math.nan}}, r"predictions\[1\].probabilities has one that does not lie between"),
    ],
)
def test_a_prediction_that_cannot_be_one_is_refused_with_its_row_and_field(
    rows: Any, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        rows(PREDICTIONS, GOOD, GOOD | changes)
    assert caught.value.hint
    assert caught.value.field.startswith("predictions[1].")


@pytest.mark.parametrize("kind", [PREDICTIONS, OUTCOMES], ids=lambda kind: kind.name)
def test_an_instant_in_the_future_or_before_1970_is_refused_and_a_clock_may_be_a_minute_ahead(
    rows: Any, kind: Kind
) -> None:
    minute = timedelta(minutes=1)
    assert rows(kind, GOOD | {kind.instant: rows.now + minute}).num_rows == 1
    with pytest.raises(InvalidRequestError, match="lies in the future"):
        rows(kind, GOOD | {kind.instant: rows.now + 2 * minute})
    with pytest.raises(InvalidRequestError, match="lies before 1970"):
        rows(kind, GOOD | {kind.instant: datetime(1969, 1, 1, tzinfo=rows.now.tzinfo)})


def test_a_frame_may_have_whole_numbers_maps_and_finer_instants() -> None:
    given = pa.table(
        {
            "prediction_id": pa.array(["a"], pa.large_string()),
            "number": pa.array([3], pa.int32()),
            "probabilities": pa.array([[("x", 0.5)]], pa.map_(pa.string(), pa.float64())),
            "predicted_at": pa.array([1_700_000_000_000_000_001], pa.timestamp("ns", tz="Europe/Berlin")),
        }
    )
    (found,) = from_frame(PREDICTIONS, given).to_pylist()
    assert (found["number"], found["probabilities"], found["label"]) == (3.0, [("x", 0.5)], None)
    assert found["predicted_at"].timestamp() == 1_700_000_000


@pytest.mark.parametrize(
    ("column", "said", "hint"),
    [
        ({"value": [1.0]}, 'a column "value", which is none', "prediction_id"),
        ({"number": ["much"]}, 'Column "number" of the predictions is string, and double is needed', "For example"),
        ({"predicted_at": [datetime(2024, 1, 1)]}, "timestamp", "time zone"),  # noqa: DTZ001 - that it has none is the point
        ({"predicted_at": ["2024-01-01"]}, "string", "time zone"),
        ({"probabilities": [0.5]}, "double", "For example"),
    ],
    ids=str,
)
def test_a_column_that_cannot_be_taken_is_named(column: dict[str, list[Any]], said: str, hint: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        from_frame(PREDICTIONS, pa.table({"prediction_id": ["a"]} | column))
    assert hint in caught.value.hint


def test_more_rows_than_a_request_may_have_are_refused_with_the_limit(rows: Any) -> None:
    given = from_frame(OUTCOMES, pa.table({"prediction_id": ["a"] * 3, "number": [1.0] * 3}))
    with pytest.raises(LimitExceededError, match="3 outcomes; at most 2") as caught:
        checked(OUTCOMES, given, rows.model(), now=rows.now_us, most=2)
    assert caught.value.limit == "max_rows"
