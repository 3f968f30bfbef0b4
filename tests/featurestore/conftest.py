"""Every type, and values of it, as Hypothesis strategies."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal as Number
from typing import Any

import pytest
from hypothesis import strategies as st

from featurestore import types
from featurestore.types import Array, Decimal, DType, Embedding, Struct

ValuesOf = Callable[[DType], st.SearchStrategy[Any]]

_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "Bool": st.booleans(),
    "Int32": st.integers(-(2**31), 2**31 - 1),
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "Float32": st.floats(width=32),
    "Float64": st.floats(),
    "String": st.text(max_size=200),
    "Bytes": st.binary(max_size=200),
    "Date": st.dates(),
    "Timestamp": st.datetimes(timezones=st.just(UTC)),
}


def _values(dtype: DType) -> st.SearchStrategy[Any]:
    if dtype.fields:
        return st.fixed_dictionaries({name: st.none() | _values(inner) for name, inner in dtype.fields})
    if dtype.size:
        return st.lists(st.floats(width=32), min_size=dtype.size, max_size=dtype.size)
    if dtype.element is not None:
        return st.lists(st.none() | _values(dtype.element), max_size=5)
    if dtype.precision:
        return st.integers(1 - 10**dtype.precision, 10**dtype.precision - 1).map(lambda digits: _scaled(digits, dtype))
    return _SCALARS[dtype.name]


def _scaled(digits: int, dtype: DType) -> Number:
    number = Number(digits).as_tuple()
    return Number((number.sign, number.digits, -dtype.scale))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return (
            math.isnan(other) if math.isnan(one) else (one, math.copysign(1, one)) == (other, math.copysign(1, other))
        )
    return type(one) is type(other) and bool(one == other)


_names = st.sampled_from(["a", "b", "end", "Select", "x_1"])
_scalars = st.sampled_from([*types.BY_NAME.values()]) | st.integers(1, 38).flatmap(
    lambda precision: st.integers(0, precision).map(lambda scale: Decimal(precision, scale))
)
_leaves = _scalars | st.integers(1, 4).map(Embedding)
_inner = st.recursive(
    _leaves,
    lambda inner: inner.map(Array) | st.dictionaries(_names, inner, min_size=1, max_size=3).map(Struct),
    max_leaves=3,
)
_types = _leaves | _inner.map(Array) | st.dictionaries(_names, _inner, min_size=1, max_size=3).map(Struct)


@pytest.fixture(scope="session")
def scalar_types() -> st.SearchStrategy[DType]:
    """Any type that a key may have."""
    return _scalars


@pytest.fixture(scope="session")
def any_type() -> st.SearchStrategy[DType]:
    """Any type, nested ones among them."""
    return _types


@pytest.fixture(scope="session")
def values_of() -> ValuesOf:
    """Give a strategy for the values of a type that are not null, as Arrow gives them to Python."""
    return _values


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    """Compare values bit for bit, but NaN is NaN."""
    return _same
