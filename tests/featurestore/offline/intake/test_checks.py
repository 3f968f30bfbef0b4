"""Checks of a field by its pattern, by exact decimals, and by the share of nulls in a load."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from featurestore.definitions import Entity, FeatureView, Field
from featurestore.errors import DataError
from featurestore.offline.store import OfflineStore
from featurestore.types import Decimal as DecimalType
from featurestore.types import Float32, Float64, Int64, String

START = datetime(2013, 1, 1, tzinfo=UTC)


def view_of(*schema: Field) -> FeatureView:
    return FeatureView(name="one", entities=[Entity(name="thing")], schema=list(schema))


def rows_of(view: FeatureView, *columns: list[Any]) -> pa.Table:
    count = len(columns[0])
    values = {
        one.name: pa.array(column, one.dtype.to_arrow()) for one, column in zip(view.schema, columns, strict=True)
    }
    keys = {"thing": [f"t{row}" for row in range(count)], "event_timestamp": [START] * count}
    return pa.table(keys | values)


@pytest.mark.parametrize(
    ("regex", "good", "bad"),
    [
        ("a|b", ["a", "b", None], ["ab", "", "a\n", "xa"]),
        ("(?i)n[0-9]+", ["N1", "n22"], ["N", "N1 "]),
        ("a.c", ["abc", "aéc"], ["a\nc", "abcd"]),
        ("", ["", None], ["a"]),
        ("(?m)^a$", ["a"], ["a\nb"]),
    ],
)
def test_the_whole_text_must_match_a_pattern(
    store: OfflineStore, regex: str, good: list[str | None], bad: list[str]
) -> None:
    view = view_of(Field(name="x", dtype=String, regex=regex))
    report = store.ingest(view, rows_of(view, good + bad), who="ada")
    assert report.reasons == {f"x does not match {regex}": len(bad)}
    assert report.written == len(good)


@pytest.mark.parametrize(
    ("field", "values", "reasons"),
    [
        (
            Field(name="x", dtype=DecimalType(4, 2), ge=0.1, le=0.3),
            ["0.09", "0.10", "0.30", "0.31", None],
            {"x is under 0.1": 1, "x is over 0.3": 1},
        ),
        (Field(name="x", dtype=DecimalType(4, 1), ge=0.05), ["0.0", "0.1"], {"x is under 0.05": 1}),
        (Field(name="x", dtype=DecimalType(4, 1), le=-0.05), ["-0.1", "0.0"], {"x is over -0.05": 1}),
        (
            Field(name="x", dtype=DecimalType(38, 0), ge=2**100),
            [str(2**100), str(2**100 - 1)],
            {f"x is under {float(2**100):g}": 1},
        ),
    ],
)
def test_a_decimal_is_held_against_what_the_digits_of_a_limit_say(
    store: OfflineStore, field: Field, values: list[str | None], reasons: dict[str, int]
) -> None:
    view = view_of(field)
    rows = rows_of(view, [value and Decimal(value) for value in values])
    assert store.ingest(view, rows, who="ada").reasons == reasons


def test_a_float32_is_held_against_the_limit_as_it_is_written(store: OfflineStore) -> None:
    view = view_of(Field(name="x", dtype=Float32, le=0.1))
    assert store.ingest(view, rows_of(view, [0.1, 0.0999]), who="ada").reasons == {"x is over 0.1": 1}


def test_a_load_with_too_many_nulls_is_refused_as_a_whole(store: OfflineStore) -> None:
    view = view_of(
        Field(name="x", dtype=Float64, max_null_rate=0.29), Field(name="y", dtype=Int64, max_null_rate=0, not_null=True)
    )
    rows = rows_of(view, [None] * 30 + [1.0] * 70, [None] + [1] * 99)
    with pytest.raises(DataError) as caught:
        store.ingest(view, rows, who="ada")
    assert "30 of 100 rows (30.000%) where x is null, over 29.000%" in caught.value.message
    assert "1 of 100 rows (1.000%) where y is null, over 0.000%" in caught.value.message
    assert "nothing was published" in caught.value.message
    assert store.table_version(view) is None
    assert store.quarantine(view) is None
    left = [file for file in store.table(view).path.parent.rglob("*") if file.is_file()]
    assert left == []


def test_just_the_share_that_may_be_null_is_published(store: OfflineStore) -> None:
    view = view_of(Field(name="x", dtype=Float64, max_null_rate=0.29))
    batches = rows_of(view, [None] * 29 + [1.0] * 21).to_batches() + rows_of(view, [1.0] * 50).to_batches()
    assert store.ingest(view, pa.Table.from_batches(batches), who="ada").written == 100
    assert store.ingest(view, rows_of(view, []), who="ada").written == 0, "no rows have no share"


def test_a_share_is_one_of_all_rows_that_came(store: OfflineStore) -> None:
    """A feed that lost a column is refused even where each of its rows would be kept aside."""
    view = view_of(Field(name="x", dtype=Float64, not_null=True, max_null_rate=0.5))
    with pytest.raises(DataError, match="3 of 4 rows"):
        store.ingest(view, rows_of(view, [None, None, None, 1.0]), who="ada")
    kept = replace(view, schema=[replace(view.schema[0], max_null_rate=0.8)])
    report = store.ingest(kept, rows_of(view, [None, None, None, 1.0]), who="ada")
    assert (report.read, report.written, report.reasons) == (4, 1, {"x is null": 3})
