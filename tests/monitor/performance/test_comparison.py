"""Is B better? The answers, what they rest on, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitor.performance.comparison import Margin, compare
from monitor.performance.intervals import difference, quantile, ratio, wilson


def hits(share: float, rows: int) -> np.ndarray:
    return (np.arange(rows) < round(share * rows)) * 1.0


def test_shares_have_newcombes_interval_and_the_ratio_of_donner_and_zou() -> None:
    found = compare(hits(0.6, 80), hits(0.8, 70), metric="conversion")
    one, other = (wilson(arm.mean, arm.rows, quantile(0.95)) for arm in (found.a, found.b))
    assert found.difference == difference(other, one)
    assert (round(found.difference.low, 4), round(found.difference.high, 4)) == (0.0524, 0.3339)
    assert found.ratio == ratio(other, one)


def test_means_have_welchs_error() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(5, 1, 500), random.normal(6, 2, 400)
    found = compare(a, b, metric="revenue")
    error = np.sqrt(a.var(ddof=1) / 500 + b.var(ddof=1) / 400)
    assert found.difference.high - found.difference.value == pytest.approx(1.96 * error, rel=0.01)


def test_yes_no_and_not_yet() -> None:
    def ask(b: float, rows: int, amount: float) -> str:
        return compare(hits(0.10, rows), hits(b, rows), metric="conversion", margin=Margin(amount=amount)).answer

    assert ask(0.12, 50_000, 0.05) == "yes"
    assert ask(0.101, 50_000, 0.05) == "no"
    assert ask(0.12, 1_000, 0.05) == "not yet"
    assert ask(0.12, 50_000, 0.25) == "no"
    # Non-inferiority: a little worse is good enough, and much worse is not.
    assert ask(0.0995, 200_000, -0.05) == "yes"
    assert ask(0.08, 50_000, -0.05) == "no"


def test_the_answer_agrees_with_the_interval_of_the_ratio() -> None:
    for b in (0.10, 0.105, 0.11, 0.12):
        found = compare(hits(0.10, 20_000), hits(b, 20_000), metric="conversion", margin=Margin(amount=0.05))
        assert found.ratio is not None
        assert (found.answer == "yes") == (found.ratio.low > 1.05)
        assert (found.answer == "no") == (found.ratio.high < 1.05)


def test_an_absolute_margin_and_a_metric_of_which_less_is_better() -> None:
    slow, fast = np.full(100, 10.0) + np.arange(100) % 3, np.full(100, 8.0) + np.arange(100) % 3
    by_part = compare(slow, fast, metric="latency", margin=Margin(amount=0.1, lower_is_better=True))
    assert by_part.answer == "yes"
    assert by_part.contrast.value == pytest.approx(0.9 * slow.mean() - fast.mean())
    by_unit = compare(slow, fast, metric="latency", margin=Margin(amount=3, relative=False, lower_is_better=True))
    assert by_unit.answer == "no"
    assert by_unit.contrast.value == pytest.approx(2 - 3)


def test_of_a_loss_better_by_a_part_is_nearer_to_nothing() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(-10, 1, 1000), random.normal(-9, 1, 1000)
    assert compare(a, b, metric="profit", margin=Margin(amount=0.05)).answer == "yes"
    assert compare(a, b, metric="profit", margin=Margin(amount=0.15)).answer == "no"
    assert compare(a, b, metric="profit").ratio is None


def test_the_rows_that_are_asked_for_settle_it_four_times_of_five() -> None:
    random = np.random.default_rng(3)
    first = compare(hits(0.10, 2000), hits(0.12, 2000), metric="conversion", margin=Margin(amount=0.02))
    assert first.answer == "not yet"
    assert first.rows_needed is not None
    settled = 0
    for _ in range(200):
        a, b = ((random.random(first.rows_needed) < share) * 1.0 for share in (0.10, 0.12))
        settled += compare(a, b, metric="conversion", margin=Margin(amount=0.02)).answer == "yes"
    assert 140 <= settled <= 180
    assert f"About {first.rows_needed:,} rows of each would settle it" in first.text


def test_at_the_margin_itself_no_rows_settle_it() -> None:
    found = compare(hits(0.1, 1000), hits(0.1, 1000), metric="conversion")
    assert (found.answer, found.rows_needed) == ("not yet", None)


def test_who_looks_often_is_fooled_by_intervals_for_one_look_and_not_by_those_for_any_time() -> None:
    random = np.random.default_rng(4)
    fooled = {False: 0, True: 0}
    for _ in range(60):
        a, b = ((random.random(8000) < 0.1) * 1.0 for _ in range(2))
        for anytime in fooled:
            looks = (compare(a[:n], b[:n], metric="conversion", always_valid=anytime) for n in range(400, 8001, 400))
            fooled[anytime] += any(one.answer in ("yes", "no") for one in looks)
    assert fooled[False] >= 9
    assert fooled[True] <= 3


def test_always_valid_intervals_settle_what_is_clear_and_say_what_they_are() -> None:
    found = compare(hits(0.10, 20_000), hits(0.15, 20_000), metric="conversion", always_valid=True)
    once = compare(hits(0.10, 20_000), hits(0.15, 20_000), metric="conversion")
    assert found.answer == "yes"
    assert found.difference.low < once.difference.low
    assert "(95 %, at any time)" in found.text
    assert "(95 %, for one look)" in once.text


def test_what_days_do_to_both_falls_out_of_the_difference() -> None:
    random = np.random.default_rng(5)
    covered = {"shared": 0, "apart": 0, "ignored": 0}
    widths = {"shared": 0.0, "apart": 0.0}
    for _ in range(150):
        days = [random.integers(0, 30, 1500) for _ in range(2)]
        effect = random.normal(0, 0.5, 60)
        noise = random.normal(size=(2, 1500))
        a, b = 2 + effect[days[0]] + noise[0], 2.4 + effect[days[1]] + noise[1]
        other = 2.4 + effect[days[1] + 30] + noise[1]
        for name, arm, of_days in (("shared", b, days[1]), ("apart", other, days[1] + 30)):
            one = compare(a, arm, metric="revenue", blocks=(days[0], of_days)).difference
            covered[name] += one.low <= 0.4 <= one.high
            widths[name] += one.high - one.low
        naive = compare(a, other, metric="revenue").difference
        covered["ignored"] += naive.low <= 0.4 <= naive.high
    assert covered["shared"] >= 134
    assert covered["apart"] >= 134
    assert covered["ignored"] < 110
    assert widths["shared"] < widths["apart"] / 2


def test_few_rows_are_not_enough_data() -> None:
    for a, b in (([], []), ([1.0], [0.0]), (hits(0.5, 29), hits(0.5, 400)), (np.full(50, np.nan), hits(0.5, 50))):
        found = compare(np.array(a), np.array(b), metric="conversion")
        assert found.answer == "not enough data"
        assert found.text.startswith("Not enough data: A has ")
    assert compare(np.zeros(0), np.zeros(0), metric="m", always_valid=True).answer == "not enough data"


def test_a_constant_metric_is_compared() -> None:
    found = compare(np.full(100, 2.0), np.full(100, 2.0), metric="revenue")
    assert found.difference == (0, 0, 0)
    assert found.answer == "not yet"
    zeros = compare(np.zeros(100), np.zeros(100), metric="conversion", margin=Margin(amount=0.05))
    assert (zeros.answer, zeros.ratio) == ("not yet", None)


arms = hnp.arrays(np.float64, st.integers(0, 80), elements=st.floats(-1e6, 1e6) | st.just(np.nan))


@given(arms, arms, st.sampled_from([0.0, 0.05, -0.1, 2.0]), st.booleans(), st.booleans(), st.booleans())
def test_any_rows_have_an_answer(
    a: np.ndarray, b: np.ndarray, amount: float, relative: bool, lower: bool, anytime: bool
) -> None:
    found = compare(
        a, b, metric="m", margin=Margin(amount=amount, relative=relative, lower_is_better=lower), always_valid=anytime
    )
    assert found.answer in ("yes", "no", "not yet", "not enough data")
    assert found.text
    assert found.difference.low <= found.difference.value <= found.difference.high
