"""The content hash knows rows by what they say, not by how they are held."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.offline.content import content_hash


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


def test_the_hash_is_the_same_in_every_release() -> None:
    """Manifests of years ago hold these; a change of the algorithm needs a new manifest format."""
    table = pa.table(
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
    assert content_hash(table) == "a4135c04fa95d91ffc3b98bee11e2dfb7e81157232f2b419af7750ccc22af900"
    assert content_hash(pa.table({})) == "9c999e3860f7183d677826273e439dc3497e7b0845a1ce744e499ff43ea140e5"
