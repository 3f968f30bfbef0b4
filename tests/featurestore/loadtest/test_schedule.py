"""The instants of requests: as many as asked for, where they are asked for, whoever sends them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import ConfigError
from featurestore.loadtest.schedule import Schedule, rate_of, seconds_of

_schedules = st.builds(
    Schedule,
    first=st.floats(1, 300),
    last=st.floats(1, 300),
    seconds=st.floats(0.1, 20),
    poisson=st.booleans(),
)


@settings(deadline=None)
@given(schedule=_schedules, parts=st.integers(1, 4))
def test_senders_together_send_what_the_schedule_expects_in_order_and_in_time(schedule: Schedule, parts: int) -> None:
    each = [np.array(list(schedule.instants(part, parts, seed=7))) for part in range(parts)]
    for instants in each:
        assert np.all(np.diff(instants) >= 0)
        assert np.all((instants >= 0) & (instants < schedule.seconds * (1 + 1e-9)))
    count = sum(map(len, each))
    # Six standard deviations of a Poisson count.
    slack = 1 + parts + (6 * schedule.expected**0.5 if schedule.poisson else 0)
    assert abs(count - schedule.expected) <= slack


def test_evenly_spaced_requests_are_one_sequence_however_many_send_them() -> None:
    schedule = Schedule(first=50, last=50, seconds=2, poisson=False)
    both = sorted([*schedule.instants(0, 2), *schedule.instants(1, 2)])
    assert both == pytest.approx([number / 50 for number in range(100)])
    assert list(schedule.instants()) == pytest.approx(both)


def test_a_ramp_sends_at_each_instant_what_its_rate_says() -> None:
    schedule = Schedule(first=100, last=1900, seconds=10, poisson=False)
    counts, _ = np.histogram(list(schedule.instants()), bins=10, range=(0, 10))
    assert counts.tolist() == pytest.approx([schedule.rate_at(second + 0.5) for second in range(10)], abs=1.5)


def test_gaps_of_poisson_arrivals_are_exponential() -> None:
    gaps = np.diff(list(Schedule(first=1000, last=1000, seconds=20).instants()))
    assert gaps.mean() == pytest.approx(0.001, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


def test_a_seed_is_a_schedule_of_its_own_and_senders_are_independent() -> None:
    schedule = Schedule(first=100, last=100, seconds=1)
    assert list(schedule.instants(seed=1)) == list(schedule.instants(seed=1))
    assert list(schedule.instants(seed=1)) != list(schedule.instants(seed=2))
    assert list(schedule.instants(0, 2)) != list(schedule.instants(1, 2))


def test_durations_rates_and_ramps_are_read_as_they_are_written() -> None:
    assert [seconds_of(text, "--duration") for text in ("30s", "1.5m", "500ms", " 2h ")] == [30, 90, 0.5, 7200]
    assert rate_of("0.5", "--rate") == 0.5
    assert Schedule.ramp("100:5000:60s") == Schedule(first=100, last=5000, seconds=60)
    assert str(Schedule(first=1500, last=1500, seconds=2)) == "1,500 requests/s for 2 s, Poisson arrivals"


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "0s", "25h", "1 s s", "nan s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--duration") as caught:
        seconds_of(text, "--duration")
    assert "30s" in caught.value.hint


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "x", "", "2000000"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no rate"):
        rate_of(text, "--rate")


@pytest.mark.parametrize("text", ["100", "100:200", "a:b:c", "1:2:3", "1:2:3s:4"])
def test_what_is_no_ramp_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--ramp"):
        Schedule.ramp(text)
