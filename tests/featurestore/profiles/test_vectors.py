"""Vectors are watched by a few numbers each, along directions that the baseline froze."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import SchemaError
from featurestore.profiles import Bins, Profile, fit_bins, merge, profile

DTYPE = types.Embedding(8)
NAMES = ["v.length", "v.norm", "v.pca1", "v.pca2", "v.pca3", "v.projection1", "v.projection2", "v.projection3"]


def vectors(values: Any, dtype: types.DType = DTYPE) -> pa.Table:
    if isinstance(values, np.ndarray):
        values = values.astype(np.float32).tolist()
    return pa.table({"v": pa.array(values, dtype.to_arrow())})


def bins_of(values: Any, dtype: types.DType = DTYPE) -> Bins:
    return fit_bins(vectors(values, dtype), [Field(name="v", dtype=dtype)])


def cloud(rows: int, seed: int = 1, size: int = 8) -> np.ndarray:
    scale = np.array([9.0, 5.0, 2.0] + [0.1] * (size - 3))
    return np.random.default_rng(seed).normal(size=(rows, size)) * scale


def distance(one: Profile, two: Profile, name: str) -> float:
    """Return the Kolmogorov-Smirnov distance."""
    shares = [np.cumsum(side.cells(name)[:-2]) / side.rows for side in (one, two)]
    return float(np.abs(shares[0] - shares[1]).max())


def test_a_field_of_vectors_makes_several_features_of_one_column() -> None:
    bins = bins_of(cloud(1000))
    assert list(bins.names) == NAMES
    assert bins.columns == ("v",)
    assert {one.kind for one in bins.features} == {"numeric"}
    assert Bins.from_json(bins.to_json()) == bins


def test_components_are_the_directions_of_the_largest_variance() -> None:
    bins = bins_of(cloud(1000))
    directions = [one.derivation.direction for one in bins.features if one.derivation and one.derivation.direction]
    assert np.allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    for place in range(3):
        assert np.argmax(np.abs(directions[place])) == place
        assert directions[place][place] > 0.98


def test_each_kind_of_change_moves_what_it_should() -> None:
    reference, bins = cloud(4000), bins_of(cloud(4000))
    before = profile(vectors(reference), bins)
    after = cloud(4000, seed=2)
    assert max(distance(before, profile(vectors(after), bins), name) for name in NAMES) < 0.05
    assert distance(before, profile(vectors(2 * after), bins), "v.norm") > 0.2
    assert distance(before, profile(vectors(after + np.eye(8)[1] * 5), bins), "v.pca2") > 0.3
    # A direction that the components do not look at.
    hidden = profile(vectors(after + np.eye(8)[7] * 30), bins)
    assert max(distance(before, hidden, f"v.projection{place}") for place in (1, 2, 3)) > 0.3


def test_random_directions_follow_from_name_and_size_alone() -> None:
    one, two = bins_of(cloud(100)), bins_of(cloud(50, seed=9))
    assert one.features[-1].derivation == two.features[-1].derivation
    other = fit_bins(vectors(cloud(100)).rename_columns(["w"]), [Field(name="w", dtype=DTYPE)])
    assert other.features[-1].derivation.direction != one.features[-1].derivation.direction  # type: ignore[union-attr]


def test_the_order_of_the_reference_changes_nothing() -> None:
    values = cloud(3000)
    assert bins_of(values).id == bins_of(values[::-1]).id


def test_nulls_missing_elements_and_other_dimensions_are_counted() -> None:
    dtype = types.Array(types.Float64)
    bins = bins_of([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]], dtype)
    rows: list[Any] = [[1.0, 2.0], None, [math.nan, 1.0], [None, 1.0], [1.0], [], [1.0, 2.0, 2.0], [math.inf, 1.0]]
    whole = profile(vectors(rows, dtype), bins)
    assert all(whole.nulls(name) == 1 and whole.cells(name).sum() == len(rows) for name in bins.names)
    assert whole.cells("v.length").tolist() == [2, 4, 1, 0, 1]
    assert whole.cells("v.norm")[-2] == 2
    assert whole.infinite[bins.positions["v.norm"]] == 1
    assert whole.cells("v.pca1")[-2] == 5
    assert whole.mean_of("v.length") == 12 / 7
    longer = profile(vectors(cloud(10, size=9), types.Embedding(9)), bins_of(cloud(10)))
    assert longer.cells("v.length")[-3:].tolist() == [10, 0, 0]
    assert longer.cells("v.pca1")[-2] == 10


@pytest.mark.parametrize(
    "values",
    [[], [None], [None, None], [[0.0] * 8], [[0.0] * 8] * 5, [[math.nan] * 8, [math.inf] * 8]],
    ids=["no rows", "one null", "nulls", "one row", "constant", "nothing finite"],
)
def test_any_reference_makes_bins(values: list[Any]) -> None:
    bins = bins_of(values)
    whole = profile(vectors(cloud(5)), bins)
    assert all(whole.cells(name).sum() == 5 for name in bins.names)
    assert "v.projection3" in bins.names
    assert Bins.from_json(bins.to_json()) == bins


def test_an_array_without_elements_has_no_directions() -> None:
    assert list(bins_of([[], None], types.Array(types.Int64)).names) == ["v.length", "v.norm"]


@pytest.mark.parametrize("dtype", [types.Array(types.Int64), types.Array(types.Decimal(6, 2)), DTYPE], ids=repr)
def test_a_file_may_hold_them_otherwise(dtype: types.DType) -> None:
    bins = bins_of([[1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 4, 3, 6, 5, 8, 7]], dtype)
    rows = [[1, 2, 3, 4, 5, 6, 7, 8], None]
    wanted = profile(vectors(rows, dtype), bins)
    for found in (pa.list_(pa.float32()), pa.large_list(pa.int16()), pa.list_(pa.float64(), 8)):
        assert profile(pa.table({"v": pa.array(rows, found)}), bins) == wanted
    assert profile(pa.table({"v": pa.nulls(3)}), bins).nulls("v.norm") == 3
    for wrong in ([1.0], ["text"], [["text"]], [{"a": 1}]):
        with pytest.raises(SchemaError, match='"v" is '):
            profile(pa.table({"v": wrong}), bins)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 40), st.integers(2, 60), st.lists(st.integers(0, 60), max_size=4), st.integers(0, 99))
def test_a_reference_vector_falls_into_its_cell_however_rows_are_split(
    size: int, rows: int, splits: list[int], seed: int
) -> None:
    """Cuts are places of reference vectors, so a sum that depended on its neighbours would move them over a cut."""
    dtype = types.Array(types.Float64)
    values = np.random.default_rng(seed).normal(size=(rows, size))
    values[0, 0] = 1e6
    table = pa.table({"v": pa.array(values.tolist(), dtype.to_arrow())})
    bins = fit_bins(table, [Field(name="v", dtype=dtype)])
    ends = sorted(min(split, rows) for split in splits)
    parts = [table.slice(one, two - one) for one, two in zip([0, *ends], [*ends, rows], strict=True)]
    whole = profile(table, bins)
    assert np.array_equal(merge(profile(part, bins) for part in parts).counts, whole.counts)
    single = merge(profile(table.slice(row, 1), bins) for row in range(rows))
    assert np.array_equal(single.counts, whole.counts)
    shuffled = table.take(np.random.default_rng(seed).permutation(rows))
    assert np.array_equal(profile(shuffled, bins).counts, whole.counts)
