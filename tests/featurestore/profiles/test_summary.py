"""Profiles of rows that are not as the baseline's were, of streams, and of other layouts."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import DataError, SchemaError
from featurestore.profiles import Bins, Profile, fit_bins, merge, profile, profile_stream
from featurestore.profiles import summary as summary_module
from featurestore.profiles.summary import side_by_side

FIELDS = [
    Field(name="x", dtype=types.Float64),
    Field(name="n", dtype=types.Int64),
    Field(name="s", dtype=types.String),
    Field(name="b", dtype=types.Bool),
    Field(name="v", dtype=types.Embedding(4)),
]


def rows(count: int, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "x": pa.array(random.normal(size=count), mask=random.random(count) < 0.1),
            "n": random.integers(-(2**62), 2**62, count),
            "s": random.choice(["a", "b", "c", "d"], count),
            "b": pa.array(random.random(count) < 0.3, mask=random.random(count) < 0.1),
            "v": pa.array(random.normal(size=(count, 4)).tolist(), types.Embedding(4).to_arrow()),
        }
    )


def one_bins(values: Any, dtype: types.DType) -> Bins:
    return fit_bins(pa.table({"x": pa.array(values, dtype.to_arrow())}), [Field(name="x", dtype=dtype)])


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "_VALUES_A_THREAD", 1)
    bins, some = fit_bins(rows(500), FIELDS), rows(70_000, seed=2)
    alone = profile(some, bins, threads=1)
    for threads in (2, 3, None):
        assert profile(some, bins, threads=threads) == alone
    assert profile(some, bins, threads=4).to_arrow().equals(alone.to_arrow())


def test_a_stream_has_the_profile_of_its_rows() -> None:
    bins, some = fit_bins(rows(500), FIELDS), rows(3_000, seed=2)
    whole = profile(some, bins)
    streamed = profile_stream(some.to_batches(max_chunksize=7), bins)
    assert np.array_equal(streamed.counts, whole.counts)
    assert np.allclose(streamed.squares, whole.squares, rtol=1e-12)
    assert profile_stream([], bins) == Profile.empty(bins)


def test_huge_whole_numbers_are_not_one() -> None:
    """2^53 and 2^53 + 1 are one float: an identifier that moves by one would hide."""
    bins = one_bins([2**53 + 1] * 10, types.Int64)
    counts = profile(pa.table({"x": [2**53, 2**53 + 1, 2**53 + 2]}), bins).cells("x").tolist()
    assert counts == [1, 1, 1, 0, 0]
    assert bins.features[0].labels == (f"under {2**53 + 1}", f"{2**53 + 1}", f"over {2**53 + 1}", "NaN", "null")
    assert Bins.from_json(bins.to_json()).features[0].cuts == (2**53, 2**53 + 1)
    ends = one_bins([-(2**63), 2**63 - 1], types.Int64)
    found = profile(pa.table({"x": [-(2**63), -(2**63) + 1, 2**63 - 2, 2**63 - 1, None]}), ends)
    assert found.cells("x").tolist() == [1, 3, 0, 0, 1]


def test_a_least_value_of_zero_is_no_minus_zero_to_a_reader() -> None:
    labels = one_bins([0.0] * 50 + [1.0] * 50, types.Float64).features[0].labels
    assert not [label for label in labels if "-0" in label]
    assert labels[0] == "under 0"


def test_whole_numbers_over_bins_of_floats_count_as_before() -> None:
    """Baselines that were written before whole numbers were kept as such have cuts like 5.0."""
    bins = one_bins([5, 7], types.Int64)
    old = Bins.from_json(bins.to_json().replace("[4,5,7]", "[4.5,5.0,7.0]"))
    assert old.features[0].cuts == (4.5, 5.0, 7.0)
    table = pa.table({"x": [4, 5, 6, 7, 8]})
    assert profile(table, old).counts.tolist() == profile(table, bins).counts.tolist()


def test_a_column_of_another_type_is_counted_or_refused() -> None:
    bins = fit_bins(rows(100), FIELDS)
    changed = rows(10).set_column(0, "x", pa.array(["one"] * 10)).set_column(4, "v", pa.array([1.0] * 10)).drop(["s"])
    with pytest.raises(SchemaError, match='Column "x" is string and cannot be read as Float64'):
        profile(changed, bins)
    found = profile(changed, bins, on_type_error="null")
    assert found.mistyped_columns == ("x", "v")
    assert found.absent_columns == ("s",)
    assert all(found.nulls(name) == 10 for name in ("x", "v.norm", "v.pca1", "s"))
    assert found.cells("n")[:-2].sum() == 10
    both = merge([found, profile(rows(10), bins)])
    assert both.mistyped[0] == 10
    assert both.absent[bins.positions["s"]] == 10
    assert Profile.from_arrow(both.to_arrow(), bins) == both


def test_thousands_of_new_categories_are_unseen() -> None:
    bins = one_bins(["a", "b"], types.String)
    new = pa.table({"x": [f"new{number}" for number in range(20_000)]})
    assert profile(new, bins).cells("x").tolist() == [0, 0, 0, 20_000, 0]
    coded = pa.table({"x": new.column("x").dictionary_encode()})
    assert profile(coded, bins) == profile(new, bins)
    empty = pa.table({"x": pa.array([None, None], pa.dictionary(pa.int32(), pa.string()))})
    assert profile(empty, bins).nulls("x") == 2


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (types.Float64, [math.nan] * 5),
        (types.Float64, [math.inf, -math.inf]),
        (types.Float32, [None] * 5),
        (types.Decimal(38, 2), [Decimal("9" * 36 + ".99")]),
        (types.Int64, []),
        (types.String, [None]),
        (types.Bool, []),
        (types.Bool, [True]),
    ],
    ids=["NaN", "infinities", "nulls", "a large decimal", "no rows", "null text", "no boolean", "one boolean"],
)
def test_any_reference_takes_any_rows(dtype: types.DType, values: list[Any]) -> None:
    bins = one_bins(values, dtype)
    table = pa.table({"x": pa.array(values, dtype.to_arrow())})
    for some in (table, pa.table({"x": pa.nulls(3)}), table.slice(0, 0)):
        found = profile(some, bins)
        assert found.cells("x").sum() == some.num_rows
        assert len(bins.features[0].readable(found.cells("x"))) == len(bins.features[0].labels)


def test_profiles_of_other_features_stand_side_by_side() -> None:
    table = rows(200)
    parts = [profile(table, fit_bins(rows(100), [field])) for field in FIELDS]
    assert side_by_side(parts) == profile(table, fit_bins(rows(100), FIELDS))
    with pytest.raises(DataError, match="one set of rows"):
        side_by_side([parts[0], profile(table.slice(1), parts[1].bins)])
    with pytest.raises(DataError, match="one set of rows"):
        side_by_side([])


def test_layout_1_is_read(tmp_path: Path) -> None:
    bins = fit_bins(rows(100), FIELDS)
    now = profile(rows(10), bins)
    old = now.to_arrow().drop(["mean_rest", "absent", "mistyped"])
    old = old.replace_schema_metadata({b"featurestore.profile": b"1"})
    pq.write_table(old, tmp_path / "old.parquet")
    found = Profile.from_arrow(pq.read_table(tmp_path / "old.parquet"), bins)
    assert np.array_equal(found.counts, now.counts)
    assert found.mean_rest.tolist() == [0] * len(bins.names)
    assert merge([found, now]).rows == 20


def test_bins_of_vectors_from_before_they_were_measured_still_count_nulls() -> None:
    text = '[{"name":"v","dtype":"Embedding(4)","cuts":[],"events":[],"categories":[],"others":[],"complete":true}]'
    bins = Bins.from_json(text)
    assert profile(rows(3), bins).cells("v").tolist() == [3, 0]
    assert bins.to_json() == text
