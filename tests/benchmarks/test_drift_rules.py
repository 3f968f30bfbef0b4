"""The rules of others agree with SciPy and with their documentation, on rows themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from benchmarks import drift_rules as rules
from benchmarks.drift_rules import RULES, Columns

NAMED = {one.name: one for one in RULES}


@pytest.fixture
def numbers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(size=2000), rng.normal(0.3, 1.1, size=(4, 300)).round(2)


def categories(*shares: list[int]) -> Columns:
    before, *after = np.array(shares)
    return Columns("categorical", before[None], np.array(after)[:, None], chunks=np.array(after)[:, None])


def test_kolmogorov_and_smirnov_on_counts_are_scipys_on_rows(numbers: tuple[np.ndarray, np.ndarray]) -> None:
    before, after = numbers
    columns = Columns.of_numbers(before, after)
    distance, log_p = rules.kolmogorov_smirnov(columns.reference, columns.windows)
    for at, window in enumerate(after):
        wanted = stats.ks_2samp(before, window)
        assert distance[at, 0] == pytest.approx(wanted.statistic, abs=1e-12)
        assert log_p[at, 0] == pytest.approx(math.log(wanted.pvalue), rel=0.03)


def test_wasserstein_on_counts_is_scipys_on_rows(numbers: tuple[np.ndarray, np.ndarray]) -> None:
    before, after = numbers
    columns = Columns.of_numbers(before, after)
    assert columns.values is not None
    found = rules.wasserstein(columns.reference, columns.windows, columns.values)
    wanted = [stats.wasserstein_distance(before, window) / before.std() for window in after]
    assert found[:, 0] == pytest.approx(wanted, rel=1e-10)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=6))
@settings(max_examples=100, deadline=None)
def test_tests_of_categories_are_scipys(pairs: list[tuple[int, int]]) -> None:
    before, after = (np.array(side) for side in zip(*pairs, strict=True))
    used = (before + after) > 0
    if not before.sum() or not after.sum() or used.sum() < 2:
        return
    columns = categories(list(before), list(after))
    wanted = stats.chi2_contingency([before[used], after[used]], correction=False).pvalue
    assert rules.homogeneity(columns.reference, columns.windows)[0, 0] == pytest.approx(math.log(wanted), abs=1e-9)
    if (before[used] > 0).all():
        wanted = stats.chisquare(after[used], before[used] * after.sum() / before.sum()).pvalue
        found = math.exp(rules.goodness_of_fit(columns.reference, columns.windows)[0, 0])
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-250)
    wanted = jensenshannon(before, after, base=2)
    assert rules.jensen_shannon(columns.reference, columns.windows, base=2)[0, 0] == pytest.approx(wanted, abs=1e-7)


def test_known_answers() -> None:
    columns = categories([50, 30, 20], [40, 40, 20])
    assert rules.stability_index(columns.reference, columns.windows)[0, 0] == pytest.approx(0.0510825624, abs=1e-9)
    assert rules.jensen_shannon(columns.reference, columns.windows)[0, 0] == pytest.approx(0.0797947, abs=1e-7)
    assert rules.jensen_shannon(columns.reference, columns.windows, base=2)[0, 0] == pytest.approx(0.0958432, abs=1e-7)
    columns = categories([4, 2, 0], [1, 1, 4])
    assert math.exp(rules.homogeneity(columns.reference, columns.windows)[0, 0]) == pytest.approx(0.04657615, abs=1e-7)


def test_an_unseen_category_is_certain_to_goodness_of_fit_and_p_values_underflow_without_ties() -> None:
    columns = categories([50, 50, 0, 0], [50, 49, 1, 0], [10**6, 0, 0, 0], [2 * 10**6, 0, 0, 0])
    found = rules.goodness_of_fit(columns.reference, columns.windows)[:, 0]
    assert found[0] == -math.inf
    assert -math.inf < found[2] < found[1] < -400_000


def test_a_column_of_one_value_and_a_window_without_rows_are_not_odd() -> None:
    for columns in (categories([50, 0], [20, 0]), categories([50, 50], [0, 0])):
        for rule in RULES:
            assert not rule.alarms([columns]).any(), rule.name


def test_corrections_are_those_of_the_textbook() -> None:
    p = np.array([[0.001, 0.02, 0.03, 0.5], [0.02, 0.03, 0.04, 0.045], [0.02, 0.3, 0.4, 0.5]])
    scores = -np.log(p)
    assert np.exp(-rules.any_column(scores)) == pytest.approx([0.001, 0.02, 0.02])
    assert np.exp(-rules.bonferroni(scores)) == pytest.approx([0.004, 0.08, 0.08])
    wanted = [stats.false_discovery_control(row).min() for row in p]
    assert np.exp(-rules.benjamini_hochberg(scores)) == pytest.approx(wanted)
    assert rules.half_of_columns(p).tolist() == [0.03, 0.04, 0.4]
    assert rules.half_of_columns(p[:, :3]).tolist() == [0.02, 0.03, 0.3]


def test_evidently_tests_few_rows_and_measures_many() -> None:
    rng = np.random.default_rng(6)
    before, after = rng.normal(size=1000), rng.normal(0.2, 1, size=(3, 500))
    few = rules.evidently_scores(Columns.of_numbers(before, after))[:, 0]
    wanted = [math.log(stats.ks_2samp(before, one).pvalue) / math.log(0.05) for one in after]
    assert few == pytest.approx(wanted, rel=0.05)
    before = np.append(before, 0.0)
    many = rules.evidently_scores(Columns.of_numbers(before, after))[:, 0]
    assert many == pytest.approx([stats.wasserstein_distance(before, one) / before.std() / 0.1 for one in after])
    z = rules.evidently_scores(categories([500, 500], [230, 270]))[0, 0]
    pooled = 730 / 1500
    statistic = (0.46 - 0.5) / math.sqrt(pooled * (1 - pooled) * (1 / 1000 + 1 / 500))
    assert math.exp(z * math.log(0.05)) == pytest.approx(2 * stats.norm.sf(abs(statistic)))
    fit = rules.evidently_scores(categories([500, 300, 200], [230, 170, 100]))[0, 0]
    assert math.exp(fit * math.log(0.05)) == pytest.approx(stats.chisquare([230, 170, 100], [250, 150, 100]).pvalue)
    far = rules.evidently_scores(categories([5000, 3000, 2000], [230, 170, 100]))[0, 0]
    assert far == pytest.approx(jensenshannon([0.5, 0.3, 0.2], [0.46, 0.34, 0.2]) / 0.1)


def test_nannyml_measures_against_its_chunks() -> None:
    rng = np.random.default_rng(7)
    before, after = rng.gamma(2, size=5000), rng.gamma(2, 1.1, size=(3, 500))
    after[0, :7] = 99.0
    edges = np.histogram_bin_edges(before, bins="doane")
    whole = np.histogram(before, edges)[0] / len(before)

    def distance(rows: np.ndarray) -> float:
        shares = np.histogram(rows, edges)[0] / len(rows)
        return float(jensenshannon([*whole, 0.0], [*shares, 1 - shares.sum()], base=2))

    chunks = np.array([distance(one) for one in np.array_split(before, 10)])
    wanted = [(distance(one) - chunks.mean()) / chunks.std() for one in after]
    assert rules.nannyml_scores(Columns.of_numbers(before, after))[:, 0] == pytest.approx(np.abs(wanted), rel=1e-6)
    apart = [stats.ks_2samp(before, one).statistic for one in (*after, *np.array_split(before, 10))]
    wanted = (np.array(apart[:3]) - np.mean(apart[3:])) / np.std(apart[3:])
    assert rules.nannyml_ks_scores(Columns.of_numbers(before, after))[:, 0] == pytest.approx(np.abs(wanted), rel=1e-6)


def test_stability_of_numbers_is_over_tenths_of_the_reference() -> None:
    rng = np.random.default_rng(8)
    before, after = rng.normal(size=5000), rng.normal(0.3, 1, size=(2, 400))
    edges = [-np.inf, *np.quantile(before, np.arange(1, 10) / 10), np.inf]
    p = np.histogram(before, edges)[0] / len(before)
    wanted = []
    for one in after:
        q = np.histogram(one, edges)[0] / len(one)
        wanted.append(((q - p) * np.log(q / p)).sum())
    # A row that lies between two of the reference's, where the cut does, may count on either side of it.
    assert rules.stability_scores(Columns.of_numbers(before, after))[:, 0] == pytest.approx(wanted, rel=0.02)


def test_coarse_cells_lose_little(numbers: tuple[np.ndarray, np.ndarray]) -> None:
    exact = Columns.of_numbers(*numbers)
    assert exact.values is not None
    groups = rules.equal_shares(exact.reference, 150)
    fields = ("reference", "windows", "chunks")
    sides: dict[str, Any] = {name: rules.merged(getattr(exact, name), groups, 150) for name in fields}
    weight = np.maximum(exact.reference + exact.windows.sum(axis=0), 1)
    values = np.array([np.bincount(groups[0], weight[0] * exact.values[0]) / np.bincount(groups[0], weight[0])])
    coarse = replace(exact, values=values, **sides)
    for rule in RULES:
        if rule.name.startswith(("KS", "PSI", "Evidently")):
            assert rule.statistic([coarse]) == pytest.approx(rule.statistic([exact]), rel=0.12), rule.name


def test_the_documented_thresholds_and_free_ones() -> None:
    columns = categories([500, 300, 200], [480, 310, 210], [400, 400, 200])
    assert NAMED["KS p<.05"].alarms([columns]).tolist() == [False, True]
    assert NAMED["KS p<.05"].alarms([columns], 0.0).tolist() == [True, True]
    assert NAMED["PSI>.1"].alarms([columns]).tolist() == [False, False]
