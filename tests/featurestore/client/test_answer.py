"""What is made of a response: the fast way and protobuf's own give the same, for all types and all kinds of rows."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.client import OnlineFeatures, packed
from featurestore.client.answer import Head
from featurestore.client.schema import ServiceSchema
from featurestore.errors import InvalidRequestError, ServingError
from featurestore.types.wire import to_values
from featurestore.v1 import serving_pb2 as pb

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Bool": st.booleans(),
    "Int32": INT32,
    "Int64": INT64,
    "Float32": st.floats(width=32, allow_nan=False),
    "Float64": st.floats(allow_nan=False),
    "Decimal(6, 2)": st.decimals(-9999, 9999, places=2),
    "String": st.text(max_size=200),
    "Bytes": st.binary(max_size=3),
    "Date": st.dates(),
    "Timestamp": st.datetimes(timezones=st.just(UTC)),
    "Array(Int64)": st.lists(st.none() | INT64, max_size=3),
    "Embedding(3)": st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3),
    "Struct(a Int64, b Array(String))": st.fixed_dictionaries(
        {"a": st.none() | INT64, "b": st.none() | st.lists(st.text(max_size=3), max_size=2)}
    ),
}
NUMBERS = ["Bool", "Int32", "Int64", "Float32", "Float64", "Decimal(6, 2)", "Embedding(3)"]
PLACEHOLDERS: dict[str, Any] = {"strings": "", "blobs": b"", "bools": False}
PRESENT, NOT_FOUND, OUTSIDE = pb.ROW_STATUS_PRESENT, pb.ROW_STATUS_NOT_FOUND, pb.ROW_STATUS_OUTSIDE_MAX_AGE


@dataclass
class Row:
    """What one row says: ``values`` is None where it has none at all."""

    status: int
    event: int
    values: list[Any] | None


def scalar(value: Any, dtype: types.DType) -> Any:
    if dtype.precision:
        return str(value)
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    return (value - EPOCH.date()).days if isinstance(value, date) else value


def message_of(row: Row, dtypes: list[types.DType]) -> pb.FeatureRow:
    message = pb.FeatureRow(status=row.status, event_timestamp=row.event)  # type: ignore[arg-type]  # an enum's number
    if row.values is None:
        return message
    mask = bytearray((len(dtypes) + 7) // 8)
    for place, (value, dtype) in enumerate(zip(row.values, dtypes, strict=True)):
        target = getattr(message, dtype.wire)
        if value is None:
            mask[place // 8] |= 1 << place % 8
            empty = pb.Values() if dtype.wire == "nested" else PLACEHOLDERS.get(dtype.wire, 0)
            target.extend([empty] * (dtype.size or 1))
        elif dtype.size:
            target.extend(value)
        else:
            target.append(scalar(value, dtype) if dtype.scalar else to_values(value, dtype, scalar))
    if any(mask):
        message.nulls = bytes(mask)
    return message


@st.composite
def answers(draw: st.DrawFn, names: list[str]) -> tuple[list[list[str]], list[list[Row]]]:
    """Draw the types of some views, and their rows."""
    views = draw(st.lists(st.lists(st.sampled_from(names), min_size=1, max_size=11), min_size=1, max_size=3))
    count = draw(st.integers(0, 5))
    found = []
    for dtypes in views:
        alike = draw(st.booleans())
        first = draw(st.sampled_from((PRESENT, NOT_FOUND, OUTSIDE)))
        defaults, on_demand = draw(st.booleans()), draw(st.booleans())
        nulls = draw(st.sampled_from((0, 0, 1)))
        rows = []
        for _ in range(count):
            status = first if alike else draw(st.sampled_from((PRESENT, NOT_FOUND, OUTSIDE)))
            event = 0 if status == NOT_FOUND or on_demand else draw(st.integers(1, 2**55))
            values = [draw(st.none() | VALUES[name] if nulls else VALUES[name]) for name in dtypes]
            rows.append(Row(status, event, values if status == PRESENT or defaults else None))
        found.append(rows)
    return views, found


def serialized(head: pb.GetOnlineFeaturesResponse, rows: list[pb.FeatureRow], order: random.Random | None) -> bytes:
    """Return a response as our server writes it, or with the fields of each row in any order, which is as good."""
    if order is None:
        head.rows.extend(rows)
        return head.SerializeToString()
    data = head.SerializeToString()
    for row in rows:
        parts = [pb.FeatureRow(**{one.name: value}).SerializeToString() for one, value in row.ListFields()]
        head = order.choice((0, 0, len(parts) - 2))
        tail = parts[head:]
        order.shuffle(tail)
        parts[head:] = tail
        one_row = pb.GetOnlineFeaturesResponse(rows=[pb.FeatureRow()]).SerializeToString()[:-1]
        body = b"".join(parts)
        assert len(body) < 1 << 14
        length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
        data += one_row + length + body
    return data


def answer_of(views: list[list[str]], found: list[list[Row]], order: random.Random | None = None) -> OnlineFeatures:
    schema = pb.GetServiceSchemaResponse(service="svc@1")
    rows = []
    for v, (names, view) in enumerate(zip(views, found, strict=True)):
        features = [pb.FieldSchema(name=f"v{v}_{place}", dtype=name) for place, name in enumerate(names)]
        schema.views.add(name=f"v{v}", version=1, features=features)
        rows += [message_of(row, [types.by_name(name) for name in names]) for row in view]
    head = pb.GetOnlineFeaturesResponse(request_id="r", service="svc@1", served_at=7, row_count=len(found[0]))
    return OnlineFeatures(Head(serialized(head, rows, order)), ServiceSchema(schema))


def expected(views: list[list[str]], found: list[list[Row]]) -> dict[str, list[Any]]:
    return {
        f"v{v}_{place}": [None if row.values is None else row.values[place] for row in found[v]]
        for v, names in enumerate(views)
        for place in range(len(names))
    }


def check(answer: OnlineFeatures, views: list[list[str]], found: list[list[Row]]) -> None:
    values = expected(views, found)
    dtypes = {f"v{v}_{place}": types.by_name(name) for v, names in enumerate(views) for place, name in enumerate(names)}
    assert answer.to_dict() == values
    assert answer.to_arrow().equals(
        pa.table({name: pa.array(values[name], dtypes[name].to_arrow()) for name in values})
    )
    said = {PRESENT: "PRESENT", NOT_FOUND: "NOT_FOUND", OUTSIDE: "OUTSIDE_MAX_AGE"}
    assert answer.statuses == {f"v{v}": [said[row.status] for row in rows] for v, rows in enumerate(found)}
    assert answer.feature_statuses == {
        f"v{v}_{place}": [
            "NULL_VALUE"
            if row.status == PRESENT and row.values is not None and row.values[place] is None
            else said[row.status]
            for row in found[v]
        ]
        for v, names in enumerate(views)
        for place in range(len(names))
    }
    assert answer.event_timestamps == {
        f"v{v}": [None if row.status == NOT_FOUND else EPOCH + timedelta(microseconds=row.event) for row in rows]
        for v, rows in enumerate(found)
    }


@settings(max_examples=150, deadline=None)
@given(drawn=answers(list(VALUES)))
def test_values_and_statuses_of_all_types_are_those_that_were_sent(drawn: Any) -> None:
    check(answer_of(*drawn), *drawn)


@settings(max_examples=60, deadline=None)
@given(drawn=answers(list(VALUES)), seed=st.integers())
def test_rows_that_another_server_writes_in_another_order_are_read_all_the_same(drawn: Any, seed: int) -> None:
    check(answer_of(*drawn, random.Random(seed)), *drawn)


@settings(max_examples=100, deadline=None)
@given(drawn=answers(NUMBERS), seed=st.none() | st.integers())
def test_an_array_has_the_numbers_that_were_sent_and_nan_for_the_others(drawn: Any, seed: int | None) -> None:
    views, found = drawn
    answer = answer_of(views, found, None if seed is None else random.Random(seed))
    columns = []
    for name, values in expected(views, found).items():
        dtype = types.by_name(views[int(name[1])][int(name[3:])])
        width = dtype.size or 1
        columns += [
            [math.nan if value is None else float(value[place] if dtype.size else value) for value in values]
            for place in range(width)
        ]
    made = answer.to_numpy()
    assert made.dtype == np.float64
    np.testing.assert_array_equal(made, np.array(columns, np.float64).reshape(len(columns), len(found[0])).T)


@pytest.mark.parametrize("names", [["Float64"] * 50, ["Float64", "Int64", "Bool", "String"]])
def test_rows_of_our_server_are_read_without_a_message(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is measured elsewhere; here, that nothing falls back where it need not."""
    values = [1.5, 7, True, "text"] if len(names) == 4 else [0.5] * 50
    rows = [Row(PRESENT, 1, values), Row(NOT_FOUND, 0, None), Row(PRESENT, 2, [None, *values[1:]])]
    answer = answer_of([names], [rows])
    monkeypatch.setattr(packed, "from_messages", None)
    assert answer.statuses == {"v0": ["PRESENT", "NOT_FOUND", "PRESENT"]}
    if len(names) == 50:
        assert answer.to_numpy().shape == (3, 50)
        assert "_message" not in vars(answer)


def test_a_view_of_more_features_than_a_short_mask_holds_is_read() -> None:
    names = ["Int32"] * 1100
    rows = [Row(PRESENT, 1, [None, *range(1, 1100)]), Row(PRESENT, 1, list(range(1100)))]
    made = answer_of([names], [rows]).to_numpy()
    assert np.isnan(made[0, 0])
    assert made[1].tolist() == list(range(1100))


def test_an_answer_that_is_cut_off_is_an_error_wherever_it_is_cut() -> None:
    whole = answer_of([["Float64", "Int64"]], [[Row(PRESENT, 1, [1.0, 2]), Row(PRESENT, 1, [1.0, 2])]])
    data = whole._data
    for size in range(whole._rows_at, len(data)):
        with pytest.raises(ServingError):
            OnlineFeatures(Head(data[:size]), whole._schema).to_numpy()
    with pytest.raises(ServingError, match="not a GetOnlineFeaturesResponse"):
        Head(data[: whole._rows_at - 1])


def test_an_answer_to_another_schema_is_an_error_and_no_wrong_number() -> None:
    answer = answer_of([["Float64", "Int64"]], [[Row(PRESENT, 1, [1.0, 2])]])
    other = answer_of([["Float64", "Float64"]], [[Row(PRESENT, 1, [1.0, 2.0])]])
    with pytest.raises(ServingError, match="not laid out as the schema says"):
        OnlineFeatures(Head(answer._data), other._schema).to_numpy()
    two = answer_of([["Float64"], ["Int64"]], [[Row(PRESENT, 1, [1.0])], [Row(PRESENT, 1, [2])]])
    with pytest.raises(ServingError, match="1 rows, and its schema 2 views"):
        OnlineFeatures(Head(answer._data), two._schema).to_numpy()


def test_lists_that_another_server_sends_in_another_order_are_not_taken_for_each_other() -> None:
    names, rows = ["Float64", "Int64"], [Row(PRESENT, 1, [1.5, 2]), Row(PRESENT, 1, [2.5, 3])]
    ours = answer_of([names], [rows])
    doubles, integers = slice(-20, -10), slice(-10, None)
    data = bytearray(ours._data)
    for end in (len(data), len(data) - (len(data) - ours._rows_at) // 2):
        row = data[:end]
        data[end - 20 : end] = row[integers] + row[doubles]
    assert bytes(data) != ours._data
    assert OnlineFeatures(Head(bytes(data)), ours._schema).to_numpy().tolist() == [[1.5, 2], [2.5, 3]]


def test_text_has_no_place_in_an_array() -> None:
    with pytest.raises(InvalidRequestError, match='"v0_0" is String'):
        answer_of([["String"]], [[Row(PRESENT, 1, ["a"])]]).to_numpy()


def test_a_default_stands_beside_the_status_of_the_row_that_is_not_there() -> None:
    answer = answer_of([["Float64", "Decimal(6, 2)"]], [[Row(NOT_FOUND, 0, [0.5, Decimal("1.50")])]])
    assert answer.to_dict() == {"v0_0": [0.5], "v0_1": [Decimal("1.50")]}
    assert answer.to_numpy().tolist() == [[0.5, 1.5]]
    assert answer.feature_statuses == {"v0_0": ["NOT_FOUND"], "v0_1": ["NOT_FOUND"]}
