"""Several kinds of evidence within one budget, or each within its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import MonitorError
from featurestore.profiles import Baseline, Profile, fit_baseline, profile
from monitor.detector import KINDS, SHARES, Budget, DetectorState, Evidence, Kind, Limits, fit_limits, step

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FIELDS = [
    Field(name="x", dtype=types.Float64),
    Field(name="y", dtype=types.Float64),
    Field(name="kind", dtype=types.String),
]
ROWS = 400


def rows_of(
    rng: np.random.Generator, day: int = 0, *, shift: float = 0.0, spread: float = 1.0
) -> dict[str, list[object]]:
    return {
        "x": rng.normal(shift, spread, ROWS).tolist(),
        "y": rng.normal(0, 1, ROWS).tolist(),
        "kind": rng.choice(["a", "b", "c"], ROWS).tolist(),
        "event_timestamp": [START + day * DAY] * ROWS,
    }


def table(rows: Mapping[str, list[object]]) -> pa.Table:
    columns = {
        "x": pa.array(rows["x"], pa.float64()),
        "y": pa.array(rows["y"], pa.float64()),
        "kind": pa.array(rows["kind"], pa.string()),
        "event_timestamp": pa.array(rows["event_timestamp"], pa.timestamp("us", "UTC")),
    }
    return pa.table(columns)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    rng = np.random.default_rng(1)
    return fit_baseline(pa.concat_tables([table(rows_of(rng, day)) for day in range(40)]), FIELDS)


@pytest.fixture(scope="module")
def limits(baseline: Baseline) -> Limits:
    return fit_limits(baseline, smallest_change=0.02)


def judged(
    limits: Limits, windows: list[Profile], budget: Budget = 2160, *, quiet: int = 10
) -> tuple[DetectorState, list[Evidence]]:
    """Return the evidence after windows that follow some quiet ones, and the last state."""
    rng = np.random.default_rng(2)
    state, seen = DetectorState.start(limits), []
    before = [profile(table(rows_of(rng)), limits.bins) for _ in range(quiet)]
    for number, window in enumerate([*before, *windows]):
        state, evidence = step(
            limits,
            state,
            window,
            window_start=START + (100 + number) * DAY,
            rows_per_block=ROWS,
            average_run_length=budget,
        )
        seen.append(evidence)
    return state, seen[quiet:]


def spoiled(limits: Limits, kind: Kind, number: int = 6) -> list[Profile]:
    """Return windows of which a fifth of the rows is wrong in one way."""
    rng = np.random.default_rng(3)
    windows = []
    for _ in range(number):
        rows = rows_of(rng)
        for at in range(ROWS // 5):
            name = "kind" if kind == "unseen" else "x"
            rows[name][at] = {"nulls": None, "nan": math.nan, "range": 1e6, "unseen": "new", "drift": 1.0}[kind]
        windows.append(profile(table(rows), limits.bins))
    return windows


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_told_from_the_others(limits: Limits, kind: Kind) -> None:
    # Values beyond the range and new categories are drift as well, and the sooner one; each by itself is asked here.
    shared = kind in ("range", "unseen")
    _, seen = judged(limits, spoiled(limits, kind, 8), {kind: 21_600.0} if shared else 2160)
    first = next(one for one in seen if one.alarm)
    assert kind in first.alarms
    name = "kind" if kind == "unseen" else "x"
    assert max(first.kinds[kind], key=lambda one: first.kinds[kind][one]) == name
    assert first.onset == START + 110 * DAY
    if kind in ("nulls", "nan"):
        assert first.alarms == (kind,)  # what the other rows are like has not changed
        assert first.log_values["drift"] < first.log_limits["drift"]
        assert first.directions["x"].kind == kind
        assert first.directions["x"].direction == "more"


def test_the_direction_and_the_cells_that_moved_are_named(limits: Limits) -> None:
    rng = np.random.default_rng(4)
    for shift, direction in ((1.0, "up"), (-1.0, "down")):
        windows = [profile(table(rows_of(rng, shift=shift)), limits.bins) for _ in range(3)]
        first = next(one for one in judged(limits, windows)[1] if one.alarm)
        moved = first.directions["x"]
        assert (moved.kind, moved.direction, moved.onset) == ("drift", direction, START + 110 * DAY)
        start, stop = moved.cells
        after = windows[0].cells("x")
        assert after[start:stop].sum() / ROWS > 0.6
        assert "kind" not in first.directions or first.directions["kind"].log_ratio < moved.log_ratio


def test_a_wider_spread_alarms(limits: Limits) -> None:
    rng = np.random.default_rng(5)
    windows = [profile(table(rows_of(rng, spread=1.6)), limits.bins) for _ in range(6)]
    assert any(one.alarm for one in judged(limits, windows)[1])


def test_with_a_budget_for_each_kind_one_alarms_and_begins_afresh_by_itself(limits: Limits) -> None:
    state, seen = judged(limits, spoiled(limits, "nulls", 8), {"nulls": 21_600.0, "drift": 3600.0})
    alarmed = [one for one in seen if one.alarm]
    assert alarmed
    assert all(one.alarms == ("nulls",) for one in alarmed)
    assert alarmed[0].log_limits["nulls"] == pytest.approx(math.log(21_600))
    assert alarmed[0].log_limit == pytest.approx(-math.log(1 / 21_600 + 1 / 3600))
    assert not any(one.alarm for one in judged(limits, spoiled(limits, "nulls", 8), {"drift": 3600.0})[1])
    drift = limits.flat.kinds == KINDS.index("drift")
    assert state.values[drift].any()  # evidence of drift goes on where it was


def test_one_budget_is_never_slower_than_its_shares_each_by_itself(limits: Limits) -> None:
    for kind in KINDS:
        windows = spoiled(limits, kind)
        split = {each: 2160 / SHARES[each] for each in KINDS}
        together, apart = (judged(limits, windows, budget)[1] for budget in (2160, split))
        first = [next(at for at, one in enumerate(seen) if one.alarm) for seen in (together, apart)]
        assert first[0] <= first[1]


def test_budgets_of_kinds_add_up_where_nothing_changes(baseline: Baseline) -> None:
    """A small run length, so that there is something to count: alarms of all kinds together stay within the sum."""
    limits = fit_limits(baseline, smallest_change=0.0, delta=0.5)
    rng = np.random.default_rng(6)
    budget: dict[Kind, float] = {"drift": 40.0, "nulls": 80.0, "range": 80.0}
    state, alarms, windows = DetectorState.start(limits), 0, 600
    for number in range(windows):
        state, evidence = step(
            limits,
            state,
            profile(table(rows_of(rng)), limits.bins),
            window_start=START + (100 + number) * DAY,
            rows_per_block=ROWS,
            average_run_length=budget,
        )
        alarms += len(evidence.alarms)
    assert alarms <= windows * sum(1 / each for each in budget.values())


def test_a_feature_that_weighs_more_alarms_sooner_and_one_that_weighs_nothing_never(baseline: Baseline) -> None:
    equal = fit_limits(baseline, smallest_change=0.02)
    assert fit_limits(
        baseline, smallest_change=0.02, weights={"x": 1, "y": 1, "kind": 1}
    ).group_weights == pytest.approx(equal.group_weights)
    heavy = fit_limits(baseline, smallest_change=0.02, weights={"x": 8, "y": 1, "kind": 1})
    silent = fit_limits(baseline, smallest_change=0.02, weights={"y": 1, "kind": 1})
    windows = spoiled(equal, "drift", 1)
    logs = [judged(limits, windows)[1][0].log_values["drift"] for limits in (silent, equal, heavy)]
    assert logs[0] < logs[1] < logs[2]
    assert logs[2] - logs[1] == pytest.approx(math.log(0.8 * 3), abs=0.01)
    assert not any(one.alarm for one in judged(silent, spoiled(equal, "drift"))[1])
    for wrong in ({"x": -1.0}, {"x": math.nan}, {"unknown": 1.0}, {}):
        with pytest.raises(MonitorError, match="weights of the features"):
            fit_limits(baseline, smallest_change=0.02, weights=wrong)


def test_a_budget_that_is_none_is_refused(limits: Limits) -> None:
    for budget, said in (
        (0.0, "run length"),
        ({}, "names no kind"),
        ({"taste": 9.0}, "taste"),
        ({"drift": -1.0}, "run"),
    ):
        with pytest.raises(MonitorError, match=said):
            judged(limits, [], budget)  # type: ignore[arg-type]


def test_a_state_of_another_format_belongs_to_no_limits(limits: Limits) -> None:
    old = {"limits": limits.id, "windows": 3, "log_values": {}, "sums": {}, "starts": {}}
    assert DetectorState.from_dict(old).limits_id == ""


def test_a_state_of_many_features_is_small_and_reads_back_exactly(limits: Limits) -> None:
    state, _ = judged(limits, spoiled(limits, "drift", 1), 1e9)
    text = json.dumps(state.to_dict())
    again = DetectorState.from_dict(json.loads(text))
    assert again.to_dict() == state.to_dict()
    assert again.first == state.first == START + 100 * DAY
    assert len(text) < 10_000 * len(FIELDS)
