"""The row codec writes what the official protobuf parser reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import OnlineStoreError
from featurestore.online.base import order_prefix
from featurestore.online.rowcodec import NOT_FOUND, RowCodec, outside_max_age
from featurestore.types import Bool, Bytes, DType, Embedding, Float32, Float64, Int32, Int64, String
from featurestore.v1 import serving_pb2 as pb

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")

Made = tuple[list[Field], pa.RecordBatch]
Same = Callable[[Any, Any], bool]


def parse(records: list[bytes]) -> list[pb.FeatureRow]:
    return list(pb.GetOnlineFeaturesResponse.FromString(b"".join(records)).rows)


def read(message: pb.FeatureRow | pb.Values, dtypes: Sequence[DType]) -> list[Any]:
    """Read a row as the contract says, one value at a time."""
    lists = {wire: list(getattr(message, wire)) for wire in {one.wire for one in dtypes}}
    found: list[Any] = []
    for index, dtype in enumerate(dtypes):
        null = bool(message.nulls) and message.nulls[index // 8] >> index % 8 & 1
        taken = [lists[dtype.wire].pop(0) for _ in range(dtype.size or 1)]
        if null:
            assert taken in ([0] * (dtype.size or 1), [""], [b""], [pb.Values()]), "a null holds zeros or nothing"
        found.append(None if null else taken if dtype.size else one_of(taken[0], dtype))
    assert not any(lists.values()), "nothing is left over"
    return found


def one_of(value: Any, dtype: DType) -> Any:
    if dtype.fields:
        return dict(zip(dict(dtype.fields), read(value, [inner for _, inner in dtype.fields]), strict=True))
    if dtype.element is not None:
        length = len(getattr(value, dtype.element.wire)) // (dtype.element.size or 1)
        return read(value, [dtype.element] * length)
    if dtype.precision:
        return Decimal(value)
    if dtype == types.Date:
        return date(1970, 1, 1) + timedelta(days=value)
    return EPOCH + timedelta(microseconds=value) if dtype == types.Timestamp else value


@pytest.fixture(scope="session")
def batches(any_type: st.SearchStrategy[DType], values_of: Any) -> st.SearchStrategy[Made]:
    return _batches(any_type, values_of)


@st.composite
def _batches(draw: st.DrawFn, any_type: st.SearchStrategy[DType], values_of: Any) -> Made:
    dtypes = draw(st.lists(any_type, min_size=1, max_size=12))
    fields = [Field(name=f"f{index}", dtype=dtype) for index, dtype in enumerate(dtypes)]
    count = draw(st.integers(0, 6))
    columns = {
        one.name: pa.array(
            draw(st.lists(st.none() | values_of(one.dtype), min_size=count, max_size=count)), one.dtype.to_arrow()
        )
        for one in fields
    }
    events = draw(st.lists(st.integers(-(2**53), 2**53), min_size=count, max_size=count))
    columns["event_timestamp"] = pa.array(events, pa.int64()).cast(INSTANT)
    return fields, pa.record_batch(columns)


@settings(deadline=None)
@given(data=st.data())
def test_every_type_reads_back_with_the_official_parser(
    data: st.DataObject, batches: st.SearchStrategy[Made], same: Same
) -> None:
    fields, batch = data.draw(batches)
    rows = parse(RowCodec(fields).encode(batch))
    assert len(rows) == batch.num_rows
    events = batch["event_timestamp"].cast(pa.int64()).to_pylist()
    for index, row in enumerate(rows):
        assert row.status == pb.ROW_STATUS_PRESENT
        assert row.event_timestamp == events[index]
        expected = [batch[one.name][index].as_py() for one in fields]
        assert same(read(row, [one.dtype for one in fields]), expected)


@settings(deadline=None)
@given(data=st.data())
def test_records_are_the_canonical_bytes_of_protobuf(data: st.DataObject, batches: st.SearchStrategy[Made]) -> None:
    fields, batch = data.draw(batches)
    events = batch["event_timestamp"].cast(pa.int64()).to_pylist()
    for record, event in zip(RowCodec(fields).encode(batch), events, strict=True):
        # Offsets are fixed, so an event time of zero is written too, where protobuf leaves it out.
        assert (
            event == 0
            or pb.GetOnlineFeaturesResponse.FromString(record).SerializeToString(deterministic=True) == record
        )


@settings(deadline=None)
@given(data=st.data())
def test_decoding_gives_the_columns_back_and_null_where_there_is_no_record(
    data: st.DataObject, batches: st.SearchStrategy[Made], same: Same
) -> None:
    fields, batch = data.draw(batches)
    codec = RowCodec(fields)
    decoded = codec.decode([*codec.encode(batch), None])
    for one in fields:
        assert decoded[one.name].type == one.dtype.to_arrow()
        assert same(decoded[one.name].to_pylist(), [*batch[one.name].to_pylist(), None])


@settings(deadline=None)
@given(data=st.data())
def test_a_projection_is_the_record_of_a_view_with_those_features_only(
    data: st.DataObject, batches: st.SearchStrategy[Made]
) -> None:
    fields, batch = data.draw(batches)
    chosen = data.draw(st.lists(st.sampled_from(fields), min_size=1, unique_by=lambda one: one.name))
    codec = RowCodec(fields)
    project = codec.projection([one.name for one in chosen])
    assert [project(record) for record in codec.encode(batch)] == RowCodec(chosen).encode(batch)


@settings(deadline=None)
@given(data=st.data())
def test_a_prefix_stands_before_each_record(data: st.DataObject, batches: st.SearchStrategy[Made]) -> None:
    fields, batch = data.draw(batches)
    codec = RowCodec(fields)
    prefix = np.arange(batch.num_rows * 3, dtype=np.uint8).reshape(-1, 3)
    expected = [bytes(row) + record for row, record in zip(prefix, codec.encode(batch), strict=True)]
    assert codec.encode(batch, prefix=prefix) == expected


def test_an_embedding_stands_among_the_floats_at_a_fixed_place() -> None:
    fields = [Field(name="a", dtype=Float32), Field(name="e", dtype=Embedding(2)), Field(name="b", dtype=Float32)]
    batch = pa.record_batch(
        {
            "a": pa.array([1.0, 1.0], pa.float32()),
            "e": pa.array([[2.0, 3.0], None], Embedding(2).to_arrow()),
            "b": pa.array([4.0, 4.0], pa.float32()),
            "event_timestamp": pa.array([EPOCH] * 2, INSTANT),
        }
    )
    rows = parse(RowCodec(fields).encode(batch))
    assert [list(row.floats) for row in rows] == [[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 4.0]]
    assert [row.nulls for row in rows] == [b"", b"\x02"]


def test_a_decimal_is_written_with_all_its_digits_and_no_exponent() -> None:
    fields = [Field(name="m", dtype=types.Decimal(10, 9))]
    batch = pa.record_batch(
        {
            "m": pa.array([Decimal("0.000000001"), Decimal("-1.5")], types.Decimal(10, 9).to_arrow()),
            "event_timestamp": pa.array([EPOCH] * 2, INSTANT),
        }
    )
    assert [row.strings[0] for row in parse(RowCodec(fields).encode(batch))] == ["0.000000001", "-1.500000000"]


def test_rows_beyond_one_chunk_keep_their_places() -> None:
    fields = [Field(name="a", dtype=Int64), Field(name="b", dtype=Float64)]
    numbers = list(range(5000))
    batch = pa.record_batch(
        {
            "a": pa.array([None if number % 3 == 0 else number for number in numbers], pa.int64()),
            "b": pa.array([float(number) for number in numbers]),
            "event_timestamp": pa.array(numbers, pa.int64()).cast(INSTANT),
        }
    )
    decoded = RowCodec(fields).decode(RowCodec(fields).encode(batch))
    assert decoded["a"].equals(batch["a"])
    assert decoded["b"].equals(batch["b"])


def test_the_bytes_of_a_row_do_not_change_between_releases() -> None:
    fields = [
        Field(name="x", dtype=Float64),
        Field(name="n", dtype=Int64),
        Field(name="y", dtype=Float64),
        Field(name="f", dtype=Float32),
        Field(name="i", dtype=Int32),
        Field(name="b", dtype=Bool),
        Field(name="s", dtype=String),
        Field(name="r", dtype=Bytes),
    ]
    batch = pa.RecordBatch.from_pylist(
        [
            {
                "x": 1.0,
                "n": 2,
                "y": None,
                "f": 0.5,
                "i": -1,
                "b": True,
                "s": "hé",
                "r": b"\x00",
                "event_timestamp": EPOCH + timedelta(microseconds=1),
            }
        ],
        schema=pa.schema([(one.name, one.dtype.to_arrow()) for one in fields] + [("event_timestamp", INSTANT)]),
    )
    assert RowCodec(fields).encode(batch)[0].hex() == (
        "82014108011101000000000000001a01042210000000000000f03f0000000000000000"
        "2a0802000000000000003204"
        "0000003f3a04ffffffff4201014a0368c3a9520100"
    )


def test_the_bytes_of_decimals_embeddings_and_nested_values_do_not_change_between_releases() -> None:
    fields = [
        Field(name="a", dtype=types.Array(Int64)),
        Field(name="r", dtype=Bytes),
        Field(name="m", dtype=types.Decimal(4, 2)),
        Field(name="t", dtype=types.Struct({"e": Embedding(1), "s": String})),
        Field(name="e", dtype=Embedding(2)),
    ]
    batch = pa.RecordBatch.from_pylist(
        [
            {
                "a": [1, None],
                "r": b"\x00",
                "m": Decimal("1.5"),
                "t": {"e": [0.5], "s": None},
                "e": [1.0, 2.0],
                "event_timestamp": EPOCH + timedelta(microseconds=1),
            }
        ],
        schema=pa.schema([(one.name, one.dtype.to_arrow()) for one in fields] + [("event_timestamp", INSTANT)]),
    )
    (record,) = RowCodec(fields).encode(batch)
    assert record.hex() == (
        "82014208011101000000000000003208"
        "0000803f000000404a04312e3530520100"
        "5a151a01022a1001000000000000000000000000000000"
        "5a0b1a010232040000003f4a00"
    )


def test_the_bytes_of_days_and_instants_do_not_change_between_releases() -> None:
    fields = [
        Field(name="t", dtype=types.Timestamp),
        Field(name="d", dtype=types.Date),
        Field(name="n", dtype=Int64),
        Field(name="i", dtype=Int32),
        Field(name="l", dtype=types.Array(types.Timestamp)),
        Field(name="m", dtype=types.Array(types.Decimal(3, 1))),
    ]
    batch = pa.RecordBatch.from_pylist(
        [
            {
                "t": EPOCH - timedelta(microseconds=1),
                "d": date(1970, 1, 3),
                "n": 258,
                "i": None,
                "l": [EPOCH, None],
                "m": [Decimal("-0.5")],
                "event_timestamp": EPOCH + timedelta(microseconds=1),
            }
        ],
        schema=pa.schema([(one.name, one.dtype.to_arrow()) for one in fields] + [("event_timestamp", INSTANT)]),
    )
    assert RowCodec(fields).encode(batch)[0].hex() == (
        "82014908011101000000000000001a01082a10ffffffffffffffff02010000000000003a080200000000000000"
        "5a151a01022a1000000000000000000000000000000000"
        "5a064a042d302e35"
    )


def test_the_order_before_a_record_does_not_change_between_releases() -> None:
    order = order_prefix(np.array([1]), np.array([0]), np.array([True]), np.array([2]), np.array([-1]))
    assert order.tobytes().hex() == ("8000000000000001" + "0000000000000000" + "8000000000000002" + "7fffffffffffffff")


def test_every_type_is_among_those_whose_bytes_are_pinned() -> None:
    """A new type needs golden bytes too: bytes that change would be read wrongly, and nobody would be told."""
    pinned = {Float64, Int64, Float32, Int32, Bool, String, Bytes, types.Date, types.Timestamp}
    assert set(types.BY_NAME.values()) == pinned


def test_rows_of_on_demand_views_carry_no_event_time() -> None:
    codec = RowCodec([Field(name="x", dtype=Float64)], event_time=False)
    (record,) = codec.encode(pa.table({"x": pa.array([1.5])}))
    (row,) = parse([record])
    assert (row.status, row.event_timestamp, list(row.doubles)) == (pb.ROW_STATUS_PRESENT, 0, [1.5])
    assert codec.decode([record])["x"].to_pylist() == [1.5]


def test_absent_rows_say_why() -> None:
    missing, old = parse([NOT_FOUND, outside_max_age(-5)])
    assert missing == pb.FeatureRow(status=pb.ROW_STATUS_NOT_FOUND)
    assert old == pb.FeatureRow(status=pb.ROW_STATUS_OUTSIDE_MAX_AGE, event_timestamp=-5)


def test_bytes_that_are_no_record_are_refused() -> None:
    with pytest.raises(OnlineStoreError, match="not a record"):
        RowCodec([Field(name="x", dtype=Float64)]).decode([b"garbage"])
