"""Two keys are equal exactly when their bytes are."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from featurestore import types
from featurestore.online.keys import MAX_BYTES, KeyLayout
from featurestore.types import (
    Bool,
    Bytes,
    Date,
    Decimal,
    DType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Timestamp,
    exact_decimal,
)

MONEY = Decimal(38, 9)

VALUES: dict[DType, st.SearchStrategy[Any]] = {
    Bool: st.booleans(),
    Float32: st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1e-45]),
    Float64: st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 5e-324]),
    MONEY: st.integers(1 - 10**38, 10**38 - 1).map(lambda digits: exact_decimal(f"{digits}e-9", MONEY)),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1),
    String: st.text(max_size=3) | st.text(min_size=300, max_size=320),
    Bytes: st.binary(max_size=3) | st.binary(min_size=470, max_size=490),
    Date: st.integers(-1000, 1000),
    Timestamp: st.integers(-(2**60), 2**60),
}


@st.composite
def two_keys(draw: st.DrawFn) -> tuple[KeyLayout, tuple[Any, ...], tuple[Any, ...]]:
    dtypes = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    key = st.tuples(*[VALUES[dtype] for dtype in dtypes])
    return KeyLayout({f"k{index}": dtype for index, dtype in enumerate(dtypes)}), draw(key), draw(key)


@given(two_keys())
def test_key_bytes_are_equal_exactly_when_the_keys_are(
    case: tuple[KeyLayout, tuple[Any, ...], tuple[Any, ...]],
) -> None:
    layout, one, other = case
    first, second = layout.encode([list(pair) for pair in zip(one, other, strict=True)])
    assert (first == second) == (one == other)


@given(two_keys())
def test_keys_fit_into_lmdb_with_a_prefix(case: tuple[KeyLayout, tuple[Any, ...], tuple[Any, ...]]) -> None:
    layout, one, _ = case
    (key,) = layout.encode([[part] for part in one])
    assert key is not None
    assert len(key) <= MAX_BYTES <= 511 - 8


def test_parts_do_not_run_into_each_other() -> None:
    numbers = KeyLayout({"a": Int64, "b": Int64})
    assert len(set(numbers.encode([[1, 12], [23, 3]]))) == 2
    texts = KeyLayout({"a": String, "b": String})
    assert len(set(texts.encode([["a", "ab", ""], ["bc", "c", "abc"]]))) == 3


def test_a_short_key_cannot_pose_as_the_hash_of_a_long_one() -> None:
    layout = KeyLayout({"a": Bytes})
    (hashed,) = layout.encode([[b"x" * 1000]])
    assert hashed is not None
    (posing,) = layout.encode([[hashed]])
    assert posing != hashed
    assert len(hashed) == 33


@given(st.data(), st.sampled_from(sorted(VALUES, key=str)))
def test_a_key_of_one_part_is_made_alone_as_with_others(data: st.DataObject, dtype: DType) -> None:
    layout, value = KeyLayout({"key": dtype}), data.draw(VALUES[dtype])
    assert [layout.encode_one(value)] == layout.encode([[value]])


def test_a_null_part_makes_no_key() -> None:
    assert KeyLayout({"a": String}).encode([[None, "x"]])[0] is None
    assert KeyLayout({"a": String, "b": Int64}).encode([["x", "x"], [None, 1]])[0] is None


def test_minus_zero_is_zero_and_nan_is_no_key() -> None:
    for dtype in (Float32, Float64):
        zero, minus, nan, other = KeyLayout({"a": dtype}).encode([[0.0, -0.0, math.nan, 1.0]])
        assert zero == minus != other
        assert nan is None
        assert KeyLayout({"a": dtype, "b": String}).encode([[math.nan, 1.0], ["x", "x"]])[0] is None


def test_a_float_key_is_rounded_as_a_column_of_its_type_is() -> None:
    column = pa.array([0.1, 1e-46, 16_777_217.0])
    batch = pa.record_batch({"a": column.cast(pa.float32())})
    layout = KeyLayout({"a": Float32})
    assert layout.encode([column.to_pylist()]) == layout.encode_batch(batch)


def test_batches_and_requests_make_the_same_keys() -> None:
    layout = KeyLayout({"s": String, "d": Date, "t": Timestamp, "b": Bool, "i": Int32})
    instant = datetime(2013, 1, 1, 7, tzinfo=UTC)
    batch = pa.record_batch(
        {
            "s": pa.array(["JFK", None]),
            "d": pa.array([date(2013, 1, 1)] * 2),
            "t": pa.array([instant] * 2, pa.timestamp("us", tz="UTC")),
            "b": pa.array([True] * 2),
            "i": pa.array([-1] * 2, pa.int32()),
        }
    )
    days = (date(2013, 1, 1) - date(1970, 1, 1)).days
    expected = layout.encode([["JFK"], [days], [types.microseconds(instant)], [True], [-1]])
    assert layout.encode_batch(batch) == [*expected, None]


@given(data=st.data(), dtypes=st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3))
def test_a_batch_makes_the_keys_that_its_rows_make_one_by_one(data: st.DataObject, dtypes: list[DType]) -> None:
    layout = KeyLayout({f"k{place}": one for place, one in enumerate(dtypes)})
    nan = st.just(math.nan)
    parts = [st.none() | (VALUES[one] | nan if one in (Float32, Float64) else VALUES[one]) for one in dtypes]
    rows = data.draw(st.lists(st.tuples(*parts), max_size=4))
    columns = [[row[place] for row in rows] for place in range(len(dtypes))]
    plain = {Date: pa.int32(), Timestamp: pa.int64()}
    batch = pa.record_batch(
        {
            name: pa.array(column, plain.get(dtype, dtype.to_arrow())).cast(dtype.to_arrow())
            for name, column, dtype in zip(layout.names, columns, dtypes, strict=True)
        }
    )
    assert layout.encode_batch(batch) == layout.encode(columns)


def test_a_key_of_very_many_numbers_is_kept_as_its_hash_too() -> None:
    layout = KeyLayout({f"k{place}": Int64 for place in range(60)})
    batch = pa.record_batch({name: pa.array([7]) for name in layout.names})
    assert layout.encode_batch(batch) == layout.encode([[7]] * 60)
    (key,) = layout.encode_batch(batch)
    assert key is not None
    assert len(key) == 33


def test_the_bytes_of_a_key_do_not_change_between_releases() -> None:
    dtypes = (Bool, Int32, Int64, Float32, Float64, Date, Timestamp, MONEY, String, Bytes)
    values = [True, -2, 3, 0.5, -0.5, 1, -1, exact_decimal("1.5", MONEY), "hé", b"\x00"]
    layout = KeyLayout({f"k{place}": dtype for place, dtype in enumerate(dtypes)})
    (key,) = layout.encode([[value] for value in values])
    assert key is not None
    assert key.hex() == (
        "0001fffffffe00000000000000033f000000bfe000000000000000000001ffffffffffffffff"
        "00000000000000000000000059682f000000000368c3a90000000100"
    )


@given(data=st.data(), dtypes=st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3))
def test_a_key_can_be_read_back_unless_it_is_kept_as_its_hash(data: st.DataObject, dtypes: list[DType]) -> None:
    layout = KeyLayout({f"k{place}": one for place, one in enumerate(dtypes)})
    parts = tuple(data.draw(VALUES[one]) for one in dtypes)
    (key,) = layout.encode([[part] for part in parts])
    assert key is not None
    again = layout.decode(key)
    if again is None:
        assert len(key) == 33
    else:
        assert layout.encode([[part] for part in again]) == [key]
