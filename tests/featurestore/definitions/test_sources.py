"""Sources say where rows come from; what cannot be meant is refused when they are built."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from featurestore.definitions import (
    Entity,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    QuerySource,
    SqlSource,
    content_hash,
)
from featurestore.definitions.sources import source_from_spec
from featurestore.errors import DefinitionError
from featurestore.types import Float64


def query(**changes: Any) -> QuerySource:
    return QuerySource(**{"query": "SELECT * FROM weather", "connection": "warehouse", **changes})


def sql(**changes: Any) -> SqlSource:
    return SqlSource(query="SELECT * FROM w", sources=[FileSource(path="w.parquet", name="w")], **changes)


def hash_of(source: Any) -> str:
    view = FeatureView(
        name="weather", entities=[Entity(name="airport")], schema=[Field(name="t", dtype=Float64)], source=source
    )
    return content_hash(view)


@pytest.mark.parametrize(
    "source",
    [
        query(),
        query(incremental_by="updated_at", lookback=timedelta(hours=2), name="w", timestamp_field="at"),
        query(incremental_by="id", lookback=100, created_timestamp_column="made"),
        FileSource(path="lake/weather", format="delta", name="w"),
        FileSource(path="lake/weather.parquet", format="delta"),
        sql(),
        sql(lookback=timedelta(0)),
        sql(lookback=timedelta(days=7), late_by=timedelta(hours=6), name="daily"),
    ],
)
def test_a_source_comes_back_from_its_spec(source: Any) -> None:
    assert source_from_spec(source.spec()) == source


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "a8c3c9a825e9e76b4f5044e5f760251be8f59eec3ed80323af4808122d28d39e"),
        ({"lookback": timedelta(days=7)}, "676aa34f5f41829cd9908be52223d79756e187ae1b286e89e802c09d26e92c23"),
        (
            {"lookback": timedelta(days=7), "late_by": timedelta(hours=6)},
            "e611c7256fe39797ccd3f2bee8883eced98607eb282f6cc7817bf91fcc4e4ef6",
        ),
    ],
)
def test_the_hash_of_a_sql_source_is_the_same_for_ever(changes: dict[str, Any], expected: str) -> None:
    assert hash_of(sql(**changes)) == expected


def test_a_format_that_the_path_says_already_changes_nothing() -> None:
    assert FileSource(path="a.CSV", format="csv").spec() == FileSource(path="a.CSV").spec()
    assert "format" not in FileSource(path="a.parquet").spec()
    assert FileSource(path="a.parquet", format="delta").spec()["format"] == "delta"


def test_every_part_of_a_query_source_counts_and_white_space_around_the_query_does_not() -> None:
    hashes = [
        hash_of(query(**changes))
        for changes in (
            {},
            {"query": "SELECT 1"},
            {"connection": "lake"},
            {"timestamp_field": "at"},
            {"created_timestamp_column": "made"},
            {"incremental_by": "updated_at"},
            {"incremental_by": "updated_at", "lookback": timedelta(hours=1)},
            {"incremental_by": "updated_at", "lookback": 3_600_000_000},
            {"name": "w"},
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert hash_of(query(query="\n  SELECT * FROM weather\n")) == hashes[0]


def test_the_hash_of_a_query_source_is_the_same_for_ever() -> None:
    made = query(incremental_by="updated_at", lookback=timedelta(minutes=5))
    assert hash_of(made) == "e882ac5be375cdcadf50e320051839bdaccfb89a4217bf9a86c7733d4f366d9a"
    assert (
        hash_of(FileSource(path="lake/weather", format="delta"))
        == "8f518f8f99ffdfc83a0d09c69258f05617c12dfebac92718efc9fe8554cc169f"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"query": " ; "}, "The query of a QuerySource is empty"),
        ({"query": None}, "The query of a QuerySource is empty"),
        ({"connection": ""}, "A QuerySource has connection=''"),
        ({"timestamp_field": ""}, "timestamp_field of a QuerySource"),
        ({"incremental_by": ""}, "incremental_by of a QuerySource"),
        ({"lookback": timedelta(hours=1)}, "has a lookback, and no incremental_by"),
        ({"incremental_by": "u", "lookback": timedelta(hours=-1)}, "lookback"),
        ({"incremental_by": "u", "lookback": -1}, "has lookback=-1"),
        ({"incremental_by": "u", "lookback": "1h"}, "is not a timedelta"),
        ({"incremental_by": "u", "lookback": True}, "is not a timedelta"),
        ({"name": "a b"}, "a b"),
        ({"name": "w", "connection": None}, 'The QuerySource "w" has connection=None'),
    ],
)
def test_a_query_source_that_cannot_be_meant_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says) as raised:
        query(**changes)
    assert raised.value.hint or "which is not the name of a column" in raised.value.message


@pytest.mark.parametrize(
    ("path", "format", "says"),
    [
        ("lake/weather", "", r"ends in neither .parquet nor .csv"),
        ("lake/weather", "iceberg", "has format='iceberg'"),
        ("a.csv", "parquet", 'has format="parquet"'),
        ("lake/*", "delta", "is a pattern"),
    ],
)
def test_a_file_source_of_no_known_format_is_refused(path: str, format: str, says: str) -> None:  # noqa: A002
    with pytest.raises(DefinitionError, match=says) as raised:
        FileSource(path=path, format=format)
    assert raised.value.hint


def test_a_view_takes_every_kind_of_source_and_nothing_else() -> None:
    for source in (query(), FileSource(path="a.csv"), PushSource(name="clicks"), None):
        hash_of(source)
    with pytest.raises(DefinitionError, match=r"has 'a\.csv' as its source") as raised:
        hash_of("a.csv")
    assert "QuerySource" in raised.value.hint


def test_a_view_that_would_reject_every_load_but_the_first_is_refused() -> None:
    entities, once = [Entity(name="airport")], [Field(name="t", dtype=Float64, unique_within="table")]
    with pytest.raises(
        DefinitionError, match=r'"t" repeats within the table, and a QuerySource gives rows again'
    ) as one:
        FeatureView(name="weather", entities=entities, schema=once, source=query(), on_bad_rows="reject")
    assert "quarantine" in one.value.hint
    with pytest.raises(DefinitionError, match="and a SqlSource with a lookback gives rows again"):
        FeatureView(
            name="weather", entities=entities, schema=once, source=sql(lookback=timedelta(0)), on_bad_rows="reject"
        )
    FeatureView(name="weather", entities=entities, schema=once, source=sql(), on_bad_rows="reject")
    FeatureView(name="weather", entities=entities, schema=once, source=query())
    FeatureView(name="weather", entities=entities, schema=once, on_bad_rows="reject")
