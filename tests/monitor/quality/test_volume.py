"""Fewer rows than usual: few false alarms under no change, and an outage is seen in its first window."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import DataError
from monitor.quality import filled_counts
from monitor.quality.volume import VolumeStep, volume_findings, volume_limit, volume_steps

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Counts = list[tuple[datetime, int]]


def traffic(weeks: int, *, seed: int = 0, scale: float = 1000.0, day_effect: float = 0.1) -> Counts:
    """Return hourly rows with a rhythm by hour and weekday, and days that differ."""
    random = np.random.default_rng(seed)
    hours = np.arange(weeks * 168)
    rate = scale * (1.2 + np.sin(2 * np.pi * hours / 24)) * np.where(hours // 24 % 7 > 4, 0.6, 1.0)
    rows = random.poisson(rate * np.repeat(np.exp(random.normal(0, day_effect, weeks * 7)), 24))
    return [(START + HOUR * int(hour), int(count)) for hour, count in zip(hours, rows, strict=True)]


def changed(counts: Counts, last: int, share: float) -> Counts:
    """Return the same with so many last windows cut down to a share."""
    return counts[:-last] + [(start, int(rows * share)) for start, rows in counts[-last:]]


def steps(counts: Counts, **settings: object) -> list[VolumeStep]:
    return volume_steps(counts, **{"length": HOUR, "average_run_length": 2160.0} | settings)  # type: ignore[arg-type]


def test_without_change_alarms_are_as_rare_as_the_budget_says_though_days_differ() -> None:
    # The second key is nearly open, so that it is the evidence alone that is tested.
    found = [steps(traffic(20, seed=seed, day_effect=0.3), drop=0.01) for seed in range(12)]
    windows = sum(step.comparable >= 3 for each in found for step in each)
    assert windows > 30_000
    assert sum(step.alarm for each in found for step in each) <= windows / 2160


def test_a_drop_to_a_third_is_seen_within_three_days_and_ends_with_the_drop() -> None:
    counts = traffic(13)
    back = changed(counts[: -3 * 24], 5 * 24, 0.33) + counts[-3 * 24 :]
    found = steps(back)
    alarms = [number for number, step in enumerate(found) if step.alarm]
    first = len(back) - 8 * 24
    assert alarms
    assert 0 <= alarms[0] - first <= 72
    onset = found[alarms[0]].onset
    assert onset is not None
    assert abs(onset - back[first][0]) <= 6 * HOUR
    assert all(step.dropping for step in found[alarms[0] : len(back) - 3 * 24])
    assert not any(step.dropping for step in found[-48:])


def test_evidence_without_effect_is_no_drop() -> None:
    counts = changed(traffic(13, day_effect=0.0), 6 * 24, 0.9)
    found = steps(counts)
    assert max(step.log_evidence for step in found) > volume_limit(HOUR, 2160)
    assert not any(step.alarm for step in found)


def test_silence_is_seen_in_its_first_window_and_says_since_when() -> None:
    counts = changed(traffic(5), 2, 0.0)
    silence, drop = volume_findings(counts, "svc@1", length=HOUR, average_run_length=2160)
    assert (silence.rule, silence.verdict, silence.value, silence.statistical) == (
        "silent_service",
        "severe",
        0.0,
        False,
    )
    assert silence.onset == counts[-2][0]
    assert "2 windows without one" in silence.sentence
    assert (drop.verdict, drop.statistical) == ("ok", True)


def test_a_service_that_is_often_silent_is_not_reported() -> None:
    quiet = [(start, rows // 300) for start, rows in traffic(5)]
    silence, _ = volume_findings(changed(quiet, 2, 0.0), "svc@1", length=HOUR, average_run_length=2160)
    assert silence.verdict == "ok"


@pytest.mark.parametrize("counts", [traffic(2), [(START, 0)], [(START, 5), (START + HOUR, 0)]])
def test_too_short_a_history_is_not_enough_data(counts: Counts) -> None:
    found = volume_findings(counts, "svc@1", length=HOUR, average_run_length=2160)
    assert [one.verdict for one in found] == ["not enough data", "not enough data"]
    assert volume_findings([], "svc@1", length=HOUR, average_run_length=2160) == ()


def test_windows_before_the_first_judged_are_only_compared_with() -> None:
    counts = changed(traffic(8), 60, 0.0)
    found = steps(counts, judged_from=counts[-10][0])
    assert not any(step.alarm for step in found[:-10])
    assert {step.log_evidence for step in found[:-10]} == {found[0].log_evidence}


def test_daily_windows_have_the_budget_in_days() -> None:
    assert volume_limit(DAY, 90) == volume_limit(HOUR, 90 * 24) == pytest.approx(math.log(90))
    days = [(START + DAY * number, 1000 + 7 * (number % 5)) for number in range(70)] + [
        (START + DAY * number, 100) for number in range(70, 75)
    ]
    found = volume_steps(days, length=DAY, average_run_length=90)
    assert next(number for number, step in enumerate(found) if step.alarm) in range(70, 75)


def test_windows_come_in_order() -> None:
    with pytest.raises(DataError, match="twice"):
        steps([(START, 1), (START, 2)])


@given(
    st.lists(st.integers(0, 10**12), max_size=60), st.sampled_from([timedelta(minutes=7), HOUR, 5 * HOUR, DAY, 9 * DAY])
)
def test_any_counts_give_a_verdict(rows: list[int], length: timedelta) -> None:
    counts = [(START + length * number, count) for number, count in enumerate(rows)]
    found = volume_steps(counts, length=length, average_run_length=100, drop=0.5)
    assert [step.rows for step in found] == rows
    assert all(math.isfinite(step.log_evidence) for step in found)
    assert found == volume_steps(counts, length=length, average_run_length=100, drop=0.5)


def test_windows_without_rows_are_filled_in_up_to_the_last_closed_one() -> None:
    known = [(START, 5), (START + 2 * HOUR, 7)]
    filled = filled_counts(known, length=HOUR, end=START + 5 * HOUR)
    assert filled == tuple((START + number * HOUR, rows) for number, rows in enumerate([5, 0, 7, 0, 0]))
    assert filled_counts([], length=HOUR, end=START) == ()
