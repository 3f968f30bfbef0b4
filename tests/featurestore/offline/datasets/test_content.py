"""The content hash knows rows by what they say, not by how they are held."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.offline.datasets.content import ContentHash, content_hash
from featurestore.offline.datasets.first_content import first_content_hash


def one(values: list[Any], dtype: pa.DataType | None = None) -> str:
    return content_hash(pa.table({"c": pa.array(values, dtype)}))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.floats(), st.none() | st.text(), st.none() | st.booleans()), max_size=20),
    st.lists(st.integers(0, 20), max_size=4),
)
def test_how_rows_are_chunked_changes_nothing(rows: list[tuple[Any, ...]], cuts: list[int]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    types = [pa.float64(), pa.string(), pa.bool_()]
    table = pa.table({str(n): pa.array(column, types[n]) for n, column in enumerate(columns)})
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    assert content_hash(pa.concat_tables(pieces)) == content_hash(table)
    stream = ContentHash(table.schema)
    for piece in pieces:
        stream.update(piece)
    assert (stream.hexdigest(), stream.rows) == (content_hash(table), len(rows))


NESTED = pa.struct([("a", pa.list_(pa.list_(pa.float64()))), ("s", pa.list_(pa.string())), ("m", pa.int32())])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.none()
        | st.fixed_dictionaries(
            {
                "a": st.none() | st.lists(st.none() | st.lists(st.none() | st.floats(), max_size=2), max_size=3),
                "s": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
                "m": st.none() | st.integers(-5, 5),
            }
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 12), max_size=3),
)
def test_how_nested_rows_are_chunked_changes_nothing(rows: list[Any], cuts: list[int]) -> None:
    array = pa.array(rows, NESTED)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = pa.chunked_array([array.slice(a, b - a) for a, b in itertools.pairwise(edges)], NESTED)
    built_apart = pa.chunked_array([pa.array(rows[a:b], NESTED) for a, b in itertools.pairwise(edges)], NESTED)
    whole = content_hash(pa.table({"c": array}))
    assert content_hash(pa.table({"c": pieces})) == content_hash(pa.table({"c": built_apart})) == whole


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([datetime(2013, 1, 1, tzinfo=UTC), None], pa.timestamp("s", "UTC")),
        ([datetime(2013, 1, 1), None], pa.timestamp("ns")),  # noqa: DTZ001 - a table may hold it
        ([date(2013, 1, 1), None], pa.date64()),
        ([time(1, 2), None], pa.time32("s")),
        ([time(1, 2), None], pa.time64("ns")),
        ([timedelta(seconds=3), None], pa.duration("s")),
        ([1.5, None], pa.float16()),
        ([Decimal("1.50"), None], pa.decimal256(50, 2)),
        ([b"ab", None], pa.binary(2)),
        ([[1, 2], None, []], pa.list_view(pa.int64())),
        ([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        ([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
        ([1, None], pa.dictionary(pa.int8(), pa.int64())),
        ([None, None], pa.null()),
        ([2**64 - 1, None], pa.uint64()),
    ],
    ids=lambda one: str(one) if isinstance(one, pa.DataType) else "",
)
def test_what_a_file_gives_back_has_the_hash_of_what_was_written(
    tmp_path: Path, values: list[Any], dtype: pa.DataType
) -> None:
    """Parquet has no seconds, and no dictionaries of numbers: they come back as what holds them."""
    table = pa.table({"c": pa.array(values, dtype)})
    pq.write_table(table, tmp_path / "c.parquet")
    assert content_hash(pq.read_table(tmp_path / "c.parquet")) == content_hash(table)
    assert content_hash(pa.table({"c": pa.array(values[::-1], dtype)})) != content_hash(table) or values == values[::-1]


def test_each_column_has_a_hash_of_its_own() -> None:
    one, two = pa.table({"a": [1, 2], "b": ["x", "y"]}), pa.table({"b": ["x", "y"], "a": [1, 3]})
    columns = []
    for table in (one, two):
        digest = ContentHash(table.schema)
        digest.update(table)
        columns.append(digest.columns())
    assert columns[0]["b"] == columns[1]["b"]
    assert columns[0]["a"] != columns[1]["a"]


@pytest.mark.parametrize("values", [["a", None, ""], ["é" * 20, "a" * 20], []])
def test_how_texts_and_blobs_are_encoded_changes_nothing(values: list[Any]) -> None:
    texts = pa.array(values, pa.string())
    encodings = [texts.cast(pa.large_string()), texts.cast(pa.string_view()), texts.dictionary_encode()]
    encodings.append(texts.cast(pa.large_string()).dictionary_encode())
    assert {content_hash(pa.table({"c": array})) for array in encodings} == {one(values, pa.string())}
    blobs = texts.cast(pa.binary())
    views = [blobs.cast(pa.large_binary()), blobs.cast(pa.binary_view())]
    assert {content_hash(pa.table({"c": array})) for array in views} == {content_hash(pa.table({"c": blobs}))}
    assert content_hash(pa.table({"c": blobs})) != one(values, pa.string())


def test_a_dictionary_of_numbers_is_the_numbers() -> None:
    numbers = pa.array([3, None, 3])
    assert content_hash(pa.table({"c": numbers.dictionary_encode()})) == content_hash(pa.table({"c": numbers}))


def test_values_that_differ_in_any_way_have_other_hashes() -> None:
    hashes = [
        one([], pa.float64()),
        one([None], pa.float64()),
        one([0.0]),
        one([-0.0]),
        one([math.nan]),
        one([0], pa.int64()),
        one([0], pa.int32()),
        one([False]),
        one([None], pa.int64()),
        one([""]),
        one([None], pa.string()),
        one(["a", "b"]),
        one(["b", "a"]),
        one(["ab", ""]),
        one(["", "ab"]),
        one([None, "ab"]),
        one([datetime(1970, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
        one([datetime(1970, 1, 1)], pa.timestamp("us")),  # noqa: DTZ001 - a table may hold it
        one([date(1970, 1, 1)]),
        content_hash(pa.table({"d": [0.0]})),
        content_hash(pa.table({"c": [0.0], "d": [0.0]})),
        content_hash(pa.table({"d": [0.0], "c": [0.0]})),
        content_hash(pa.table({'c", "double': [0.0]})),
    ]
    assert len(set(hashes)) == len(hashes)


def test_what_a_null_hides_does_not_count() -> None:
    hidden = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([5, 77], "<i8").tobytes())]
    )
    assert content_hash(pa.table({"c": hidden})) == one([5, None], pa.int64())


@pytest.mark.parametrize(
    "values",
    [[Decimal("1.50"), None], [time(1, 2, 3)], [[1, 2], None, []], [{"a": 1}, {"a": None}], [None]],
    ids=["decimal", "time", "list", "struct", "null"],
)
def test_rare_types_have_a_repeatable_hash_that_sees_their_values(values: list[Any]) -> None:
    array = pa.array(values)
    first = content_hash(pa.table({"c": array}))
    assert content_hash(pa.table({"c": pa.array(list(values), array.type)})) == first
    assert content_hash(pa.table({"c": pa.concat_arrays([array, array])})) != first


def test_how_lists_and_structs_are_encoded_changes_nothing() -> None:
    values = [{"a": [[1.0, None]], "s": ["x", None]}, None, {"a": [], "s": None}, {"a": [None], "s": []}]

    def struct(lists: Any, texts: pa.DataType) -> pa.DataType:
        return pa.struct([("a", lists(lists(pa.float64()))), ("s", lists(texts))])

    forms = [struct(pa.list_, pa.string()), struct(pa.large_list, pa.large_string())]
    array = pa.array(values, forms[0])
    hashes = {one(values, form) for form in forms}
    hashes.add(content_hash(pa.table({"c": pa.chunked_array([array.slice(0, 1), array.slice(1)])})))
    hashes.add(content_hash(pa.table({"c": pa.concat_arrays([array, array]).slice(4)})))
    assert len(hashes) == 1
    pairs = [[1.0, 2.0], None, [0.5, -0.0]]
    assert one(pairs, pa.list_(pa.float32(), 2)) == one(pairs, pa.list_(pa.float32()))


def test_lists_and_structs_that_differ_in_any_way_have_other_hashes() -> None:
    numbers = pa.list_(pa.int64())
    hashes = [
        one([[1], [2]], numbers),
        one([[1, 2], []], numbers),
        one([[], [1, 2]], numbers),
        one([[1, 2], None], numbers),
        one([[1, None], []], numbers),
        one([[1, 0], []], numbers),
        one([[1, 2], []], pa.list_(pa.int32())),
        one([{"a": 1}, None]),
        one([{"a": 1}, {"a": None}]),
        one([{"b": 1}, None]),
        one([{"a": 1, "b": None}, None]),
        one([[0.0]]),
        one([[-0.0]]),
        one([[math.nan]]),
        one([[[]]], pa.list_(numbers)),
        one([[None]], pa.list_(numbers)),
        one([[]], pa.list_(numbers)),
    ]
    assert len(set(hashes)) == len(hashes)


@pytest.fixture
def kept() -> pa.Table:
    return pa.table(
        {
            "f": pa.array([1.5, None, -0.0]),
            "i": pa.array([1, -2, None], pa.int32()),
            "s": ["a", None, "é"],
            "b": [True, False, None],
            "t": pa.array([datetime(2013, 1, 1, tzinfo=UTC), None, None], pa.timestamp("us", tz="UTC")),
            "d": [date(2013, 1, 1), None, date(1969, 12, 31)],
            "x": [b"\x00", None, b""],
        }
    )


def test_the_hash_is_the_same_in_every_release(kept: pa.Table) -> None:
    """Manifests of years ago hold these; a change of the algorithm needs a new version of it."""
    assert content_hash(kept) == "afac30bac58b7a0e517788678c4593c51d81b91483958460377ca8797e673b44"
    assert content_hash(pa.table({})) == "bca6d467af6b64a976c9429444d05ed8d7e7de49f8a21c44e7bdd91d0ac93c17"


def test_the_hash_of_the_first_manifests_never_changes(kept: pa.Table) -> None:
    assert first_content_hash(kept) == "a4135c04fa95d91ffc3b98bee11e2dfb7e81157232f2b419af7750ccc22af900"
    assert first_content_hash(pa.table({})) == "9c999e3860f7183d677826273e439dc3497e7b0845a1ce744e499ff43ea140e5"
    nested = pa.table({"c": pa.array([{"a": [1.5, None], "s": "x"}, None])})
    assert first_content_hash(nested) == "c1c61bf1ad3265b52ef76fb01d3c5c6ca58d6dd7c0d6245e64480131a4b8a1a5"
