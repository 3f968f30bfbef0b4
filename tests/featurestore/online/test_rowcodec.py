"""The row codec writes what the official protobuf parser reads."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import OnlineStoreError
from featurestore.online.rowcodec import NOT_FOUND, RowCodec, outside_max_age
from featurestore.types import Bool, Bytes, Date, DType, Float32, Float64, Int32, Int64, String, Timestamp
from featurestore.v1 import serving_pb2 as pb

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")

VALUES: dict[DType, st.SearchStrategy[Any]] = {
    Bool: st.booleans(),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1),
    Float32: st.floats(width=32),
    Float64: st.floats(),
    String: st.text(max_size=200),
    Bytes: st.binary(max_size=200),
    Date: st.dates(),
    Timestamp: st.datetimes(timezones=st.just(UTC)),
}


def wire(value: Any, dtype: DType) -> Any:
    """Return a value as FeatureRow holds it."""
    if dtype is Date:
        return (value - date(1970, 1, 1)).days
    if dtype is Timestamp:
        return types.microseconds(value)
    return value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return (
        bool(one == other) and math.copysign(1, one or 0) == math.copysign(1, other or 0)
        if isinstance(one, float)
        else bool(one == other)
    )


def parse(records: list[bytes]) -> list[pb.FeatureRow]:
    return list(pb.GetOnlineFeaturesResponse.FromString(b"".join(records)).rows)


def values_of(row: pb.FeatureRow, fields: list[Field]) -> list[Any]:
    """Read a row as the contract says, one value at a time."""
    taken: dict[str, int] = {}
    found = []
    for index, one in enumerate(fields):
        place = taken.get(one.dtype.wire, 0)
        taken[one.dtype.wire] = place + 1
        null = bool(row.nulls) and row.nulls[index // 8] >> index % 8 & 1
        value = getattr(row, one.dtype.wire)[place]
        if null:
            assert not value, "a null holds a zero or an empty text"
        found.append(None if null else value)
    return found


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Field], pa.RecordBatch]:
    dtypes = draw(st.lists(st.sampled_from(list(types.BY_NAME.values())), min_size=1, max_size=20))
    fields = [Field(name=f"f{index}", dtype=dtype) for index, dtype in enumerate(dtypes)]
    count = draw(st.integers(0, 6))
    columns = {
        one.name: pa.array(
            draw(st.lists(st.none() | VALUES[one.dtype], min_size=count, max_size=count)), one.dtype.to_arrow()
        )
        for one in fields
    }
    events = draw(st.lists(st.integers(-(2**53), 2**53), min_size=count, max_size=count))
    columns["event_timestamp"] = pa.array(events, pa.int64()).cast(INSTANT)
    return fields, pa.record_batch(columns)


@given(batches())
def test_every_type_reads_back_with_the_official_parser(made: tuple[list[Field], pa.RecordBatch]) -> None:
    fields, batch = made
    records = RowCodec(fields).encode(batch)
    rows = parse(records)
    assert len(rows) == batch.num_rows
    events = batch["event_timestamp"].cast(pa.int64()).to_pylist()
    for index, row in enumerate(rows):
        assert row.status == pb.ROW_STATUS_PRESENT
        assert row.event_timestamp == events[index]
        for one, value in zip(fields, values_of(row, fields), strict=True):
            expected = batch[one.name][index]
            if not expected.is_valid:
                assert value is None
            else:
                number = (
                    expected.cast(pa.int64() if one.dtype is Timestamp else pa.int32())
                    if one.dtype
                    in (
                        Date,
                        Timestamp,
                    )
                    else expected
                )
                assert same(number.as_py(), value)


@given(batches())
def test_records_are_the_canonical_bytes_of_protobuf(made: tuple[list[Field], pa.RecordBatch]) -> None:
    fields, batch = made
    events = batch["event_timestamp"].cast(pa.int64()).to_pylist()
    for record, event in zip(RowCodec(fields).encode(batch), events, strict=True):
        # Offsets are fixed, so an event time of zero is written too, where protobuf leaves it out.
        assert (
            event == 0
            or pb.GetOnlineFeaturesResponse.FromString(record).SerializeToString(deterministic=True) == record
        )


@given(batches())
def test_decoding_gives_the_columns_back_and_null_where_there_is_no_record(
    made: tuple[list[Field], pa.RecordBatch],
) -> None:
    fields, batch = made
    codec = RowCodec(fields)
    decoded = codec.decode([*codec.encode(batch), None])
    for one in fields:
        assert decoded[one.name].type == one.dtype.to_arrow()
        for expected, found in zip(
            [*batch[one.name], pa.scalar(None, one.dtype.to_arrow())], decoded[one.name], strict=True
        ):
            assert expected.is_valid == found.is_valid
            if one.dtype is Timestamp:
                expected, found = expected.cast(pa.int64()), found.cast(pa.int64())
            assert same(expected.as_py(), found.as_py())


@given(batches(), st.data())
def test_a_projection_is_the_record_of_a_view_with_those_features_only(
    made: tuple[list[Field], pa.RecordBatch], data: st.DataObject
) -> None:
    fields, batch = made
    chosen = data.draw(st.lists(st.sampled_from(fields), min_size=1, unique_by=lambda one: one.name))
    codec = RowCodec(fields)
    project = codec.projection([one.name for one in chosen])
    assert [project(record) for record in codec.encode(batch)] == RowCodec(chosen).encode(batch)


@given(batches())
def test_a_prefix_stands_before_each_record(made: tuple[list[Field], pa.RecordBatch]) -> None:
    fields, batch = made
    codec = RowCodec(fields)
    prefix = np.arange(batch.num_rows * 3, dtype=np.uint8).reshape(-1, 3)
    expected = [bytes(row) + record for row, record in zip(prefix, codec.encode(batch), strict=True)]
    assert codec.encode(batch, prefix=prefix) == expected


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
