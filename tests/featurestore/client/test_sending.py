"""Rows that are pushed, predictions and outcomes: what is sent, and what is refused before it is."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.client import FeatureClient, Logged, Pushed
from featurestore.errors import InvalidRequestError, TimestampError
from featurestore.v1 import serving_pb2 as pb

INSTANT = datetime(2024, 1, 1, tzinfo=UTC)
MICROSECONDS = types.microseconds(INSTANT)


class Server:
    """Keeps the request, and answers that all was taken."""

    def __init__(self) -> None:
        self.push = pb.PushFeaturesRequest()
        self.predictions = pb.LogPredictionsRequest()
        self.outcomes = pb.LogOutcomesRequest()

    def __call__(self, method: str, request: bytes) -> bytes:
        if method == "PushFeatures":
            self.push = pb.PushFeaturesRequest.FromString(request)
            rejected = [pb.RejectedRow(row=1, reason="temp is over 140")]
            return pb.PushFeaturesResponse(view="clicks@2", rows_accepted=2, rejected=rejected).SerializeToString()
        if method == "LogPredictions":
            self.predictions = pb.LogPredictionsRequest.FromString(request)
            return pb.LogPredictionsResponse(model="ridge@3", predictions_logged=2).SerializeToString()
        assert method == "LogOutcomes"
        self.outcomes = pb.LogOutcomesRequest.FromString(request)
        return pb.LogOutcomesResponse(outcomes_logged=1).SerializeToString()


@pytest.fixture
def server() -> Server:
    return Server()


def pushed(server: Server, rows: Any, **options: Any) -> dict[str, pb.Column]:
    FeatureClient(transport=server).push("clicks", rows, **options)
    return {column.name: column for column in server.push.columns}


def test_what_became_of_a_push_is_told_row_by_row(server: Server) -> None:
    done = FeatureClient(transport=server).push("clicks", [{"user_id": 1, "event_timestamp": INSTANT}])
    assert done == Pushed("clicks@2", 2, {1: "temp is over 140"})
    assert server.push.view == "clicks"


def test_plain_values_tell_how_they_are_sent(server: Server) -> None:
    rows = [
        {"n": 1, "x": 1, "b": True, "s": "é", "r": b"\0", "d": date(1970, 1, 2), "t": INSTANT, "m": Decimal("1.5")},
        {"n": None, "x": 0.5, "b": None, "s": None, "r": None, "d": None, "t": None, "m": Decimal("2.25")},
        {"n": np.int32(3), "x": np.float32(0.25), "m": 4, "nothing": None},
    ]
    found = pushed(server, rows)
    assert list(found["n"].int64s.values) == [1, 0, 3]
    assert found["n"].nulls == b"\x02"
    assert list(found["x"].doubles.values) == [1, 0.5, 0.25]
    assert list(found["b"].bools.values) == [True, False, False]
    assert list(found["s"].strings.values) == ["é", "", ""]
    assert list(found["r"].blobs.values) == [b"\0", b"", b""]
    assert list(found["d"].int64s.values) == [1, 0, 0]
    assert list(found["t"].int64s.values) == [MICROSECONDS, 0, 0]
    assert list(found["m"].strings.values) == ["1.50", "2.25", "4.00"]
    assert "nothing" not in found


def test_frames_of_all_libraries_send_the_same(server: Server) -> None:
    rows = [{"k": 1, "x": 0.5, "s": "a", "t": INSTANT}, {"k": 2, "x": None, "s": None, "t": INSTANT}]
    expected = pushed(server, rows)
    for frame in (pa.Table.from_pylist(rows), pl.DataFrame(rows), pd.DataFrame(rows), pl.DataFrame(rows).to_arrow()):
        assert pushed(server, frame) == expected


def test_an_arrow_table_says_all_of_its_types(server: Server) -> None:
    dtypes = {
        "i": types.Int32,
        "f": types.Float32,
        "x": types.Float64,
        "a": types.Array(types.Int32),
        "e": types.Embedding(2),
        "s": types.Struct({"a": types.Int64, "b": types.Array(types.Date)}),
        "m": types.Decimal(6, 2),
    }
    row = {"i": 1, "f": 0.5, "x": None, "a": [1, None], "e": [1.0, 2.0], "m": Decimal("1.50")}
    row["s"] = {"a": 7, "b": [date(1970, 1, 3)]}
    table = pa.Table.from_pylist([row], pa.schema({name: dtype.to_arrow() for name, dtype in dtypes.items()}))
    found = pushed(server, table)
    assert found["x"].WhichOneof("values") == "doubles"
    assert list(found["a"].nested.values) == [pb.Values(int32s=[1, 0], nulls=b"\x02")]
    assert list(found["e"].nested.values) == [pb.Values(floats=[1, 2])]
    assert list(found["s"].nested.values) == [pb.Values(int64s=[7], nested=[pb.Values(int32s=[2])])]
    assert list(found["m"].strings.values) == ["1.50"]
    assert {column.WhichOneof("values") for column in found.values()} == {"int64s", "doubles", "nested", "strings"}
    assert pushed(server, [row], dtypes=dtypes) == found
    wide = table.cast(
        pa.schema(
            {name: pa.large_list(pa.int32()) if name == "a" else table.schema.field(name).type for name in dtypes}
        )
    )
    assert pushed(server, wide) == found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, "a"], "several types: Int64, String"),
        ([True, 1], "several types: Bool, Int64"),
        ([1.5, Decimal(1)], "several types: Float64, Decimal"),
        ([[1]], "does not tell the type"),
        ([{"a": 1}], "does not tell the type"),
        ([object()], "does not tell the type"),
    ],
)
def test_values_that_do_not_tell_how_they_are_sent_are_refused(server: Server, values: list[Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=f'"x" .*{said}') as caught:
        pushed(server, {"x": values})
    assert caught.value.hint
    assert caught.value.field == "x"


def test_what_is_wrong_in_a_push_is_said(server: Server) -> None:
    with pytest.raises(InvalidRequestError, match="different lengths: a 1, b 2"):
        pushed(server, {"a": [1], "b": [1, 2]})
    with pytest.raises(InvalidRequestError, match="no such column") as caught:
        pushed(server, {"total": [1]}, dtypes={"totl": types.Float64})
    assert '"total"' in caught.value.hint
    with pytest.raises(TimestampError, match="no time zone"):
        pushed(server, [{"t": datetime(2024, 1, 1)}])  # noqa: DTZ001
    with pytest.raises(InvalidRequestError, match="which is not Int64"):
        pushed(server, [{"x": "a"}], dtypes={"x": types.Int64})
    with pytest.raises(InvalidRequestError, match="is not a dict"):
        pushed(server, [1])


def test_predictions_are_numbers_or_labels_with_what_is_known_of_them(server: Server) -> None:
    rows = [
        {
            "prediction_id": "p-1",
            "label": "late",
            "request_id": "r-1",
            "row": np.int64(3),
            "probabilities": {"late": 0.75, "early": 0.25},
            "predicted_at": INSTANT,
        },
        {"prediction_id": "p-2", "number": 7},
    ]
    assert FeatureClient(transport=server).log_predictions("ridge", rows) == Logged("ridge@3", 2)
    one, other = server.predictions.predictions
    assert server.predictions.model == "ridge"
    assert one == pb.Prediction(
        prediction_id="p-1",
        label="late",
        request_id="r-1",
        row=3,
        probabilities={"late": 0.75, "early": 0.25},
        predicted_at=MICROSECONDS,
    )
    assert other == pb.Prediction(prediction_id="p-2", number=7.0)
    for frame in (pa.Table.from_pylist(rows[1:]), pd.DataFrame(rows[1:]), {"prediction_id": ["p-2"], "number": [7.0]}):
        FeatureClient(transport=server).log_predictions("ridge", frame)
        assert list(server.predictions.predictions) == [other]
    labels = pa.table({"prediction_id": ["a", "b"], "label": ["x", "y"], "probabilities": [{"x": 1.0}, {"y": 0.5}]})
    FeatureClient(transport=server).log_predictions("ridge", labels)
    assert [dict(one.probabilities) for one in server.predictions.predictions] == [{"x": 1.0}, {"y": 0.5}]


def test_outcomes_are_of_predictions_and_of_metrics(server: Server) -> None:
    rows = [{"prediction_id": "p-1", "number": math.inf, "metric": "revenue", "observed_at": INSTANT}]
    assert FeatureClient(transport=server).log_outcomes("ridge", rows) == Logged("ridge", 1)
    assert list(server.outcomes.outcomes) == [
        pb.Outcome(prediction_id="p-1", number=math.inf, metric="revenue", observed_at=MICROSECONDS)
    ]
    FeatureClient(transport=server).log_outcomes("ridge", [])
    assert not server.outcomes.outcomes


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"number": 1.0}, 'lack "prediction_id"'),
        ({"prediction_id": "p"}, 'lack "number" and "label"'),
        ({"prediction_id": None, "number": 1.0}, 'Row 0 has no "prediction_id"'),
        ({"prediction_id": 7, "number": 1.0}, '"prediction_id" of row 0 is 7'),
        ({"prediction_id": "p", "number": None}, "Row 0 has neither a number nor a label"),
        ({"prediction_id": "p", "number": True}, '"number" of row 0 is True'),
        ({"prediction_id": "p", "number": 1.0, "row": -1}, '"row" of row 0 is -1'),
        ({"prediction_id": "p", "number": 1.0, "row": 1.5}, '"row" of row 0 is 1.5'),
        ({"prediction_id": "p", "number": 1.0, "probabilities": [0.5]}, '"probabilities" of row 0'),
        ({"prediction_id": "p", "number": 1.0, "probabilities": {"a": "b"}}, '"probabilities" of row 0'),
        ({"prediction_id": "p", "number": 1.0, "reqest_id": "r"}, 'column "reqest_id"'),
    ],
)
def test_a_prediction_that_is_none_is_refused_before_it_is_sent(server: Server, row: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        FeatureClient(transport=server).log_predictions("ridge", [row])
    assert caught.value.hint
    assert not server.predictions.model


def test_an_instant_of_a_prediction_names_its_zone(server: Server) -> None:
    with pytest.raises(TimestampError, match="no time zone"):
        FeatureClient(transport=server).log_predictions(
            "ridge",
            [{"prediction_id": "p", "number": 1.0, "predicted_at": datetime(2024, 1, 1)}],  # noqa: DTZ001
        )
