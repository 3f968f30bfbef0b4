"""Records with defaults are records like others: canonical, complete, and untouched where nothing is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from featurestore import types
from featurestore.definitions import Field
from featurestore.online.defaults import Defaults, defaults_of
from featurestore.online.rowcodec import NOT_FOUND, RowCodec
from featurestore.v1 import serving_pb2 as pb

FIELDS = [
    Field(name="a", dtype=types.Float64, default=1.5),
    Field(name="b", dtype=types.String),
    Field(name="c", dtype=types.Embedding(2), default=[1.0, 2.0]),
    Field(name="d", dtype=types.Float32),
    Field(name="e", dtype=types.String, default="none" * 40),
    Field(name="f", dtype=types.Array(types.Int64), default=[7, None]),
    Field(name="g", dtype=types.Bool, default=True),
]
FULL: dict[str, Any] = {"a": 9.0, "b": "x", "c": [3.0, 4.0], "d": 5.0, "e": "e", "f": [], "g": False}
EVENT = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def encoded(**changes: Any) -> bytes:
    columns = {one.name: pa.array([(FULL | changes)[one.name]], one.dtype.to_arrow()) for one in FIELDS}
    columns["event_timestamp"] = pa.array([EVENT], pa.timestamp("us", tz="UTC"))
    return RowCodec(FIELDS).encode(pa.table(columns))[0]


def row(record: bytes) -> pb.FeatureRow:
    (found,) = pb.GetOnlineFeaturesResponse.FromString(record).rows
    return found


def test_a_record_that_lacks_nothing_is_sent_as_it_is_stored() -> None:
    defaults = Defaults(FIELDS)
    for record in (encoded(), encoded(b=None, d=None)):
        assert defaults(record) is record


def test_a_null_with_a_default_is_as_if_the_default_were_stored() -> None:
    defaults = Defaults(FIELDS)
    for one in FIELDS:
        for other in ("b", "d"):
            wanted = encoded(**{other: None, one.name: one.default})
            assert defaults(encoded(**{other: None, one.name: None})) == wanted


def test_a_row_that_is_not_there_has_the_defaults_and_nulls() -> None:
    found = row(Defaults(FIELDS).not_found)
    wanted = row(encoded(**{one.name: one.default for one in FIELDS}))
    wanted.status = pb.ROW_STATUS_NOT_FOUND
    wanted.ClearField("event_timestamp")
    assert found == wanted
    assert found.nulls == bytes([0b0001010])


def test_a_row_that_is_too_old_tells_its_time() -> None:
    defaults = Defaults(FIELDS)
    for instant in (0, -5, 2**62):
        found = row(defaults.outside_max_age(instant))
        assert (found.status, found.event_timestamp) == (pb.ROW_STATUS_OUTSIDE_MAX_AGE, instant)
        found.status = pb.ROW_STATUS_NOT_FOUND
        found.ClearField("event_timestamp")
        assert found == row(defaults.not_found)


def test_the_records_are_canonical_protobuf() -> None:
    defaults = Defaults(FIELDS)
    for record in (defaults.not_found, defaults.outside_max_age(5), defaults(encoded(a=None, e=None))):
        assert pb.GetOnlineFeaturesResponse.FromString(record).SerializeToString(deterministic=True) == record


def test_a_row_of_the_first_instant_is_filled_too() -> None:
    """Its event time is zero, which protobuf leaves out; the codec writes it."""
    codec = RowCodec(FIELDS[:1])
    zero = pa.array([0], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    (record,) = codec.encode(pa.table({"a": pa.array([None], pa.float64()), "event_timestamp": zero}))
    assert list(row(Defaults(FIELDS[:1])(record)).doubles) == [1.5]


def test_fields_without_defaults_need_none() -> None:
    assert defaults_of([FIELDS[1], FIELDS[3]]) is None
    assert defaults_of([]) is None
    assert Defaults(FIELDS).not_found != NOT_FOUND
