"""Effects of all features at once: each is what the statistic of that feature alone says, to the last bit."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.profiles import Baseline, Profile, fit_baseline, profile
from featurestore.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from featurestore.statistics.numeric_cells import NumericCells
from featurestore.statistics.rate_difference import rate_difference
from featurestore.statistics.total_variation import total_variation
from featurestore.statistics.wasserstein import wasserstein
from monitor.decisions import effects, stacking
from monitor.decisions.effects import Measured, measured
from monitor.decisions.movement import MOVED, moves_of

START = datetime(2026, 5, 1, tzinfo=UTC)
KINDS: dict[str, types.DType] = {
    "number": types.Float64,
    "count": types.Int64,
    "infinite": types.Float64,
    "text": types.String,
    "flag": types.Bool,
    "constant": types.Float64,
    "bytes": types.Bytes,
}
FIELDS = [Field(name=f"{name}_{number}", dtype=dtype) for number in range(5) for name, dtype in KINDS.items()]


def column(rng: np.random.Generator, name: str, rows: int, shift: float, nulls: float) -> pa.Array:
    numbers = rng.normal(shift, 1, rows)
    values: dict[str, list[Any]] = {
        "number": [math.nan if one > 2.5 + shift else one for one in numbers.tolist()],
        "count": [int(5 * one) for one in numbers],
        "infinite": [math.inf if one > 2 + shift else one for one in numbers.tolist()],
        "text": [f"c{int(2 * one)}" for one in numbers],
        "flag": (numbers > 0).tolist(),
        "constant": [1.0 + shift] * rows,
        "bytes": [b"x"] * rows,
    }
    missing = rng.random(rows) < nulls
    kept = [None if gone else one for gone, one in zip(missing, values[name], strict=True)]
    return pa.array(kept, KINDS[name].to_arrow())


def sides(seed: int, *, rows: int) -> tuple[Baseline, Profile]:
    rng = np.random.default_rng(seed)
    kinds = [one.name.partition("_")[0] for one in FIELDS]
    trained = {one.name: column(rng, kind, 600, 0.0, 0.1) for one, kind in zip(FIELDS, kinds, strict=True)}
    times = pa.array([START + timedelta(hours=row) for row in range(600)], pa.timestamp("us", "UTC"))
    baseline = fit_baseline(pa.table(trained | {"event_timestamp": times}), FIELDS)
    shifts, nulls = rng.choice([0.0, 0.5, 4.0], len(FIELDS)), rng.choice([0.0, 0.1, 1.0], len(FIELDS))
    now = {
        one.name: column(rng, kind, rows, float(shift), float(null))
        for one, kind, shift, null in zip(FIELDS, kinds, shifts, nulls, strict=True)
    }
    return baseline, profile(pa.table(now), baseline.bins)


def alone(baseline: Baseline, current: Profile, name: str, *, m: float, n: float) -> dict[str, tuple[float, ...]]:
    """Return the effects of one feature by the statistics of it alone, which have known answers of their own."""
    one, whole = baseline.bins.features[baseline.bins.positions[name]], baseline.whole
    before, after = whole.cells(name), current.cells(name)
    sizes = {
        "reference_size": float(before[: one.values].sum()) * m,
        "current_size": float(after[: one.values].sum()) * n,
    }
    found: dict[str, tuple[float, ...]] = {}
    if one.kind == "numeric":
        found["kolmogorov_smirnov"] = kolmogorov_smirnov(before[: one.values], after[: one.values], **sizes)
        at = baseline.bins.positions[name]
        deviation = math.sqrt(float(whole.squares[at]) / max(1, int(whole.finite[at]) - 1))
        sides = NumericCells.of(whole, name), NumericCells.of(current, name)
        found["wasserstein"] = wasserstein(*sides, one.cuts, deviation=deviation, **sizes)
    elif one.kind == "categorical":
        found["total_variation"] = total_variation(before[: one.values], after[: one.values], **sizes)
    cells = {"null_rate": [one.cells - 1]}
    if one.kind == "numeric":
        cells |= {"nan_rate": [one.cells - 2], "out_of_range_rate": [0, one.values - 1]}
    if one.kind == "categorical":
        cells["unseen_rate"] = [one.values - 1]
    for rate, which in cells.items():
        total, others = int(before.sum()), int(after.sum())
        value, low, high = rate_difference(
            float(before[which].sum()) / max(1, total),
            float(after[which].sum()) / max(1, others),
            reference_size=total * m,
            current_size=others * n,
        )
        least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        found[rate] = (abs(value), least, max(abs(low), abs(high)))
    return found


@pytest.mark.parametrize(("seed", "rows"), [(1, 400), (2, 400), (3, 0)])
def test_together_is_as_alone(seed: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacking, "MOST", 2)  # several stacks of one kind
    baseline, current = sides(seed, rows=rows)
    names = baseline.bins.names
    m, n = np.linspace(0.1, 1.0, len(names)), np.linspace(0.7, 0.2, len(names))
    found = measured(
        baseline.whole, current, reference_worth=m, current_worth=n, chosen=dict.fromkeys(names, "wasserstein")
    )
    for at, name in enumerate(names):
        expected = alone(baseline, current, name, m=float(m[at]), n=float(n[at]))
        assert {key: tuple(one) for key, one in found[at].effects.items()} == {
            key: tuple(one) for key, one in expected.items()
        }


def test_what_nobody_asks_for_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(effects, "_deviation", lambda _, feature: asked.append(feature) or 1.0)
    baseline, current = sides(1, rows=400)
    worth = np.ones(len(baseline.bins.features))
    found = measured(
        baseline.whole, current, reference_worth=worth, current_worth=worth, chosen={"number_3": "wasserstein"}
    )
    assert asked == ["number_3"]
    having = [name for name, one in zip(baseline.bins.names, found, strict=True) if "wasserstein" in one.effects]
    assert having == ["number_3"]


def test_what_moved_is_what_people_read() -> None:
    baseline, current = sides(4, rows=400)
    whole = baseline.whole
    moves = moves_of(whole, current, hidden=frozenset({"number_0"}))
    assert moves[0] == ()
    for one, found in list(zip(baseline.bins.features, moves, strict=True))[1:]:
        before = one.readable(whole.cells(one.name)) / whole.rows
        after = one.readable(current.cells(one.name)) / current.rows
        order = sorted(range(len(before)), key=lambda cell: (-abs(after[cell] - before[cell]), cell))[:MOVED]
        expected = [(one.labels[at], before[at], after[at]) for at in order if before[at] != after[at]]
        assert [(move.label, move.baseline, move.current) for move in found] == expected


def test_a_feature_without_values_goes_nowhere() -> None:
    baseline, current = sides(3, rows=0)
    worth = np.ones(len(baseline.bins.features))
    found = measured(baseline.whole, current, reference_worth=worth, current_worth=worth, chosen={})
    assert {(one.direction, one.constant) for one in found} == {("", False)}
    assert all(isinstance(one, Measured) and not any(one.grown.values()) for one in found)
