"""Arrays, embeddings and structs as messages: what is written reads back, and what is laid out otherwise is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import assume, given
from hypothesis import strategies as st

from featurestore.types import Array, Bool, DType, Embedding, Float64, Int32, Int64, String, Struct
from featurestore.types.wire import from_values, to_values
from featurestore.v1 import serving_pb2 as pb

NESTED = [
    Array(Int64),
    Array(Array(String)),
    Embedding(2),
    Array(Embedding(2)),
    Struct({"a": Int64, "b": Embedding(2)}),
]


def as_is(value: Any, _: DType) -> Any:
    return value


@given(data=st.data())
def test_what_is_written_reads_back(
    data: st.DataObject, any_type: st.SearchStrategy[DType], values_of: Any, same: Callable[[Any, Any], bool]
) -> None:
    dtype = data.draw(any_type)
    # Scalars that the wire holds in another form are the caller's.
    assume(not dtype.scalar and not {one.kind for one in dtype.parts()} & {"Decimal", "Date", "Timestamp"})
    value = data.draw(values_of(dtype))
    message = to_values(value, dtype, as_is)
    assert same(from_values(pb.Values.FromString(message.SerializeToString()), dtype, as_is), value)


def test_the_layout_is_that_of_a_row() -> None:
    message = to_values(
        {"a": None, "b": [1.0, 2.0], "c": [None, True]},
        Struct({"a": Int64, "b": Embedding(2), "c": Array(Bool)}),
        as_is,
    )
    assert message == pb.Values(
        nulls=b"\x01", int64s=[0], floats=[1.0, 2.0], nested=[pb.Values(nulls=b"\x01", bools=[False, True])]
    )
    assert to_values([], Array(Int64), as_is) == pb.Values(), "an empty array has nothing at all"
    assert to_values([None, [1.0, 2.0]], Array(Embedding(2)), as_is).floats == [0.0, 0.0, 1.0, 2.0]


def test_arrays_of_numpy_and_structs_without_a_field_are_taken() -> None:
    assert to_values(np.array([1.0, 2.0]), Embedding(2), as_is).floats == [1.0, 2.0]
    assert to_values({}, Struct({"a": Int64}), as_is) == to_values({"a": None}, Struct({"a": Int64}), as_is)


@pytest.mark.parametrize(
    ("value", "dtype", "error"),
    [
        ([1.0], Embedding(2), ValueError),
        ([1.0, None], Embedding(2), ValueError),
        ("ab", Array(String), TypeError),
        (7, Array(Int64), TypeError),
        ([1], Struct({"a": Int64}), TypeError),
        ({"b": 1}, Struct({"a": Int64}), ValueError),
        ([[1.0]], Array(Embedding(2)), ValueError),
    ],
    ids=repr,
)
def test_a_value_of_another_form_is_refused(value: Any, dtype: DType, error: type[Exception]) -> None:
    with pytest.raises(error):
        to_values(value, dtype, as_is)


@pytest.mark.parametrize(
    ("message", "dtype"),
    [
        (pb.Values(doubles=[1.0]), Array(Int64)),
        (pb.Values(int64s=[1], doubles=[1.0]), Array(Int64)),
        (pb.Values(floats=[1.0]), Embedding(2)),
        (pb.Values(floats=[1.0, 2.0], nulls=b"\x01"), Embedding(2)),
        (pb.Values(floats=[1.0, 2.0, 3.0]), Array(Embedding(2))),
        (pb.Values(), Struct({"a": Int64})),
        (pb.Values(int64s=[1, 2]), Struct({"a": Int64})),
        (pb.Values(nested=[pb.Values(int32s=[1])]), Array(Array(Int64))),
        (pb.Values(nested=[pb.Values()]), Struct({"a": Struct({"b": Int32})})),
    ],
    ids=repr,
)
def test_a_message_that_is_laid_out_otherwise_is_refused(message: pb.Values, dtype: DType) -> None:
    with pytest.raises(ValueError):
        from_values(message, dtype, as_is)


@given(st.binary(max_size=60), st.sampled_from(NESTED))
def test_whatever_message_comes_is_read_or_refused(data: bytes, dtype: DType) -> None:
    with contextlib.suppress(DecodeError, ValueError):
        value = from_values(pb.Values.FromString(data), dtype, as_is)
        assert isinstance(value, dict if dtype.fields else list)


def test_the_elements_of_an_array_take_no_more_than_their_list() -> None:
    message = to_values([float(number) for number in range(1000)], Array(Float64), as_is)
    assert len(message.SerializeToString()) == 8 * 1000 + 3
