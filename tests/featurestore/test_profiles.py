"""Profiles: rows -> counts over frozen bins that add up."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import DataError, SchemaError, TimestampError
from featurestore.profiles import Baseline, Bins, Profile, fit_baseline, fit_bins, merge, profile

START = datetime(2013, 1, 1, tzinfo=UTC)
VALUES: dict[types.DType, st.SearchStrategy[Any]] = {
    types.Bool: st.booleans(),
    types.Int32: st.integers(-(2**31), 2**31 - 1),
    types.Int64: st.integers(-(2**63), 2**63 - 1),
    types.Float32: st.floats(width=32),
    types.Float64: st.floats(),
    types.String: st.text(max_size=2),
    types.Bytes: st.binary(max_size=2),
    types.Date: st.dates(),
    types.Timestamp: st.datetimes(timezones=st.just(UTC)),
    types.Decimal(6, 2): st.integers(-999_999, 999_999).map(lambda digits: Decimal(digits).scaleb(-2)),
    types.Array(types.Float64): st.lists(st.none() | st.floats(), max_size=2),
    types.Embedding(2): st.lists(st.floats(width=32), min_size=2, max_size=2),
    types.Struct({"a": types.Int64}): st.fixed_dictionaries({"a": st.none() | st.just(1)}),
}
FIELDS = [Field(name=dtype.kind.lower(), dtype=dtype) for dtype in VALUES]

# Tables of so many types take a while to draw, and a busy machine longer.
unhurried = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def tables(draw: st.DrawFn, min_size: int = 0) -> pa.Table:
    """Return rows with a column of every type."""
    rows = draw(st.integers(min_size, 25))
    columns = {
        dtype.kind.lower(): pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), dtype.to_arrow())
        for dtype, values in VALUES.items()
    }
    hours = draw(st.lists(st.integers(0, 100), min_size=rows, max_size=rows))
    times = pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", "UTC"))
    return pa.table(columns | {"event_timestamp": times})


def column(values: Any, dtype: types.DType = types.Float64, name: str = "x") -> pa.Table:
    return pa.table({name: pa.array(values, dtype.to_arrow())})


def bins_of(values: Any, dtype: types.DType = types.Float64) -> Bins:
    return fit_bins(column(values, dtype), [Field(name="x", dtype=dtype)])


def counted(values: Any, bins: Bins) -> dict[str, int]:
    """Return the rows behind each label, those without rows left out."""
    one = bins.features[0]
    counts = one.readable(profile(column(values, one.dtype), bins).cells("x"))
    return {label: int(rows) for label, rows in zip(one.labels, counts, strict=True) if rows}


@unhurried
@given(tables(), tables(), st.lists(st.integers(0, 25), max_size=3))
def test_a_merge_of_any_split_is_the_profile_of_the_whole(
    reference: pa.Table, rows: pa.Table, splits: list[int]
) -> None:
    bins = fit_bins(reference, FIELDS)
    ends = sorted(min(split, rows.num_rows) for split in splits)
    parts = [rows.slice(one, two - one) for one, two in zip([0, *ends], [*ends, rows.num_rows], strict=True)]
    whole, merged = profile(rows, bins), merge(profile(part, bins) for part in reversed(parts))
    assert merged.rows == whole.rows
    for name in ("counts", "infinite", "absent", "mistyped", "finite", "minimum", "maximum"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name)), name
    scale = np.maximum(
        np.abs(np.where(whole.finite > 0, whole.minimum, 0)), np.where(whole.finite > 0, whole.maximum, 0)
    )
    assert np.all(np.abs(merged.mean - whole.mean) <= 1e-12 * scale)


def test_merged_moments_keep_their_digits_far_from_zero() -> None:
    values = 1e9 + np.random.default_rng(1).normal(size=10_000)
    bins = bins_of(values)
    merged = merge(profile(column(part), bins) for part in np.array_split(values, 97))
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    assert merged.squares[0] == pytest.approx(float(sum((value - mean) ** 2 for value in exact)), rel=1e-12)
    assert merged.mean_of("x") == float(mean)


@unhurried
@given(tables(), tables())
def test_every_row_falls_into_one_cell_of_each_field(reference: pa.Table, rows: pa.Table) -> None:
    bins = fit_bins(reference, FIELDS)
    whole = profile(rows, bins)
    for one in bins.features:
        assert whole.cells(one.name).sum() == rows.num_rows
        assert whole.nulls(one.name) == rows.column(one.column).null_count
        assert one.readable(whole.cells(one.name)).sum() == rows.num_rows
        assert len(one.readable(whole.cells(one.name))) == len(one.labels)


@unhurried
@given(tables(), tables())
def test_a_profile_reads_back_exactly(reference: pa.Table, rows: pa.Table) -> None:
    bins = fit_bins(reference, FIELDS)
    whole = profile(rows, bins)
    assert Profile.from_arrow(whole.to_arrow(), bins) == whole
    assert Bins.from_json(bins.to_json()) == bins


@unhurried
@given(tables(min_size=1))
def test_a_baseline_reads_back_exactly(rows: pa.Table) -> None:
    baseline = fit_baseline(rows, FIELDS)
    again = Baseline.from_arrow(baseline.to_arrow())
    assert again == baseline
    assert again.whole == baseline.whole


def test_profiles_and_baselines_survive_parquet(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "x": [1.0, None, math.nan],
            "event_timestamp": pa.array([START, START, START + timedelta(days=9)], pa.timestamp("us", "UTC")),
        }
    )
    baseline = fit_baseline(rows, [Field(name="x", dtype=types.Float64)])
    pq.write_table(baseline.to_arrow(), tmp_path / "baseline.parquet")
    pq.write_table(baseline.whole.to_arrow(), tmp_path / "profile.parquet")
    assert Baseline.from_arrow(pq.read_table(tmp_path / "baseline.parquet")) == baseline
    assert Profile.from_arrow(pq.read_table(tmp_path / "profile.parquet"), baseline.bins) == baseline.whole


@unhurried
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=400), st.lists(st.floats(-200, 200), max_size=50))
def test_cells_count_as_the_cuts_say(reference: list[float], values: list[float]) -> None:
    bins = bins_of(reference)
    cuts = bins.features[0].cuts
    expected = [sum(value <= cut for value in values) for cut in cuts]
    counts = profile(column(values), bins).cells("x")
    assert np.cumsum(counts)[: len(cuts)].tolist() == expected


def test_cuts_are_exact_quantiles_of_the_reference() -> None:
    bins = bins_of(np.random.default_rng(1).permutation(14_700).astype(float)).features[0]
    assert len(bins.cuts) == 148  # 146 inner cuts, one under the minimum, one at the maximum
    assert np.diff(bins.cuts[1:]).tolist() == [100.0] * 146
    assert [bins.cuts[event] for event in bins.events[1:-1]] == [float(699 + 700 * k) for k in range(20)]


def test_the_order_of_the_reference_changes_nothing() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    assert bins_of(values) == bins_of(values[::-1])
    assert bins_of([0.0, -0.0]).id == bins_of([-0.0, 0.0]).id
    texts = ["b", "a", "c", "a", "c", "b"]
    assert bins_of(texts, types.String) == bins_of(texts[::-1], types.String)


def test_values_beyond_the_reference_have_cells_of_their_own() -> None:
    bins = bins_of([5.0] * 10)
    assert counted([5.0, 4.9, 5.1, -math.inf, math.inf, math.nan, None], bins) == {
        "under 5": 2,
        "5": 1,
        "over 5": 2,
        "NaN": 1,
        "null": 1,
    }


def test_infinities_and_nan_stay_out_of_the_moments() -> None:
    bins = bins_of([0.0, 10.0])
    whole = profile(column([2.0, 4.0, math.inf, -math.inf, math.nan, None]), bins)
    assert whole.mean_of("x") == 3.0
    assert (whole.squares[0], whole.finite[0], whole.infinite[0]) == (2.0, 2, 2)
    assert (whole.minimum[0], whole.maximum[0]) == (2.0, 4.0)
    assert profile(column([None, math.nan]), bins).mean_of("x") is None


def test_categories_are_known_others_or_unseen() -> None:
    reference = [f"common{rank:02}" for rank in range(50) for _ in range(2)] + ["rare"]
    bins = bins_of(reference, types.String)
    assert counted(["common07", "rare", "new", "newer", None], bins) == {
        '"common07"': 1,
        "other values": 1,
        "unseen values": 2,
        "null": 1,
    }


def test_with_too_many_categories_to_know_none_is_called_unseen() -> None:
    bins = bins_of([str(number) for number in range(10_001)], types.String)
    assert counted(["new"], bins) == {"other values": 1}


def test_booleans_dates_timestamps_and_bytes_have_their_cells() -> None:
    assert counted([True, None], bins_of([True, True, False], types.Bool)) == {'"true"': 1, "null": 1}
    days = bins_of([date(2013, 1, 1), date(2013, 1, 3)], types.Date)
    assert counted([date(2013, 1, 2)], days) == {"2013-01-01 to 2013-01-03": 1}
    assert counted([START], bins_of([START + timedelta(days=1)], types.Timestamp)) == {"under 2013-01-02T00:00:00Z": 1}
    assert counted([b"", None], bins_of([b"x"], types.Bytes)) == {"not null": 1, "null": 1}


def test_decimals_are_numbers() -> None:
    bins = bins_of([Decimal("1.10"), Decimal("2.20")], types.Decimal(6, 2))
    assert counted([Decimal("1.50"), Decimal("9.00"), None], bins) == {"1.1 to 2.2": 1, "over 2.2": 1, "null": 1}
    assert profile(column([Decimal("1.5"), Decimal("2.5")], types.Decimal(6, 2)), bins).mean_of("x") == 2.0


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (types.Array(types.String), []),
        (types.Struct({"a": types.Int64}), {"a": None}),
    ],
    ids=repr,
)
def test_of_lists_of_texts_and_of_structs_only_nulls_are_counted(dtype: types.DType, value: Any) -> None:
    bins = bins_of([value, None], dtype)
    assert counted([value, None, None], bins) == {"not null": 1, "null": 2}
    plain = pa.table({"x": pa.array([value, None])})
    assert profile(plain, bins).cells("x").tolist() == [1, 1], "as a file holds them"


def test_a_missing_column_counts_as_null() -> None:
    bins = bins_of([1.0, 2.0])
    assert profile(pa.table({"y": [1, 2, 3]}), bins).nulls("x") == 3


def test_a_column_of_a_narrower_type_is_read_as_the_fields() -> None:
    bins = bins_of([1.0, 2.0])
    assert profile(pa.table({"x": pa.array([1, 2], pa.int8())}), bins).mean_of("x") == 1.5
    texts = bins_of(["a"], types.String)
    assert profile(pa.table({"x": pa.array(["a"]).dictionary_encode()}), texts).cells("x").tolist() == [1, 0, 0, 0]


def test_a_column_of_another_type_is_named() -> None:
    with pytest.raises(SchemaError, match='Column "x" is string and cannot be read as Float64'):
        profile(pa.table({"x": ["one"]}), bins_of([1.0]))
    with pytest.raises(SchemaError, match='"x" is list'):
        profile(pa.table({"x": [[1.0]]}), bins_of([1.0]))


def test_a_baseline_has_a_profile_for_each_block_that_has_rows() -> None:
    hours = [50, 1, 2, 26, 3]
    rows = pa.table(
        {
            "x": [5.0, 1.0, 2.0, 4.0, 3.0],
            "when": pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("ms", "UTC")),
        }
    )
    baseline = fit_baseline(rows, [Field(name="x", dtype=types.Float64)], time_column="when")
    assert [(start, one.rows, one.mean_of("x")) for start, one in baseline.blocks] == [
        (START, 3, 2.0),
        (START + timedelta(days=1), 1, 4.0),
        (START + timedelta(days=2), 1, 5.0),
    ]
    assert baseline.whole.rows == 5
    halves = fit_baseline(rows, [Field(name="x", dtype=types.Float64)], time_column="when", block=timedelta(hours=2))
    assert [start.hour for start, _ in halves.blocks] == [0, 2, 2, 2]


def test_values_that_one_block_alone_has_are_unseen_to_the_others() -> None:
    """Else a baseline would say that new values never come, and each new day would break it."""
    days = {"a": [0, 1, 2], "b": [0, 1], "only": [1, 1]}
    pairs = [(value, day) for value, when in days.items() for day in when]
    rows = pa.table(
        {
            "x": [value for value, _ in pairs],
            "event_timestamp": pa.array([START + timedelta(days=day) for _, day in pairs], pa.timestamp("us", "UTC")),
        }
    )
    baseline = fit_baseline(rows, [Field(name="x", dtype=types.String)])
    one = baseline.bins.features[0]
    unseen = one.labels.index("unseen values")
    assert [int(part.cells("x")[unseen]) for _, part in baseline.blocks] == [0, 2, 0]
    assert baseline.whole.cells("x").tolist() == [3, 2, 0, 0, 2, 0]
    assert one.labels[:3] == ('"a"', '"b"', '"only"')
    assert all(part.cells("x").sum() == part.rows for _, part in baseline.blocks)


def test_a_baseline_needs_columns_rows_and_times() -> None:
    fields = [Field(name="x", dtype=types.Float64)]
    times = pa.array([START], pa.timestamp("us", "UTC"))
    good = pa.table({"x": [1.0], "event_timestamp": times})
    with pytest.raises(SchemaError, match='no column "x"'):
        fit_baseline(good.drop(["x"]), fields)
    with pytest.raises(SchemaError, match='no column "event_timestamp"'):
        fit_baseline(good.drop(["event_timestamp"]), fields)
    with pytest.raises(DataError, match="no rows"):
        fit_baseline(good.slice(0, 0), fields)
    with pytest.raises(DataError, match="lasts"):
        fit_baseline(good, fields, block=timedelta(0))
    with pytest.raises(TimestampError, match=r"timestamp\[us\]"):
        fit_baseline(good.set_column(1, "event_timestamp", times.cast(pa.timestamp("us"))), fields)
    with pytest.raises(TimestampError, match="null in 1 rows"):
        fit_baseline(good.set_column(1, "event_timestamp", pa.nulls(1, times.type)), fields)


def test_tables_of_another_kind_or_of_other_bins_are_refused() -> None:
    bins = bins_of([1.0, 2.0])
    table = profile(column([1.0]), bins).to_arrow()
    with pytest.raises(DataError, match="no baseline of layout 2"):
        Baseline.from_arrow(table)
    with pytest.raises(DataError, match="no profile of layout 1 or 2"):
        Profile.from_arrow(table.replace_schema_metadata({b"featurestore.profile": b"99"}), bins)
    with pytest.raises(DataError, match="other bins"):
        Profile.from_arrow(table, bins_of([1.0, 2.0, 3.0]))
    with pytest.raises(DataError, match="different bins"):
        merge([Profile.empty(bins), Profile.empty(bins_of([7.0]))])
    with pytest.raises(DataError, match="no profile"):
        merge([])
