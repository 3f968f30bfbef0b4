"""Requests with values of any type: how they are read, what is refused, and what the log keeps of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal as Number
from typing import Any

import pytest

from featurestore.client import FeatureClient
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.errors import InvalidRequestError
from featurestore.online import MemoryStore
from featurestore.registry.records import Registered
from featurestore.serving.log import log_table
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import compile_plan
from featurestore.types import (
    Array,
    Date,
    Decimal,
    DType,
    Embedding,
    Float32,
    Float64,
    String,
    Struct,
    Timestamp,
)
from featurestore.v1 import serving_pb2 as pb

NOW = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    name="view",
    entities=[Entity(name="thing", join_keys=["id"], dtypes=[Decimal(6, 2)])],
    schema=[Field(name="x", dtype=Float64)],
)
TYPES: dict[str, DType] = {
    "money": Decimal(10, 2),
    "single": Float32,
    "items": Array(String),
    "vector": Embedding(2),
    "record": Struct({"on": Date, "prices": Array(Decimal(5, 1)), "at": Timestamp}),
}
ROW: dict[str, Any] = {
    "id": Number("1.5"),
    "money": Number("1.1"),
    "single": 0.5,
    "items": ["a", None],
    "vector": [1.0, 2.0],
    "record": {"on": date(1969, 12, 31), "prices": [Number("1.5"), None], "at": NOW},
}
COMPUTED = OnDemandFeatureView(
    name="computed",
    inputs=[VIEW],
    request=[Field(name=name, dtype=dtype) for name, dtype in TYPES.items()],
    schema=[Field(name="total", dtype=Decimal(10, 2)), Field(name="same", dtype=Embedding(2))],
    expressions={"total": "money + money", "same": "vector"},
)


@pytest.fixture
def lookups() -> Lookups:
    service = Registered(
        project="test",
        kind="feature_service",
        name="svc",
        version=1,
        content_hash="abc",
        decode=lambda: FeatureService(name="svc", features=[COMPUTED]),
        pins={"view": 1, "computed": 1},
        applied_at=NOW,
        applied_by="tester",
    )
    return Lookups(MemoryStore(), {"svc": compile_plan(service)}, max_rows=10)


@pytest.fixture
def client(lookups: Lookups) -> FeatureClient:
    return FeatureClient(transport=lookups.transport)


def test_request_fields_of_any_type_reach_the_expressions(client: FeatureClient) -> None:
    found = client.get_online_features("svc", [ROW, dict.fromkeys(ROW)])
    assert found.to_dict() == {"total": [Number("2.20"), None], "same": [[1.0, 2.0], None]}


def test_the_log_keeps_the_values_of_a_request_in_their_types(lookups: Lookups) -> None:
    sent: list[bytes] = []
    FeatureClient(
        transport=lambda method, data: (sent.append(data), lookups.transport(method, data))[1]
    ).get_online_features("svc", [ROW, dict.fromkeys(ROW)])
    entry = lookups.get_online_features(sent[-1]).entry
    logged = log_table(entry.plan, [entry], replay=False)
    for name, value in ROW.items():
        assert logged.schema.field(name).type == ({"id": Decimal(6, 2)} | TYPES)[name].to_arrow()
        assert logged[name].to_pylist() == [value, None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("money", 1.5),
        ("money", "1.5"),
        ("money", Number("1.111")),
        ("money", Number("NaN")),
        ("money", Number("123456789.00")),
        ("single", 1e39),
        ("items", "ab"),
        ("items", [1]),
        ("vector", [1.0]),
        ("vector", [1.0, None]),
        ("vector", [1.0, "2"]),
        ("vector", [1.0, 1e39]),
        ("record", {"off": 1}),
        ("record", {"prices": [Number("1.55")]}),
        ("record", [1]),
    ],
    ids=repr,
)
def test_a_value_that_is_not_of_the_type_is_refused_by_the_client(client: FeatureClient, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f'"{name}"'):
        client.get_online_features("svc", [ROW | {name: value}])


def column(name: str, carried: Any) -> pb.Column:
    made = pb.Column(name=name)
    kinds = {
        pb.StringValues: "strings",
        pb.DoubleValues: "doubles",
        pb.NestedValues: "nested",
        pb.Int64Values: "int64s",
    }
    getattr(made, kinds[type(carried)]).CopyFrom(carried)
    return made


@pytest.mark.parametrize(
    "wrong",
    [
        column("id", pb.StringValues(values=["one"])),
        column("id", pb.StringValues(values=["1.555"])),
        column("id", pb.StringValues(values=["12345.00"])),
        column("id", pb.StringValues(values=["NaN"])),
        column("money", pb.DoubleValues(values=[1.5])),
        column("single", pb.DoubleValues(values=[1e39])),
        column("items", pb.NestedValues(values=[pb.Values(int64s=[1])])),
        column("vector", pb.NestedValues(values=[pb.Values(floats=[1.0])])),
        column("vector", pb.NestedValues(values=[pb.Values(floats=[1.0, 2.0], nulls=b"\x02")])),
        column("record", pb.NestedValues(values=[pb.Values()])),
        column(
            "record", pb.NestedValues(values=[pb.Values(int32s=[0], int64s=[0], nested=[pb.Values(strings=["x"])])])
        ),
    ],
    ids=lambda one: f"{one.name} {one.WhichOneof('values')}",
)
def test_a_value_that_is_not_of_the_type_is_refused_by_the_server(lookups: Lookups, wrong: pb.Column) -> None:
    sent: list[bytes] = []
    FeatureClient(
        transport=lambda method, data: (sent.append(data), lookups.transport(method, data))[1]
    ).get_online_features("svc", [ROW])
    request = pb.GetOnlineFeaturesRequest.FromString(sent[-1])
    for one in request.columns:
        if one.name == wrong.name:
            one.CopyFrom(wrong)
    with pytest.raises(InvalidRequestError, match=f'Column "{wrong.name}" of the request') as caught:
        lookups.get_online_features(request.SerializeToString())
    assert caught.value.hint


def test_an_infinity_is_a_float32_and_the_greatest_one_too(client: FeatureClient) -> None:
    for value in (float("inf"), 3.4028234663852886e38, float("nan")):
        client.get_online_features("svc", [ROW | {"single": value}])
