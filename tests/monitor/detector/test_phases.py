"""A feature that follows the clock is judged by the hours of the window."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.profiles import Baseline, Profile, fit_baseline, profile
from monitor.detector import DetectorState, Evidence, Limits, fit_limits, step

START = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROWS = 40
FIELDS = [Field(name="x", dtype=types.Float64), Field(name="calm", dtype=types.Float64)]

Mean = Callable[[int], float]


def daily(hour: int) -> float:
    return 1.5 * math.sin(2 * math.pi * hour / 24)


def weekend(hour: int) -> float:
    return 2.0 if hour % 168 >= 120 else 0.0


def rows_of(rng: np.random.Generator, hour: int, mean: float) -> pa.Table:
    times = pa.array([START + hour * HOUR] * ROWS, pa.timestamp("us", "UTC"))
    return pa.table({"x": rng.normal(mean, 1, ROWS), "calm": rng.normal(size=ROWS), "event_timestamp": times})


def baseline_of(mean: Mean, *, weeks: int) -> Baseline:
    rng = np.random.default_rng(1)
    return fit_baseline(pa.concat_tables([rows_of(rng, hour, mean(hour)) for hour in range(168 * weeks)]), FIELDS)


@pytest.fixture(scope="module")
def by_day() -> Baseline:
    return baseline_of(daily, weeks=5)


def judged(limits: Limits, windows: list[tuple[int, Profile]]) -> list[Evidence]:
    state, seen = DetectorState.start(limits), []
    for hour, window in windows:
        state, evidence = step(
            limits,
            state,
            window,
            window_start=START + hour * HOUR,
            rows_per_block=24 * ROWS,
            average_run_length=2160,
        )
        seen.append(evidence)
    return seen


def stream(baseline: Baseline, mean: Mean, *, hours: int) -> list[tuple[int, Profile]]:
    rng = np.random.default_rng(2)
    first = 168 * 10
    return [(hour, profile(rows_of(rng, hour, mean(hour)), baseline.bins)) for hour in range(first, first + hours)]


def test_a_rhythm_is_found_where_there_is_one_and_enough_of_it(by_day: Baseline) -> None:
    assert {name: one.phases for name, one in by_day.rhythms.items()} == {"x": 24}
    assert {name: one.phases for name, one in baseline_of(weekend, weeks=5).rhythms.items()} == {"x": 168}
    assert baseline_of(weekend, weeks=1).rhythms == {}
    assert baseline_of(lambda _: 0.0, weeks=4).rhythms == {}


def test_a_rhythm_raises_no_alarm(by_day: Baseline) -> None:
    limits = fit_limits(by_day, smallest_change=0.02, window=HOUR)
    assert limits.features["x"].phases == 24
    seen = judged(limits, stream(by_day, daily, hours=24 * 10))
    assert not any(one.alarm for one in seen)


def test_a_shift_within_the_range_of_the_day_is_seen_with_phases_and_not_without(by_day: Baseline) -> None:
    """Noon looks like midnight: every value is one that the day has, and only the hour is wrong."""

    def still(hour: int) -> float:
        return daily(hour + 12)

    windows = stream(by_day, still, hours=24 * 6)
    seen = judged(fit_limits(by_day, smallest_change=0.02, window=HOUR), windows)
    assert any(one.alarm for one in seen)
    assert max(seen[-1].features, key=lambda name: seen[-1].features[name]) == "x"
    pooled = fit_limits(by_day, smallest_change=0.02)
    assert not any(one.alarm for one in judged(pooled, windows))


def test_a_window_over_several_hours_is_judged_by_their_mixture(by_day: Baseline) -> None:
    limits = fit_limits(by_day, smallest_change=0.02, window=6 * HOUR)
    rhythm = by_day.rhythms["x"]
    place = limits.places["x"]
    event = next(at for at, one in enumerate(limits.features["x"].events) if one.coarse == (0, 11))
    morning = limits.at(START + 6 * HOUR)[place][event]
    counts = rhythm.counts[6:12].sum(axis=0)
    share = counts[:11].sum() / counts[:-2].sum()
    assert share + 0.02 < morning < share + 0.2
    # What is for the whole day is for no hour.
    assert fit_limits(by_day, smallest_change=0.02, window=DAY).rhythms == {}
    assert fit_limits(by_day, smallest_change=0.02).id != limits.id


def test_an_hour_that_the_baseline_does_not_know_is_judged_by_the_envelope() -> None:
    rng = np.random.default_rng(3)
    hours = [hour for hour in range(168 * 5) if hour % 24 not in (2, 3)]
    baseline = fit_baseline(pa.concat_tables([rows_of(rng, hour, daily(hour)) for hour in hours]), FIELDS)
    limits = fit_limits(baseline, smallest_change=0.02, window=HOUR)
    place = limits.places["x"]
    known = np.max([limits.at(START + hour * HOUR)[place] for hour in range(24) if hour not in (2, 3)], axis=0)
    assert limits.at(START + 2 * HOUR)[place] == pytest.approx(known)
