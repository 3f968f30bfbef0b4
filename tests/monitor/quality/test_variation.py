"""Constant features and frozen views: those that varied and do not; those that never did are no news."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore.definitions import Field
from featurestore.profiles import Baseline, Profile, fit_baseline, profile
from featurestore.types import Bool, Bytes, DType, Float64, Int64, String
from monitor.quality.finding import Finding
from monitor.quality.variation import ViewNewest, constant_features, feature_spreads, frozen_view

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS, ROWS = 60, 240


def baseline(values: Callable[[np.random.Generator, int], list[Any]], dtype: DType) -> Baseline:
    random = np.random.default_rng(1)
    column = [value for day in range(DAYS) for value in values(random, day)]
    times = [START + DAY * day + DAY * row / ROWS for day in range(DAYS) for row in range(ROWS)]
    table = pa.table(
        {"x": pa.array(column, dtype.to_arrow()), "event_timestamp": pa.array(times, pa.timestamp("us", "UTC"))}
    )
    return fit_baseline(table, [Field(name="x", dtype=dtype)])


def windows(base: Baseline, hours: int, value: Callable[[int], Any], rows: int = 10) -> list[tuple[datetime, Profile]]:
    dtype = base.bins.features[0].dtype.to_arrow()
    begin = START + DAY * 100
    return [
        (begin + HOUR * hour, profile(pa.table({"x": pa.array([value(hour)] * rows, dtype)}), base.bins))
        for hour in range(hours)
    ]


def judged(base: Baseline, recent: list[tuple[datetime, Profile]], run_length: float = 2160) -> Finding:
    spreads = feature_spreads(base, recent, window=HOUR, views={"x": ("weather",)})
    (finding,) = constant_features(spreads, block=base.block, window=HOUR, average_run_length=run_length)
    return finding


def normal(random: np.random.Generator, _: int) -> list[float]:
    return random.normal(size=ROWS).tolist()


@pytest.mark.parametrize(
    ("values", "dtype", "value"),
    [
        (normal, Float64, 0.0),
        (lambda random, _: random.integers(2**53, 2**60, ROWS).tolist(), Int64, 2**53 + 1),
        (lambda random, _: random.choice(["a", "b", "c"], ROWS).tolist(), String, "b"),
        (lambda random, _: (random.random(ROWS) < 0.5).tolist(), Bool, True),
        (normal, Float64, float("nan")),
    ],
)
def test_a_feature_that_varied_and_stands_still_for_days(values: Any, dtype: DType, value: Any) -> None:
    base = baseline(values, dtype)
    recent = windows(base, 72, lambda _: value)
    finding = judged(base, recent)
    assert (finding.verdict, finding.views, finding.statistical) == ("drift", ("weather",), True)
    assert finding.log_evidence is not None
    assert finding.log_limit is not None
    assert finding.log_evidence >= finding.log_limit
    assert finding.onset == recent[0][0]
    assert "one value in all of 720 rows" in finding.sentence


def test_one_day_is_not_enough_for_a_quarter_s_budget_and_is_for_a_small_one() -> None:
    base = baseline(normal, Float64)
    recent = windows(base, 24, lambda _: 0.0)
    assert judged(base, recent).verdict == "ok"
    assert judged(base, recent, run_length=24).verdict == "drift"


def test_a_feature_that_is_constant_within_each_window_varies_all_the_same() -> None:
    base = baseline(lambda _, __: [row * 24 // ROWS for row in range(ROWS)], Int64)
    assert judged(base, windows(base, 72, lambda hour: hour % 24)).verdict == "ok"


def test_a_feature_that_is_constant_on_each_day_is_no_news() -> None:
    base = baseline(lambda _, day: [day % 7] * ROWS, Int64)
    assert judged(base, windows(base, 72, lambda _: 3)).verdict == "not enough data"


def test_a_rare_flag_may_be_absent_for_long() -> None:
    base = baseline(lambda random, _: (random.random(ROWS) < 0.004).astype(int).tolist(), Int64)
    assert judged(base, windows(base, 48, lambda _: 0)).verdict in ("ok", "not enough data")


@pytest.mark.parametrize(
    ("values", "dtype", "value", "hours"),
    [
        (lambda _, __: [None] * ROWS, Float64, 1.0, 72),
        (lambda _, __: [1.0] * ROWS, Float64, 1.0, 72),
        (lambda random, _: [random.bytes(3) for _ in range(ROWS)], Bytes, b"x", 72),
        (normal, Float64, 0.0, 0),
        (normal, Float64, 0.0, 3),
        (normal, Float64, None, 72),
        (normal, Float64, float("inf"), 72),
        (lambda random, _: random.choice(["a", "b"], ROWS).tolist(), String, "new", 72),
    ],
)
def test_what_cannot_be_told_is_not_enough_data(values: Any, dtype: DType, value: Any, hours: int) -> None:
    base = baseline(values, dtype)
    assert judged(base, windows(base, hours, lambda _: value)).verdict == "not enough data"


def newest(*hours: float) -> ViewNewest:
    return ViewNewest(
        view="weather", windows=tuple((START + HOUR * at, START + HOUR * hour) for at, hour in enumerate(hours))
    )


@pytest.mark.parametrize(
    ("hours", "verdict"),
    [
        ((0, 1, 2, 3, 4), "ok"),
        ((0, 1, 2, 2, 2, 2), "drift"),
        ((0, 1, 2, 2, 2), "ok"),
        ((0, 0, 0, 3, 3, 3, 6, 6, 6, 6), "ok"),  # it often stands still for two windows
        ((0, 0, 3, 3, 6, *[6] * 3), "drift"),
        ((5, 5, 5, 5, 5, 5), "not enough data"),  # it never moved here
        ((3,), "not enough data"),
        ((), "not enough data"),
    ],
)
def test_a_view_has_frozen_when_it_stands_still_for_longer_than_it_ever_did(
    hours: tuple[float, ...], verdict: str
) -> None:
    finding = frozen_view(newest(*hours))
    assert finding.verdict == verdict
    if verdict == "drift":
        assert finding.onset is not None
        assert '"weather"' in finding.sentence
