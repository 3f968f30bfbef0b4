"""Launch mismatch: a difference from the first day on is one finding; drift is what comes after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.profiles import Baseline, fit_baseline, profile
from monitor.detector import DetectorState, Evidence, Limits, fit_limits, step

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS = 400


def rows_of(rng: np.random.Generator, day: int, shift: float) -> pa.Table:
    times = pa.array([START + day * DAY] * ROWS, pa.timestamp("us", "UTC"))
    return pa.table({"x": rng.normal(shift, 1, ROWS), "y": rng.normal(size=ROWS), "event_timestamp": times})


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    rng = np.random.default_rng(1)
    fields = [Field(name=name, dtype=types.Float64) for name in "xy"]
    return fit_baseline(pa.concat_tables([rows_of(rng, day, 0.0) for day in range(40)]), fields)


def judged(limits: Limits, shifts: Sequence[float]) -> tuple[DetectorState, list[Evidence]]:
    rng = np.random.default_rng(2)
    state, seen = DetectorState.start(limits), []
    for number, shift in enumerate(shifts):
        state = DetectorState.from_dict(json.loads(json.dumps(state.to_dict())))  # a restart changes nothing
        state, evidence = step(
            limits,
            state,
            profile(rows_of(rng, 0, shift), limits.bins),
            window_start=START + (100 + number) * DAY,
            rows_per_block=ROWS,
            average_run_length=2160,
        )
        seen.append(evidence)
    return state, seen


def test_a_difference_from_the_first_day_on_is_said_once(baseline: Baseline) -> None:
    limits = fit_limits(baseline, smallest_change=0.02)
    state, seen = judged(limits, [1.0] * 60)
    alarms = [number for number, one in enumerate(seen) if one.alarm]
    assert len(alarms) == 1
    assert seen[alarms[0]].launch
    assert seen[alarms[0]].onset == START + 100 * DAY
    assert (state.launched, state.first) == (True, START + 100 * DAY)


def test_what_changes_after_launch_is_drift(baseline: Baseline) -> None:
    limits = fit_limits(baseline, smallest_change=0.02)
    _, seen = judged(limits, [0.7] * 30 + [2.0] * 10)
    alarms = [(number, one.launch) for number, one in enumerate(seen) if one.alarm]
    assert alarms[0][1]
    later = [number for number, launch in alarms if not launch]
    assert later
    assert 30 <= later[0] <= 33
    assert seen[later[0]].onset == START + 130 * DAY


def test_back_to_what_training_was_like_is_no_drift(baseline: Baseline) -> None:
    limits = fit_limits(baseline, smallest_change=0.02)
    _, seen = judged(limits, [0.7] * 20 + [0.0] * 40)
    assert [one.launch for one in seen if one.alarm] == [True]


def test_a_mismatch_that_was_mended_and_comes_back_is_drift(baseline: Baseline) -> None:
    limits = fit_limits(baseline, smallest_change=0.02)
    state, seen = judged(limits, [0.7] * 10 + [0.0] * 20 + [0.7] * 4)
    alarms = [(number, one.launch) for number, one in enumerate(seen) if one.alarm]
    assert alarms[0][1]
    assert [launch for _, launch in alarms[1:]] == [False] * (len(alarms) - 1)
    assert 30 <= alarms[1][0] <= 32
    assert not state.launch.shift.any()


def test_a_change_after_a_quiet_launch_is_drift(baseline: Baseline) -> None:
    limits = fit_limits(baseline, smallest_change=0.02)
    state, seen = judged(limits, [0.0] * 15 + [1.0] * 3)
    alarms = [one for one in seen if one.alarm]
    assert alarms
    assert not any(one.launch for one in alarms)
    assert not state.launched


def test_events_that_agreed_at_launch_keep_their_limits(baseline: Baseline) -> None:
    limits = fit_limits(baseline, smallest_change=0.02)
    state, _ = judged(limits, [1.0] * 10)
    assert state.launch.shift[limits.places["x"]].max() > 0.1
    assert np.all(state.launch.shift >= 0)
    assert state.launch.shift[limits.places["y"]].max() < 0.02
