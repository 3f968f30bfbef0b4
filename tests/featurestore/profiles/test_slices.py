"""Slices of each column sum up to the whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import DataError, SchemaError
from featurestore.profiles import (
    Profile,
    Slice,
    Sliced,
    Slicing,
    fit_bins,
    fit_slices,
    merge,
    merge_slices,
    profile,
    profile_slices,
)

FIELDS = [
    Field(name="x", dtype=types.Float64),
    Field(name="n", dtype=types.Int64),
    Field(name="s", dtype=types.String),
    Field(name="v", dtype=types.Embedding(2)),
]


def rows(count: int, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "x": pa.array(1e9 + random.normal(size=count), mask=random.random(count) < 0.2),
            "n": random.integers(0, 9, count),
            "s": pa.array(random.choice(["a", "b", "c"], count), mask=random.random(count) < 0.2),
            "v": pa.array(random.normal(size=(count, 2)).tolist(), types.Embedding(2).to_arrow()),
            "carrier": pa.array(random.choice(["AA", "UA", "DL", "WN"], count), mask=random.random(count) < 0.1),
            "late": pa.array(random.random(count) < 0.3),
        }
    )


BINS = fit_bins(rows(400), FIELDS)


def alike(one: Profile, two: Profile) -> bool:
    """Whether counts are equal and moments to twelve digits."""
    exact = ("rows", "counts", "infinite", "absent", "mistyped", "finite", "minimum", "maximum")
    scale = np.where(one.finite > 0, np.maximum(np.abs(one.minimum), np.abs(one.maximum)), 1)
    return (
        all(np.array_equal(getattr(one, name), getattr(two, name)) for name in exact)
        and bool(np.all(np.abs(one.mean - two.mean) <= 1e-12 * scale))
        and bool(np.allclose(one.squares, two.squares, rtol=1e-12))
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 9), st.integers(1, 5), st.integers(0, 300))
def test_slices_are_the_profiles_of_their_rows_and_sum_up_to_the_whole(
    count: int, seed: int, most: int, split: int
) -> None:
    table = rows(count, seed)
    slicings = fit_slices(rows(100), ["carrier", "late"], most=most)
    found = profile_slices(table, BINS, slicings)
    assert alike(found.whole, profile(table, BINS))
    for slicing in slicings:
        assert alike(merge(found.slices[key] for key in slicing.slices), found.whole)
        texts = table.column(slicing.column).cast(pa.string()).to_pylist()
        for key in slicing.slices:
            mine = [text == key.value if key.value is not None else text not in slicing.values for text in texts]
            assert alike(found.slices[key], profile(table.filter(pa.array(mine, pa.bool_())), BINS)), key
    parts = [profile_slices(part, BINS, slicings) for part in (table.slice(0, split), table.slice(min(split, count)))]
    again = merge_slices(parts)
    assert all(alike(again.slices[key], found.slices[key]) for key in found.slices)


def test_the_most_frequent_values_have_slices() -> None:
    table = pa.table({"c": ["b", "a", "c", "a", "b", None, "d"], "n": [1, 1, 2, 3, 3, 3, 4]})
    assert fit_slices(table, ["c", "n"], most=2) == (Slicing("c", ("a", "b")), Slicing("n", ("3", "1")))
    many = pa.table({"c": [str(number) for number in range(50)]})
    (found,) = fit_slices(many, ["c"])
    assert len(found.slices) == 11
    assert found.slices[-1] == Slice("c", None)


def test_slices_read_back_exactly() -> None:
    found = profile_slices(rows(100), BINS, fit_slices(rows(100), ["carrier", "late"]))
    again = Sliced.from_arrow(found.to_arrow(), BINS)
    assert again == found
    with pytest.raises(DataError, match="no slices of layout 1"):
        Sliced.from_arrow(found.whole.to_arrow(), BINS)
    with pytest.raises(DataError, match="other bins"):
        Sliced.from_arrow(found.to_arrow().slice(1), BINS)


def test_columns_that_vanish_or_change_are_counted_in_every_slice() -> None:
    table = rows(50).drop(["n", "carrier"]).set_column(0, "x", pa.array(["text"] * 50))
    slicings = fit_slices(rows(100), ["carrier", "late"])
    with pytest.raises(SchemaError, match='"x" is string'):
        profile_slices(table, BINS, slicings)
    found = profile_slices(table, BINS, slicings, on_type_error="null")
    assert alike(found.whole, profile(table, BINS, on_type_error="null"))
    assert found.slices[Slice("carrier", None)].rows == 50
    assert alike(merge(found.slices[key] for key in slicings[1].slices), found.whole)


def test_what_cannot_be_sliced_is_said() -> None:
    with pytest.raises(SchemaError, match='no column "y"'):
        fit_slices(rows(5), ["y"])
    with pytest.raises(SchemaError, match='Column "v" is fixed_size_list'):
        fit_slices(rows(5), ["v"])
    with pytest.raises(DataError, match="no column to slice by"):
        profile_slices(rows(5), BINS, [])
    one, two = (profile_slices(rows(5), BINS, fit_slices(rows(50), [name])) for name in ("carrier", "late"))
    for parts in ([], [one, two]):
        with pytest.raises(DataError, match="those of one baseline"):
            merge_slices(parts)
