"""The client: what it sends, what it makes of an answer, and what it needs to be imported."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.client import FeatureClient
from featurestore.errors import InvalidRequestError, ServerUnavailableError, TimestampError
from featurestore.v1 import serving_pb2 as pb

INSTANT = datetime(2013, 1, 1, 7, tzinfo=UTC)


class Server:
    """Answers with what it is given, and keeps what it was asked."""

    def __init__(self, schema: pb.GetServiceSchemaResponse, response: pb.GetOnlineFeaturesResponse) -> None:
        self.schema = schema
        self.response = response
        self.calls: list[str] = []
        self.request = pb.GetOnlineFeaturesRequest()

    def __call__(self, method: str, request: bytes) -> bytes:
        self.calls.append(method)
        if method == "GetServiceSchema":
            return self.schema.SerializeToString()
        self.request = pb.GetOnlineFeaturesRequest.FromString(request)
        return self.response.SerializeToString()


def schema(keys: dict[str, str], features: dict[str, str], service: str = "svc@1") -> pb.GetServiceSchemaResponse:
    return pb.GetServiceSchemaResponse(
        service=service,
        join_keys=[pb.FieldSchema(name=name, dtype=dtype) for name, dtype in keys.items()],
        views=[
            pb.ViewSchema(
                name="view", version=1, features=[pb.FieldSchema(name=name, dtype=d) for name, d in features.items()]
            )
        ],
    )


def response(*rows: pb.FeatureRow, service: str = "svc@1") -> pb.GetOnlineFeaturesResponse:
    return pb.GetOnlineFeaturesResponse(
        service=service, request_id="r", served_at=types.microseconds(INSTANT), row_count=len(rows), rows=rows
    )


@pytest.fixture
def ask() -> Callable[..., Server]:
    def begin(keys: dict[str, str], columns: Any) -> Server:
        server = Server(schema(keys, {"x": "Float64"}), response())
        FeatureClient(transport=server).get_online_features("svc", columns)
        return server

    return begin


def test_dicts_and_columns_make_the_same_request(ask: Callable[..., Server]) -> None:
    keys = {"a": "String", "n": "Int64"}
    one = ask(keys, [{"a": "x", "n": 1}, {"a": None}]).request
    other = ask(keys, {"a": ["x", None], "n": [1, None]}).request
    assert one == other
    assert one.columns[0].nulls == b"\x02"
    assert list(one.columns[0].strings.values) == ["x", ""]


def test_every_type_has_its_place_in_a_request(ask: Callable[..., Server]) -> None:
    keys = {"s": "String", "r": "Bytes", "b": "Bool", "d": "Date", "t": "Timestamp", "f": "Float64"}
    keys |= {"m": "Decimal(10, 2)", "a": "Array(Date)", "e": "Embedding(2)", "x": "Struct(d Date, m Decimal(3, 1))"}
    row = {"s": "é", "r": b"\x00", "b": True, "d": date(1970, 1, 2), "t": INSTANT, "f": 1.5}
    row |= {"m": Decimal("1.5"), "a": [date(1970, 1, 2), None], "e": np.array([1, 2]), "x": {"m": 7}}
    s, r, b, d, t, f, m, a, e, x = ask(keys, [row]).request.columns
    assert list(m.strings.values) == ["1.50"]
    assert list(a.nested.values) == [pb.Values(nulls=b"\x02", int32s=[1, 0])]
    assert list(e.nested.values) == [pb.Values(floats=[1.0, 2.0])]
    assert list(x.nested.values) == [pb.Values(nulls=b"\x01", int32s=[0], strings=["7.0"])]
    assert (list(s.strings.values), list(r.blobs.values), list(b.bools.values)) == (["é"], [b"\x00"], [True])
    assert (list(d.int64s.values), list(t.int64s.values)) == ([1], [types.microseconds(INSTANT)])
    assert list(f.doubles.values) == [1.5]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("Int64", "7"),
        ("Int64", 1.5),
        ("Int64", 2**63),
        ("String", 7),
        ("Bool", 1),
        ("Bytes", "text"),
        ("Date", INSTANT),
        ("Float64", "1.0"),
        ("Float64", Decimal("1.0")),
        ("Float32", 1e39),
        ("Decimal(4, 2)", 1.5),
        ("Decimal(4, 2)", True),
        ("Decimal(4, 2)", Decimal("1.555")),
        ("Array(Int64)", [1.5]),
        ("Array(Int32)", [2**31]),
        ("Array(String)", "ab"),
        ("Embedding(2)", [1.0]),
        ("Struct(a Int64)", {"b": 1}),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(ask: Callable[..., Server], dtype: str, value: object) -> None:
    with pytest.raises(InvalidRequestError, match='"key"'):
        ask({"key": dtype}, [{"key": value}])


def test_an_instant_without_a_zone_is_refused(ask: Callable[..., Server]) -> None:
    with pytest.raises(TimestampError, match="no time zone"):
        ask({"key": "Timestamp"}, [{"key": datetime(2013, 1, 1)}])  # noqa: DTZ001
    with pytest.raises(TimestampError):
        FeatureClient(transport=Server(schema({}, {}), response())).advance_clock(datetime(2013, 1, 1))  # noqa: DTZ001


def test_an_unknown_column_is_refused_before_it_is_sent(ask: Callable[..., Server]) -> None:
    with pytest.raises(InvalidRequestError, match='takes no "orgin"') as caught:
        ask({"origin": "String"}, [{"orgin": "JFK"}])
    assert "origin" in caught.value.hint


def test_values_nulls_and_absent_rows_become_python_values_arrays_and_tables() -> None:
    features = {"x": "Float64", "n": "Int64", "y": "Float64", "b": "Bool"}
    rows = [
        pb.FeatureRow(
            status=1, event_timestamp=types.microseconds(INSTANT), doubles=[1.5, 2.5], int64s=[7], bools=[True]
        ),
        pb.FeatureRow(status=1, nulls=b"\x05", doubles=[0, 0], int64s=[8], bools=[False]),
        pb.FeatureRow(status=2),
        pb.FeatureRow(status=3, event_timestamp=types.microseconds(INSTANT)),
    ]
    server = Server(schema({"k": "Int64"}, features), response(*rows))
    found = FeatureClient(transport=server).get_online_features("svc", {"k": [1, 2, 3, 4]})
    assert found.to_dict() == {
        "x": [1.5, None, None, None],
        "n": [7, 8, None, None],
        "y": [2.5, None, None, None],
        "b": [True, False, None, None],
    }
    assert found.statuses == {"view": ["PRESENT", "PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"]}
    assert found.event_timestamps["view"][0] == found.event_timestamps["view"][3] == INSTANT
    assert found.event_timestamps["view"][2] is None
    array = found.to_numpy()
    nan = math.nan
    expected = [[1.5, 7, 2.5, 1], [nan, 8, nan, 0], [nan] * 4, [nan] * 4]
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, expected)
    table = found.to_arrow()
    assert table.schema.types == [pa.float64(), pa.int64(), pa.float64(), pa.bool_()]
    assert table["n"].to_pylist() == [7, 8, None, None]
    assert len(found) == 4
    assert found.served_at == INSTANT


def test_an_embedding_is_as_many_numbers_of_an_array_as_it_has() -> None:
    features = {"x": "Float32", "e": "Embedding(2)", "m": "Decimal(4, 2)"}
    rows = [
        pb.FeatureRow(status=1, floats=[0.5, 1.5, 2.5], strings=["1.25"]),
        pb.FeatureRow(status=1, floats=[0.5, 0, 0], strings=[""], nulls=b"\x06"),
        pb.FeatureRow(status=2),
    ]
    server = Server(schema({"k": "Int64"}, features), response(*rows))
    found = FeatureClient(transport=server).get_online_features("svc", {"k": [1, 2, 3]})
    nan = math.nan
    np.testing.assert_array_equal(found.to_numpy(), [[0.5, 1.5, 2.5, 1.25], [0.5, nan, nan, nan], [nan] * 4])
    assert found.to_dict()["m"] == [Decimal("1.25"), None, None]
    assert found.to_arrow().schema.types == [pa.float32(), pa.list_(pa.float32(), 2), pa.decimal128(4, 2)]


@pytest.mark.parametrize("dtype", ["Array(Float64)", "Struct(a Float64)"])
def test_a_list_of_any_length_has_no_place_in_an_array_of_numbers(dtype: str) -> None:
    values = pb.Values(doubles=[1.0])
    server = Server(schema({"k": "Int64"}, {"a": dtype}), response(pb.FeatureRow(status=1, nested=[values])))
    with pytest.raises(InvalidRequestError, match='"a" is'):
        FeatureClient(transport=server).get_online_features("svc", {"k": [1]}).to_numpy()


def test_frames_with_lists_and_structs_make_the_request_that_dicts_make(ask: Callable[..., Server]) -> None:
    keys = {"a": "Array(Int64)", "e": "Embedding(2)", "x": "Struct(n Int64, s String)", "m": "Decimal(4, 2)"}
    rows = [{"a": [1, None], "e": [1.0, 2.0], "x": {"n": 1, "s": None}, "m": Decimal("1.25")}, dict.fromkeys(keys)]
    expected = ask(keys, rows).request
    types_of = {name: types.by_name(dtype).to_arrow() for name, dtype in keys.items()}
    table = pa.Table.from_pylist(rows, pa.schema(types_of))
    for frame in (table, pl.from_arrow(table), pd.DataFrame(rows)):
        assert ask(keys, frame).request == expected


def test_an_answer_without_rows_is_an_array_without_rows() -> None:
    server = Server(schema({"k": "Int64"}, {"x": "Float64", "y": "Float64"}), response())
    assert FeatureClient(transport=server).get_online_features("svc", {"k": []}).to_numpy().shape == (0, 2)


def test_texts_have_no_place_in_an_array_of_numbers() -> None:
    server = Server(schema({"k": "Int64"}, {"s": "String"}), response(pb.FeatureRow(status=1, strings=["a"])))
    with pytest.raises(InvalidRequestError, match='"s" is String'):
        FeatureClient(transport=server).get_online_features("svc", {"k": [1]}).to_numpy()


def test_the_schema_is_asked_for_once_and_again_when_another_version_answers() -> None:
    server = Server(schema({"k": "Int64"}, {"x": "Float64"}), response())
    client = FeatureClient(transport=server)
    for _ in range(3):
        client.get_online_features("svc", {"k": []})
    assert server.calls.count("GetServiceSchema") == 1
    server.schema = schema({"k": "Int64"}, {"x": "Float64", "y": "Float64"}, "svc@2")
    server.response = response(service="svc@2")
    assert client.get_online_features("svc", {"k": []}).names == ("x", "y")
    assert client.get_online_features("svc", {"k": []}).service == "svc@2"


def test_a_client_that_knows_an_old_version_asks_again_before_it_refuses_a_column() -> None:
    server = Server(schema({"k": "Int64"}, {"x": "Float64"}), response())
    client = FeatureClient(transport=server)
    client.get_online_features("svc", {"k": []})
    server.schema = schema({"n": "Int64"}, {"x": "Float64"}, "svc@2")
    server.response = response(service="svc@2")
    assert client.get_online_features("svc", {"n": []}).service == "svc@2"
    with pytest.raises(InvalidRequestError, match='"svc@2" takes no "k"'):
        client.get_online_features("svc", {"k": []})


def test_no_rows_are_asked_for_with_every_column(ask: Callable[..., Server]) -> None:
    request = ask({"a": "String", "n": "Int64"}, []).request
    assert [(one.name, one.WhichOneof("values")) for one in request.columns] == [("a", "strings"), ("n", "int64s")]


@pytest.mark.parametrize("rows", [{"origin": "JFK"}, {"origin": 7}, ["JFK"], [{"origin": "JFK"}, 7]])
def test_what_is_neither_dicts_nor_columns_is_refused_with_the_form(ask: Callable[..., Server], rows: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"is not a (column|dict)") as caught:
        ask({"origin": "String"}, rows)
    assert "dict" in caught.value.hint


def test_no_server_is_said_with_the_address() -> None:
    with FeatureClient("127.0.0.1:1") as client:
        assert client.is_serving() is False
        with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:1") as caught:
            client.get_schema("svc")
    assert "featurestore serve" in caught.value.hint


def test_importing_the_client_imports_no_engine() -> None:
    program = (
        "import sys, featurestore.client\n"
        "heavy = {'duckdb', 'polars', 'deltalake', 'pyarrow', 'pydantic', 'sqlalchemy', 'lmdb', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
