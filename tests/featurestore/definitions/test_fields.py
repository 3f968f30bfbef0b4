"""Fields: their default and the checks that need a pattern, other rows or the whole load."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
    content_hash,
    storage_hash,
)
from featurestore.errors import DefinitionError


def view_of(*schema: Field) -> FeatureView:
    return FeatureView(name="weather", entities=[Entity(name="airport")], schema=list(schema))


@pytest.mark.parametrize(
    ("build", "message", "hint"),
    [
        (lambda: Field(name="x", dtype=types.Int64, default="1"), "default of field \"x\" is '1'", "an integer"),
        (lambda: Field(name="x", dtype=types.Int64, default=1.5), "which is not Int64", "an integer"),
        (lambda: Field(name="x", dtype=types.Embedding(2), default=[1.0]), "which is not Embedding", "a list of as"),
        (lambda: Field(name="x", dtype=types.Int64, regex="a"), "is Int64: regex has no meaning", ""),
        (lambda: Field(name="x", dtype=types.String, regex=5), "regex=5, which is not a text", ""),
        (lambda: Field(name="x", dtype=types.String, regex="(a"), "not a pattern: missing [)]", "RE2"),
        (lambda: Field(name="x", dtype=types.String, regex="(?=a)a"), "not a pattern: invalid perl operator", "RE2"),
        (lambda: Field(name="x", dtype=types.String, regex=r"(a)\1"), "not a pattern: invalid escape", "RE2"),
        (lambda: Field(name="x", dtype=types.String, regex="a)|(b"), "not a pattern: unexpected [)]", "RE2"),
        (lambda: Field(name="x", dtype=types.String, regex=r"\Qa"), "not a pattern: missing [)]", "RE2"),
        (lambda: Field(name="x", dtype=types.String, regex="\ud800"), "not a pattern", "RE2"),
        (lambda: Field(name="x", dtype=types.String, unique_within="view"), "unique_within='view'", '"load" or "ta'),
        (
            lambda: Field(name="x", dtype=types.Array(types.Int64), unique_within="load"),
            "unique_within has no meaning",
            "",
        ),
        (lambda: Field(name="x", dtype=types.Int64, max_null_rate=1), "max_null_rate=1", "from 0 to under 1"),
        (lambda: Field(name="x", dtype=types.Int64, max_null_rate=-0.1), "max_null_rate=-0.1", "from 0"),
        (lambda: Field(name="x", dtype=types.Int64, max_null_rate="5%"), "max_null_rate='5%'", "0.05"),
        (lambda: Field(name="x", dtype=types.Int64, max_null_rate=float("nan")), "max_null_rate=nan", "0.05"),
        (lambda: Field(name="x", dtype=types.Decimal(3, 1), le=100), "a number in its le that no", "-99.9 to 99.9"),
    ],
)
def test_what_cannot_be_is_refused_when_the_field_is_built(
    build: Callable[[], object], message: str, hint: str
) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        build()
    assert hint in caught.value.hint


def test_what_is_not_set_stands_in_no_spec() -> None:
    assert Field(name="x", dtype=types.String).spec() == {"name": "x", "dtype": "String"}


@pytest.mark.parametrize(
    "field",
    [
        Field(name="x", dtype=types.String, regex="[a-z]+", unique_within="table", max_null_rate=0.05, default="none"),
        Field(name="x", dtype=types.Float64, default=float("nan")),
        Field(name="x", dtype=types.Timestamp, default=datetime(1, 1, 1, tzinfo=UTC)),
        Field(name="x", dtype=types.Date, default=date(2013, 1, 1)),
        Field(name="x", dtype=types.Bytes, default=b"\xff"),
        Field(name="x", dtype=types.Decimal(4, 2), default=1, ge=0.5),
        Field(name="x", dtype=types.Struct({"a": types.Array(types.Bytes)}), default={"a": [b"\x00", None]}),
        Field(name="x", dtype=types.Bool, default=False),
    ],
)
def test_a_field_comes_back_from_its_spec(field: Field) -> None:
    again = Field.from_spec(field.spec(), field.notes())
    assert again == field
    assert again.spec() == field.spec()
    service = FeatureService(name="s", features=[view_of(field)])
    assert FeatureService.from_spec(service.spec(), service.notes()) == service


def test_a_default_changes_what_is_seen_and_not_what_is_stored() -> None:
    plain = view_of(Field(name="x", dtype=types.Int64))
    filled = view_of(Field(name="x", dtype=types.Int64, default=0))
    assert content_hash(plain) != content_hash(filled)
    assert storage_hash(plain) == storage_hash(filled)
    assert filled.spec()["schema"] == [{"name": "x", "dtype": "Int64", "default": 0}]
    on_demand = [
        OnDemandFeatureView(
            name="o",
            request=[Field(name="hour", dtype=types.Int64, default=default)],
            schema=[Field(name="y", dtype=types.Int64)],
            expressions={"y": "hour"},
        )
        for default in (None, 0)
    ]
    assert len({content_hash(one) for one in on_demand}) == 2


@pytest.mark.parametrize("check", [{"regex": "a"}, {"unique_within": "load"}, {"max_null_rate": 0}])
def test_a_check_decides_which_rows_are_stored(check: dict[str, Any]) -> None:
    plain, checked = view_of(Field(name="x", dtype=types.String)), view_of(Field(name="x", dtype=types.String, **check))
    assert content_hash(plain) != content_hash(checked)
    assert storage_hash(plain) != storage_hash(checked)


@pytest.mark.parametrize(
    ("dtype", "default", "values"),
    [
        (types.Float64, 0.5, [None, float("nan"), 1.0]),
        (types.Decimal(4, 2), Decimal("1.50"), [None, Decimal("2.00")]),
        (types.Array(types.Int64), [1, None], [None, [], [2]]),
        (types.Embedding(2), [1.0, 2.0], [None, [3.0, 4.0]]),
        (types.Struct({"a": types.Int64}), {"a": None}, [None, {"a": 1}]),
        (types.Bool, False, [None, True]),
    ],
    ids=str,
)
def test_a_default_fills_nulls_and_nothing_else(dtype: types.DType, default: Any, values: list[Any]) -> None:
    field = Field(name="x", dtype=dtype, default=default)
    column = pa.array(values, dtype.to_arrow())
    for given in (column, pa.chunked_array([column, column.slice(1)])):
        found = field.filled(given)
        assert found.type == given.type
        wanted = [default if value is None else value for value in given.to_pylist()]
        assert repr(found.to_pylist()) == repr(wanted)
    assert Field(name="x", dtype=dtype).filled(column) is column
