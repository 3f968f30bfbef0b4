"""Windows of the past through the limits of a new baseline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import MonitorError
from featurestore.profiles import Bins, fit_baseline, profile
from monitor.detector import DetectorState, StoredWindow, carried, fit_limits, replay, step

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS = 300
FIELDS = [Field(name="x", dtype=types.Float64), Field(name="kind", dtype=types.String)]


def rows_of(rng: np.random.Generator, day: int, shift: float = 0.0) -> pa.Table:
    times = pa.array([START + day * DAY] * ROWS, pa.timestamp("us", "UTC"))
    kinds = rng.choice(["a", "b"], ROWS)
    return pa.table({"x": rng.normal(shift, 1, ROWS), "kind": kinds, "event_timestamp": times})


def test_a_slow_change_is_seen_across_weekly_retraining_when_stored_windows_are_replayed() -> None:
    """Each week's baseline is fitted on the month before the week, and the change is under way: none may be blinded."""
    rng = np.random.default_rng(1)
    days = [rows_of(rng, day) for day in range(40)]
    days += [rows_of(rng, 40 + day, shift=0.22) for day in range(14)]
    old = fit_baseline(pa.concat_tables(days[:35]), FIELDS)
    stored = [StoredWindow(START + day * DAY, profile(days[day], old.bins), ROWS) for day in range(35, 54)]
    # A model that was trained on the first 40 days is deployed at day 47.
    new = fit_baseline(pa.concat_tables(days[:40]), FIELDS, bins=old.bins)
    limits = fit_limits(new, smallest_change=0.02)
    state, seen = replay(limits, stored[5:12], average_run_length=1e9)
    assert len(seen) == 7
    _, blind = replay(limits, stored[12:13], average_run_length=1e9)
    _, sighted = replay(limits, stored[12:13], average_run_length=1e9, state=state)
    assert sighted[0].features["x"] > blind[0].features["x"] + 3
    assert sighted[0].onset == START + 40 * DAY


def test_a_replay_is_the_steps_it_stands_for() -> None:
    rng = np.random.default_rng(2)
    baseline = fit_baseline(pa.concat_tables([rows_of(rng, day) for day in range(10)]), FIELDS)
    limits = fit_limits(baseline, smallest_change=0.02)
    windows = [
        StoredWindow(START + day * DAY, profile(rows_of(rng, day), baseline.bins), ROWS) for day in range(20, 25)
    ]
    state, seen = replay(limits, windows, average_run_length=50)
    by_step, evidence = DetectorState.start(limits), []
    for one in windows:
        by_step, each = step(
            limits,
            by_step,
            one.profile,
            window_start=one.start,
            rows_per_block=one.rows_per_block,
            average_run_length=50,
        )
        evidence.append(each)
    assert state.to_dict() == by_step.to_dict()
    assert seen == evidence
    with pytest.raises(MonitorError, match="order of time"):
        replay(limits, [windows[1], windows[0]], average_run_length=50)


def test_profiles_are_carried_over_where_cells_are_the_same() -> None:
    rng = np.random.default_rng(3)
    old = fit_baseline(pa.concat_tables([rows_of(rng, day) for day in range(5)]), FIELDS)
    window = profile(rows_of(rng, 9), old.bins)
    fewer = Bins(old.bins.features[::-1][:1])
    assert carried(window, old.bins) is window
    again = carried(window, fewer)
    assert again.bins == fewer
    assert again.cells("kind").tolist() == window.cells("kind").tolist()
    assert again == profile(rows_of(rng, 9).set_column(1, "kind", pa.array(["a"] * ROWS)), fewer) or again.rows == ROWS
    other = fit_baseline(pa.concat_tables([rows_of(rng, day) for day in range(5)]), FIELDS)
    with pytest.raises(MonitorError, match=r"other cells .*'x'"):
        carried(window, other.bins)
