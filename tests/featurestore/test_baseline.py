"""Baselines: weights, filters, streams, and profiles in place of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import DataError, SchemaError
from featurestore.profiles import Baseline, baseline_of_profiles, fit_baseline, profile, rereading, side_by_side

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIELDS = [Field(name="x", dtype=types.Float64), Field(name="kind", dtype=types.String)]


def rows(count: int = 3000, days: int = 10, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    times = (START.timestamp() * 1e6 + rng.integers(0, days * 24 * 3_600_000_000, count)).astype(np.int64)
    return pa.table(
        {
            "x": pa.array(rng.normal(size=count), mask=rng.random(count) < 0.05),
            "kind": rng.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1]),
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "w": rng.choice([1.0, 10.0], count),
        }
    )


def test_whole_weights_count_rows_as_often_as_they_say() -> None:
    table = rows()
    weights = table.column("w").to_numpy().astype(int)
    repeated = table.take(np.repeat(np.arange(table.num_rows), weights))
    weighted = fit_baseline(table, FIELDS, weight="w")
    plain = fit_baseline(repeated, FIELDS, bins=weighted.bins)
    assert weighted.whole.counts.tolist() == plain.whole.counts.tolist()
    assert weighted.whole.mean == pytest.approx(plain.whole.mean)
    assert weighted.whole.squares == pytest.approx(plain.whole.squares)
    assert (weighted.rows, plain.rows) == (3000, weights.sum())


def test_the_worth_of_weighted_rows_is_kishs() -> None:
    table = rows()
    w = table.column("w").to_numpy()
    baseline = fit_baseline(table, FIELDS, weight="w")
    assert baseline.size == pytest.approx(w.sum() ** 2 / np.square(w).sum())
    assert sum(baseline.sizes) < 3000
    equal = fit_baseline(table.set_column(3, "w", pa.array([0.1] * 3000)), FIELDS, weight="w")
    assert equal.size == pytest.approx(3000)
    assert equal.whole.cells("x") / equal.whole.rows == pytest.approx(
        fit_baseline(table, FIELDS).whole.cells("x") / 3000
    )


def test_a_down_sampled_set_with_inverse_weights_is_like_the_traffic() -> None:
    table = rows(40_000)
    common = pc.equal(table.column("kind"), "a").to_numpy()
    kept = ~common | (np.random.default_rng(2).random(40_000) < 0.1)
    sample = table.set_column(3, "w", pa.array(np.where(common, 10.0, 1.0))).filter(pa.array(kept))

    def share(weight: str | None) -> float:
        baseline = fit_baseline(sample, FIELDS, weight=weight)
        cell = baseline.bins.features[1].categories.index("a")
        return float(baseline.whole.cells("kind")[cell]) / baseline.whole.rows

    assert share("w") == pytest.approx(0.6, abs=0.02)
    assert share(None) < 0.2


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), None, "text"])
def test_a_weight_that_is_none_is_refused(wrong: object) -> None:
    table = rows(10).drop(["w"]).append_column("w", pa.array([wrong] * 10))
    with pytest.raises(DataError, match="weights that are"):
        fit_baseline(table, FIELDS, weight="w")


def test_rows_of_weight_zero_do_not_count() -> None:
    table = rows()
    zero = table.set_column(3, "w", pa.array(np.where(np.arange(3000) % 3, 1.0, 0.0)))
    kept = table.filter(pa.array(np.arange(3000) % 3 > 0))
    assert fit_baseline(zero, FIELDS, weight="w").whole == fit_baseline(kept, FIELDS).whole
    with pytest.raises(DataError, match="no rows"):
        fit_baseline(table.set_column(3, "w", pa.array([0.0] * 3000)), FIELDS, weight="w")


def test_filters_are_masks_or_expressions() -> None:
    table = rows()
    mask = pc.equal(table.column("kind"), "a")
    wanted = fit_baseline(table.filter(mask), FIELDS)
    assert fit_baseline(table, FIELDS, filter=mask) == wanted
    assert fit_baseline(table, FIELDS, filter=pc.field("kind") == "a") == wanted
    with pytest.raises(DataError, match="no rows"):
        fit_baseline(table, FIELDS, filter=pc.field("kind") == "z")


def opener(table: pa.Table, asked: list[tuple[str, ...]], size: int = 700):  # type: ignore[no-untyped-def]
    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        asked.append(tuple(columns))
        yield from (table.select(columns) if columns else table).to_batches(max_chunksize=size)

    return batches


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize(("held", "together"), [(3000 * 70, (("x",), ("kind",))), (3000 * 72, (("x", "kind"),))])
def test_a_stream_gives_the_baseline_of_the_table_with_so_many_columns_in_memory_as_it_may_hold(
    weight: str | None, held: int, together: tuple[tuple[str, ...], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereading, "_HELD_BYTES", held)  # a number takes 8 bytes, and a text is taken to have 64
    table, asked = rows(), []
    streamed = fit_baseline(opener(table, asked), FIELDS, weight=weight)
    whole = fit_baseline(table, FIELDS, weight=weight)
    assert streamed.bins == whole.bins
    assert streamed.sizes == pytest.approx(whole.sizes)
    for (start, one), (other, two) in zip(streamed.blocks, whole.blocks, strict=True):
        assert start == other
        assert one.counts.tolist() == two.counts.tolist()
        assert one.mean == pytest.approx(two.mean, rel=1e-12)
    extra = () if weight is None else ("w",)
    assert asked == [
        ("event_timestamp", *extra),
        *((*names, "event_timestamp", *extra) for names in together),
        ("x", "kind", "event_timestamp", *extra),
    ]
    again = fit_baseline(opener(table, []), FIELDS, weight=weight)
    assert again.to_arrow().equals(streamed.to_arrow(), check_metadata=True)  # bit for bit
    filtered = fit_baseline(opener(table, []), FIELDS, filter=pc.field("kind") == "a")
    assert filtered.bins == fit_baseline(table, FIELDS, filter=pc.field("kind") == "a").bins
    with pytest.raises(DataError, match="mask cannot filter a stream"):
        fit_baseline(opener(table, []), FIELDS, filter=pc.equal(table.column("kind"), "a"))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60).filter(lambda w: max(w) > 0))
def test_any_weights_give_shares_to_a_millionth(weights: list[float]) -> None:
    count = len(weights)
    kinds = ["a" if at % 2 else "b" for at in range(count)]
    times = pa.array([START + at * DAY // 7 for at in range(count)], pa.timestamp("us", "UTC"))
    table = pa.table({"x": [1.0] * count, "kind": kinds, "event_timestamp": times, "w": weights})
    baseline = fit_baseline(table, FIELDS, weight="w", block=timedelta(days=1000))
    total = sum(weights)
    found = dict(zip(baseline.bins.features[1].categories, baseline.whole.cells("kind").tolist(), strict=False))
    for kind in set(kinds):
        wanted = sum(w for w, one in zip(weights, kinds, strict=True) if one == kind) / total
        assert found.get(kind, 0) / baseline.whole.rows == pytest.approx(wanted, abs=1e-4)
    assert 1 - 1e-9 <= baseline.size <= count * (1 + 1e-6)


def test_bins_of_another_baseline_are_kept() -> None:
    old = fit_baseline(rows(seed=1), FIELDS)
    new = fit_baseline(rows(seed=2), FIELDS, bins=old.bins)
    assert new.bins is old.bins
    assert new.whole == fit_baseline(rows(seed=2), FIELDS, bins=old.bins).whole
    with pytest.raises(SchemaError, match="other fields"):
        fit_baseline(rows(), FIELDS[:1], bins=old.bins)


def test_profiles_of_windows_make_a_baseline() -> None:
    table = rows()
    wanted = fit_baseline(table, FIELDS)
    hours = pc.floor_temporal(table.column("event_timestamp"), unit="hour")
    parts = [(hour.as_py(), profile(table.filter(pc.equal(hours, hour)), wanted.bins)) for hour in pc.unique(hours)]
    made = baseline_of_profiles(parts, block=DAY)
    assert [start for start, _ in made.blocks] == [start for start, _ in wanted.blocks]
    assert made.whole.counts.tolist() == wanted.whole.counts.tolist()
    with pytest.raises(DataError, match="no rows"):
        baseline_of_profiles([])


def test_a_baseline_with_weights_and_rhythms_survives_parquet(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    hours = np.repeat(np.arange(24 * 14), 30)
    times = pa.array([START + int(hour) * HOUR for hour in hours], pa.timestamp("us", "UTC"))
    x = rng.normal(3 * np.sin(2 * np.pi * hours / 24))
    table = pa.table({"x": x, "kind": ["a"] * len(hours), "event_timestamp": times, "w": rng.uniform(1, 3, len(hours))})
    baseline = fit_baseline(table, FIELDS, weight="w")
    assert set(baseline.rhythms) == {"x"}
    pq.write_table(baseline.to_arrow(), tmp_path / "baseline.parquet", compression="zstd")
    again = Baseline.from_arrow(pq.read_table(tmp_path / "baseline.parquet"))
    assert again == baseline
    assert again.size == baseline.size
    parts = [fit_baseline(table, [one], weight="w") for one in FIELDS]
    assert side_by_side(parts) == baseline
    with pytest.raises(DataError, match="side by side"):
        side_by_side([parts[0], fit_baseline(table.slice(0, 100), FIELDS[1:], weight="w")])


def test_a_baseline_of_the_first_layout_is_read() -> None:
    baseline = fit_baseline(rows(), FIELDS)
    table = baseline.to_arrow()
    kept = {
        key: value
        for key, value in table.schema.metadata.items()
        if key not in (b"featurestore.weights", b"featurestore.rhythms")
    }
    assert Baseline.from_arrow(table.replace_schema_metadata(kept | {b"featurestore.baseline": b"1"})) == baseline
