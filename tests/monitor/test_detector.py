"""The detector: evidence over time within a false-alarm budget."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from featurestore import types
from featurestore.definitions import Field
from featurestore.errors import MonitorError
from featurestore.profiles import Baseline, Profile, fit_baseline, profile
from monitor.detector import ALTERNATIVES, SHARES, DetectorState, Evidence, Limits, fit_limits, step

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FIELDS = [Field(name="x", dtype=types.Float64), Field(name="kind", dtype=types.String)]


def rows_of_a_day(rng: np.random.Generator, day: int, *, rows: int = 400, shift: float = 0.0) -> pa.Table:
    times = pa.array([START + day * DAY] * rows, pa.timestamp("us", "UTC"))
    return pa.table(
        {"x": rng.normal(shift, 1, rows), "kind": rng.choice(["a", "b", "c"], rows), "event_timestamp": times}
    )


def baseline_of(rng: np.random.Generator, *, days: int = 40, rows: int = 400, day_effect: float = 0.0) -> Baseline:
    tables = [
        rows_of_a_day(rng, day, rows=rows, shift=float(rng.normal(0, day_effect)) if day_effect else 0.0)
        for day in range(days)
    ]
    return fit_baseline(pa.concat_tables(tables), FIELDS)


def replay(
    limits: Limits, windows: Iterable[Profile], *, rows_per_block: float = 400, budget: float = 2160
) -> list[Evidence]:
    """Return the evidence after each window, up to the first alarm."""
    state, seen = DetectorState.start(limits), []
    for number, window in enumerate(windows):
        state, evidence = step(
            limits,
            state,
            window,
            window_start=START + (100 + number) * DAY,
            rows_per_block=rows_per_block,
            average_run_length=budget,
        )
        seen.append(evidence)
        if evidence.alarm:
            break
    return seen


def windows_of(
    baseline: Baseline, rng: np.random.Generator, shifts: Sequence[float], rows: int = 400
) -> Iterable[Profile]:
    return (profile(rows_of_a_day(rng, 0, rows=rows, shift=shift), baseline.bins) for shift in shifts)


def test_no_change_raises_no_alarm() -> None:
    rng = np.random.default_rng(1)
    baseline = baseline_of(rng)
    seen = replay(fit_limits(baseline, smallest_change=0.02), windows_of(baseline, rng, [0.0] * 300))
    assert len(seen) == 300
    assert max(one.log_value for one in seen) < math.log(2160) / 2


def test_a_change_alarms_soon_and_names_its_feature_and_its_first_window() -> None:
    rng = np.random.default_rng(2)
    baseline = baseline_of(rng)
    seen = replay(fit_limits(baseline, smallest_change=0.02), windows_of(baseline, rng, [0.0] * 30 + [0.5] * 10))
    assert 31 <= len(seen) <= 33
    assert seen[-1].alarm
    assert seen[-1].features["x"] > 5 > seen[-1].features["kind"]
    assert seen[-1].onset == START + 130 * DAY


def test_a_change_within_the_smallest_that_matters_never_alarms_at_any_number_of_rows() -> None:
    rng = np.random.default_rng(3)
    baseline = baseline_of(rng, days=20, rows=20_000)
    # A shift of 0.04 sigma moves no more than 1.6 % of the rows over any cut.
    seen = replay(
        fit_limits(baseline, smallest_change=0.02),
        windows_of(baseline, rng, [0.04] * 20, rows=100_000),
        rows_per_block=100_000,
    )
    assert not seen[-1].alarm


def test_days_that_differ_by_themselves_raise_no_alarm_at_any_multiple_of_the_baselines_rows() -> None:
    for multiple in (1, 10):
        rng = np.random.default_rng(4)
        baseline = baseline_of(rng, days=60, day_effect=0.3)
        shifts = rng.normal(0, 0.3, 60).tolist()
        seen = replay(
            fit_limits(baseline, smallest_change=0.02),
            windows_of(baseline, rng, shifts, rows=400 * multiple),
            rows_per_block=400 * multiple,
        )
        assert not seen[-1].alarm, multiple


def test_one_odd_day_is_not_enough_however_odd_where_days_differ_by_themselves() -> None:
    rng = np.random.default_rng(5)
    baseline = baseline_of(rng, day_effect=0.5)
    limits = fit_limits(baseline, smallest_change=0.02)
    seen = replay(limits, windows_of(baseline, rng, [0.0] * 5 + [50.0] + [0.0] * 20))
    assert not any(one.alarm for one in seen)
    assert seen[5].features["x"] <= math.log(41 * 6)  # at most D + 1 times the sum over the six windows so far


def test_one_day_is_enough_where_forty_days_have_not_differed_by_themselves() -> None:
    rng = np.random.default_rng(5)
    baseline = baseline_of(rng)
    limits = fit_limits(baseline, smallest_change=0.02)
    assert len(replay(limits, windows_of(baseline, rng, [0.0] * 5 + [1.0] + [0.0] * 20))) == 6
    few = baseline_of(rng, days=20)
    seen = replay(fit_limits(few, smallest_change=0.02), windows_of(few, rng, [0.0] * 5 + [50.0]))
    assert not any(one.alarm for one in seen)  # twenty days are too few to know


def test_what_a_block_may_say_is_shared_by_its_windows() -> None:
    rng = np.random.default_rng(6)
    baseline = baseline_of(rng, rows=2400, day_effect=0.5)
    limits = fit_limits(baseline, smallest_change=0.02)
    hours = replay(limits, windows_of(baseline, rng, [50.0] * 24, rows=100), rows_per_block=2400)
    assert not any(one.alarm for one in hours)
    assert hours[-1].features["x"] <= math.log(41 * 24)


def test_the_reference_with_one_block_gives_no_alarm() -> None:
    rng = np.random.default_rng(7)
    baseline = baseline_of(rng, days=1, rows=5000)
    limits = fit_limits(baseline, smallest_change=0.02)
    assert all(one.rho == 1 for one in limits.features.values())
    assert not any(one.alarm for one in replay(limits, windows_of(baseline, rng, [5.0] * 10)))


def test_nulls_of_a_broken_source_are_seen() -> None:
    rng = np.random.default_rng(8)
    baseline = baseline_of(rng)
    limits = fit_limits(baseline, smallest_change=0.02)
    broken = pa.table({"x": pa.nulls(400, pa.float64()), "kind": rng.choice(["a", "b", "c"], 400)})
    seen = replay(limits, [profile(broken, baseline.bins)] * 4)
    assert seen[-1].alarm
    assert max(seen[-1].features, key=lambda name: seen[-1].features[name]) == "x"


def test_unseen_categories_are_seen() -> None:
    rng = np.random.default_rng(9)
    baseline = baseline_of(rng)
    limits = fit_limits(baseline, smallest_change=0.02)
    new = pa.table({"x": rng.normal(size=400), "kind": rng.choice(["a", "b", "c", "new"], 400)})
    seen = replay(limits, [profile(new, baseline.bins)] * 4)
    assert seen[-1].alarm
    assert max(seen[-1].features, key=lambda name: seen[-1].features[name]) == "kind"


def test_categories_that_come_anew_every_day_are_no_change() -> None:
    """A field such as a ticket number has values that no other day had, in the baseline as in serving."""
    rng = np.random.default_rng(10)

    def day(number: int) -> pa.Table:
        texts = [f"{number}-{row}" if row % 5 == 0 else "usual" for row in range(400)]
        times = pa.array([START + number * DAY] * 400, pa.timestamp("us", "UTC"))
        return pa.table({"x": rng.normal(size=400), "kind": texts, "event_timestamp": times})

    baseline = fit_baseline(pa.concat_tables([day(number) for number in range(20)]), FIELDS)
    limits = fit_limits(baseline, smallest_change=0.02)
    assert not replay(limits, [profile(day(100 + number), baseline.bins) for number in range(30)])[-1].alarm


def test_the_detector_is_a_supermartingale_at_its_limits() -> None:
    """At P(event) = b the mean factor is 1 or less; this is all that the budget rests on."""
    baseline = baseline_of(np.random.default_rng(11), days=10)
    limits = fit_limits(baseline, smallest_change=0.02)
    weighed, b, rows = limits.weighed(START), limits.pooled, 30
    hits = np.arange(rows + 1)
    chances = binom.pmf(hits, rows, b[:, None])  # events, hits
    ratios = hits[:, None, None] * weighed.inside + (rows - hits)[:, None, None] * weighed.outside
    free = np.einsum("eh,hea->ea", chances, np.exp(ratios))
    assert free == pytest.approx(np.ones(free.shape))
    for phi, most in ((3.0, math.inf), (1.0, 2.0)):
        held = np.einsum("eh,hea->ea", chances, np.exp(np.minimum(ratios / phi, most)))
        assert np.all(held <= 1 + 1e-12)


@settings(deadline=None)
@given(st.data())
def test_a_score_is_a_fair_bet_whatever_the_distribution(data: st.DataObject) -> None:
    baseline = baseline_of(np.random.default_rng(11), days=10, rows=100)
    limits = fit_limits(baseline, smallest_change=0.02)
    scores, bets = limits.scores, limits.weighed(START).bets
    cells = scores.values.shape[2]
    drawn = data.draw(st.lists(st.integers(0, 100), min_size=cells, max_size=cells).filter(any))
    chances = np.array(drawn) / sum(drawn)
    means = scores.values[0] @ chances
    factors = np.exp(bets[0]) @ chances
    allowed = means <= limits.pooled[scores.rows[0]]
    assert np.all(factors[allowed] <= 1 + 1e-12)
    assert np.all(scores.values >= 0)
    assert np.all(scores.values <= 1)


def test_limits_are_share_plus_its_error_plus_the_smallest_change() -> None:
    rng = np.random.default_rng(12)
    baseline = baseline_of(rng)
    limits = fit_limits(baseline, smallest_change=0.02)
    one = limits.features["kind"]
    share = float(baseline.whole.cells("kind")[0]) / 16_000
    event = next(at for at, each in enumerate(one.events) if (each.direction, each.start) == ("more", 0))
    hits = share * one.rows
    # of three categories, OTHER and UNSEEN more or fewer, UNSEEN once more, null and not null: thirteen events share
    # a third of a feature's delta
    upper = beta.ppf(1 - 0.05 / 2 / 3 / 13, hits + 1, one.rows - hits)
    assert one.limits[event] == pytest.approx(upper + 0.02)
    x = limits.features["x"]
    cut = baseline.bins.features[0].events[10]
    below = next(at for at, each in enumerate(x.events) if (each.direction, each.stop) == ("down", cut + 1))
    share = float(baseline.whole.cells("x")[: cut + 1].sum()) / 16_000
    assert x.limits[below] == pytest.approx(share + math.sqrt(math.log(6 / 0.025) / (2 * x.rows)) + 0.02)
    tail = next(at for at, each in enumerate(x.events) if each.kind == "range")
    assert x.limits[tail] < 0.01  # under the minimum: far below the bound for the whole distribution, and no room


def test_a_baseline_of_days_that_resemble_themselves_allows_for_its_own_error() -> None:
    rng = np.random.default_rng(12)
    steady = fit_limits(baseline_of(rng), smallest_change=0.02).features["x"]
    moody = fit_limits(baseline_of(rng, day_effect=2.0), smallest_change=0.02).features["x"]
    assert steady.rows > 5_000
    assert 40 <= moody.rows < 100  # forty days, each worth hardly more than one row
    assert moody.limits[0] > steady.limits[0] + 0.1


def test_the_value_follows_the_recursion_of_shiryaev_and_roberts() -> None:
    rng = np.random.default_rng(13)
    baseline = baseline_of(rng, days=10)
    limits = fit_limits(baseline, smallest_change=0.02)
    windows = list(windows_of(baseline, rng, [0.3, 0.0, 0.2]))
    seen = replay(limits, windows, budget=1e12)
    one = limits.features["kind"]
    weighed, place = limits.weighed(START), limits.places["kind"]
    value = np.zeros((len(one.limits), len(ALTERNATIVES)))
    for window in windows:
        cells = window.cells("kind")
        hits = np.array([cells[event.start : event.stop].sum() for event in one.events])
        hits = np.where([event.direction == "fewer" for event in one.events], 400 - hits, hits)[:, None]
        phi = 1 + 399 * one.rho
        ratios = (hits * weighed.inside[place] + (400 - hits) * weighed.outside[place]) / phi
        value = (1 + value) * np.exp(np.minimum(ratios, math.log(11)))
    for kind in ("drift", "nulls", "unseen"):
        mean = value[[event.kind == kind for event in one.events]].mean()
        assert math.exp(seen[-1].kinds[kind]["kind"]) == pytest.approx(mean, rel=1e-5)
    shares = sum(SHARES[kind] * math.exp(log) for kind, log in seen[-1].log_values.items())
    assert math.exp(seen[-1].log_value) == pytest.approx(shares)
    assert math.exp(seen[-1].log_values["nulls"]) == pytest.approx(
        np.mean([math.exp(log) for log in seen[-1].kinds["nulls"].values()])
    )
    assert [one.windows for one in seen] == [1, 2, 3]


def test_after_an_alarm_it_starts_afresh() -> None:
    rng = np.random.default_rng(14)
    baseline = baseline_of(rng, day_effect=0.3)
    limits = fit_limits(baseline, smallest_change=0.02)
    state, alarms = DetectorState.start(limits), []
    for number, window in enumerate(windows_of(baseline, rng, [0.0] * 20 + [2.0] * 12)):
        at = START + number * DAY
        state, evidence = step(limits, state, window, window_start=at, rows_per_block=400, average_run_length=2160)
        if evidence.alarm:
            alarms.append(number)
            assert (state.windows, state.values.any(), state.sums.any()) == (0, False, False)
            assert (evidence.launch, state.launched, state.first) == (False, False, START)
    assert len(alarms) >= 2
    assert alarms[0] >= 20


def test_a_restart_between_windows_changes_nothing() -> None:
    rng = np.random.default_rng(15)
    baseline = baseline_of(rng, days=10)
    limits = fit_limits(baseline, smallest_change=0.02)
    kept, restarted = DetectorState.start(limits), DetectorState.start(limits)
    for window in windows_of(baseline, rng, [0.1] * 5):
        restarted = DetectorState.from_dict(json.loads(json.dumps(restarted.to_dict(), allow_nan=False)))
        results = [
            step(limits, state, window, window_start=START, rows_per_block=400, average_run_length=2160)
            for state in (kept, restarted)
        ]
        (kept, one), (restarted, two) = results
        assert one == two
        assert kept.to_dict() == restarted.to_dict()


def test_a_window_without_rows_changes_nothing() -> None:
    rng = np.random.default_rng(16)
    baseline = baseline_of(rng, days=10)
    limits = fit_limits(baseline, smallest_change=0.02)
    empty, some = Profile.empty(baseline.bins), next(iter(windows_of(baseline, rng, [0.2])))
    with_gap, without = replay(limits, [empty, some, empty]), replay(limits, [some])
    assert with_gap[0] == Evidence(0.0, math.log(2160), 0, alarm=False, features={}, onset=None)
    assert (with_gap[1].log_value, with_gap[1].windows) == (without[0].log_value, 1)
    assert with_gap[2] == with_gap[1]


def test_a_state_or_a_window_of_another_baseline_is_refused() -> None:
    rng = np.random.default_rng(17)
    one, two = baseline_of(rng, days=10), baseline_of(rng, days=10)
    limits = fit_limits(one, smallest_change=0.02)
    window = profile(rows_of_a_day(rng, 0), one.bins)
    foreign = DetectorState.start(fit_limits(two, smallest_change=0.02))
    with pytest.raises(MonitorError, match="not of one baseline"):
        step(limits, foreign, window, window_start=START, rows_per_block=400, average_run_length=2160)
    other = profile(rows_of_a_day(rng, 0), two.bins)
    with pytest.raises(MonitorError, match="not of one baseline"):
        step(limits, DetectorState.start(limits), other, window_start=START, rows_per_block=400, average_run_length=9)


def test_limits_of_another_smallest_change_are_other_limits() -> None:
    baseline = baseline_of(np.random.default_rng(18), days=10)
    assert fit_limits(baseline, smallest_change=0.02).id == fit_limits(baseline, smallest_change=0.02).id
    assert fit_limits(baseline, smallest_change=0.02).id != fit_limits(baseline, smallest_change=0.05).id
