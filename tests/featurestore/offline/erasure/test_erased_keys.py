"""Whose rows are meant: whatever types a file keeps the keys in, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal as Number
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.definitions import Entity
from featurestore.errors import SchemaError
from featurestore.offline.erasure.erased_keys import ErasedKeys, keys_of, plain_text
from featurestore.types import Bytes, Date, Decimal, DType, Float64, Int64, String, Timestamp

ValuesOf = Callable[[DType], st.SearchStrategy[Any]]


def keys(*rows: tuple[Any, ...], dtypes: tuple[DType, ...] = (Int64,)) -> ErasedKeys:
    names = [f"k{place}" for place in range(len(dtypes))]
    entity = Entity(name="user", join_keys=names, dtypes=dtypes)
    return keys_of(entity, [dict(zip(names, row, strict=True)) for row in rows])


@settings(deadline=None)
@given(data=st.data())
def test_just_the_rows_of_the_keys_are_found_whatever_their_types(
    data: st.DataObject, scalar_types: st.SearchStrategy[DType], values_of: ValuesOf
) -> None:
    dtypes = tuple(data.draw(st.lists(scalar_types, min_size=1, max_size=3)))
    pools = [data.draw(st.lists(values_of(one).filter(lambda v: v == v), min_size=1, max_size=3)) for one in dtypes]
    row = st.tuples(*(st.sampled_from(pool) for pool in pools))
    erased = data.draw(st.lists(row, min_size=1, max_size=3))
    held = data.draw(st.lists(st.tuples(*(st.none() | st.sampled_from(pool) for pool in pools)), max_size=8))
    columns = [pa.array([one[place] for one in held], dtype.to_arrow()) for place, dtype in enumerate(dtypes)]
    found = keys(*erased, dtypes=dtypes).mask(columns).to_pylist()
    # What the columns hold, as a float of 32 bits is not what was written; equality of Python's values is the oracle.
    as_held = list(zip(*(column.to_pylist() for column in columns), strict=True))
    kept = [
        tuple(pa.scalar(part, dtype.to_arrow()).as_py() for part, dtype in zip(one, dtypes, strict=True))
        for one in erased
    ]
    assert found == [one in kept for one in as_held]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([17, 18, None]),
        pa.array([17, 18, None], pa.int32()),
        pa.array([17.0, 17.5, None]),
        pa.array(["17", "17.0", None]),
        pa.array(["17", "017", None]).dictionary_encode(),
        pa.array([Number("17.00"), Number("17.01"), None]),
        pa.array(["17", "18", None], pa.large_string()),
    ],
)
def test_a_key_is_found_where_another_version_keeps_it_in_another_type(column: pa.Array) -> None:
    assert keys((17,)).mask([column]).to_pylist() == [True, False, False]


def test_parts_belong_together() -> None:
    both = keys((1, "23"), (12, "3"), dtypes=(Int64, String))
    columns = [pa.array([1, 12, 1, 12, None]), pa.array(["23", "3", "3", "23", "3"])]
    assert both.mask(columns).to_pylist() == [True, True, False, False, False]


def test_rows_that_were_refused_are_known_by_what_was_meant() -> None:
    written = pa.array([" 17", "17.0", "1.7e1", "017", "seventeen", None, "18"])
    found = keys((17,)).mask_as_written([written], [pa.int64()]).to_pylist()
    assert found == [True, True, True, True, False, False, False]
    texts = keys(("17",), dtypes=(String,)).mask_as_written([pa.array(["17", " 17", "017"])], [pa.string()])
    assert texts.to_pylist() == [True, True, False]  # of texts only the blanks around them do not count


def test_a_text_that_was_never_taken_apart_has_a_key_only_as_words_of_it() -> None:
    one = keys((17,))
    assert one.in_text("{'user_id': '17', 'total': 'x'}")
    assert not one.in_text("{'user_id': '170', 'total': '317'}")
    assert not keys((17, "a"), dtypes=(Int64, String)).in_text("17 and b")


def test_minus_zero_is_zero() -> None:
    assert keys((0.0,), dtypes=(Float64,)).mask([pa.array([-0.0, 0.0, 1.0])]).to_pylist() == [True, True, False]
    assert keys((-0.0,), dtypes=(Float64,)).mask([pa.array([0.0])]).to_pylist() == [True]


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        (Int64, 17, "17"),
        (Bytes, b"ab", "6162"),
        (Date, "2020-01-31", "2020-01-31"),
        (Timestamp, datetime(2020, 1, 1, tzinfo=UTC), "2020-01-01T01:00:00+01:00"),
        (Decimal(10, 2), Number("17.50"), "17.5"),
    ],
)
def test_a_key_may_be_named_by_its_text(dtype: DType, value: Any, text: str) -> None:
    assert keys((value,), dtypes=(dtype,)) == keys((text,), dtypes=(dtype,))


@pytest.mark.parametrize(
    ("given_keys", "message"),
    [
        ([], "no key"),
        ([{}], 'needs "k0"'),
        ([{"k0": None}], 'needs "k0"'),
        ([{"k0": "secret-x"}], "not Int64"),
        ([{"k0": 1.5}], "not Int64"),
        ([{"k0": float("nan")}], "not Int64"),
        ([{"k0": 1, "k1": 2}], 'has no "k1"'),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(given_keys: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        keys_of(Entity(name="user", join_keys=["k0"], dtypes=[Int64]), given_keys)
    assert "secret-x" not in str(caught.value)


def test_numbers_have_one_text_whatever_they_are() -> None:
    assert {plain_text(one) for one in (17, 17.0, Number("17.00"), Number("1.7E1"))} == {"17"}
    assert plain_text(True) == "true"
    assert plain_text(-0.0) == "0"
