"""Columns that are missing, surplus, or of another type than was declared."""

from __future__ import annotations

from typing import Any

from monitor.quality.columns import Columns, FoundColumn, schema_change, type_change


def columns(**found: FoundColumn) -> Columns:
    return Columns(
        stream="svc@1",
        expected={"temp": "double", "wind": "double"},
        optional=frozenset({"_snapshot"}),
        found=found,
        views={"temp": ("weather",)},
    )


DOUBLE = FoundColumn(types=("double",), readable=True)


def told(findings: Any) -> list[tuple[str, str, str]]:
    return [(one.rule, one.subject, one.verdict) for one in findings]


def test_columns_as_declared_are_ok() -> None:
    as_declared = columns(temp=DOUBLE, wind=DOUBLE, _snapshot=FoundColumn(types=("int64",), readable=True))
    assert told(schema_change(as_declared)) == [("schema_change", "svc@1", "ok")]
    assert told(type_change(as_declared)) == [("type_change", "svc@1", "ok")]


def test_a_missing_column_is_severe_and_a_surplus_one_is_told() -> None:
    found = schema_change(columns(wind=DOUBLE, gust=DOUBLE))
    assert told(found) == [("schema_change", "temp", "severe"), ("schema_change", "gust", "drift")]
    assert found[0].views == ("weather",)


def test_a_type_that_cannot_be_read_is_severe_and_one_that_can_is_told() -> None:
    text = FoundColumn(types=("double", "string"), readable=False, unreadable=3, rows=10)
    found = type_change(columns(temp=text, wind=FoundColumn(types=("float",), readable=True)))
    assert told(found) == [("type_change", "temp", "severe"), ("type_change", "wind", "drift")]
    assert "3 of 10 values" in found[0].sentence
    assert "double and string" in found[0].sentence


def test_no_file_is_not_enough_data() -> None:
    assert told(schema_change(columns())) == [("schema_change", "svc@1", "not enough data")]
    assert type_change(columns()) == ()
