"""The second opinion sees what no feature shows by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.profiles import Bins, fit_bins
from monitor.decisions import SecondOpinion, second_opinion

FIELDS = [
    Field(name="temp", dtype=types.Float64),
    Field(name="dewp", dtype=types.Float64),
    Field(name="wind", dtype=types.Float64),
    Field(name="carrier", dtype=types.String),
]


def rows(rng: np.random.Generator, count: int, *, correlation: float = 0.0, **columns: Any) -> pa.Table:
    temp, other = rng.standard_normal((2, count))
    usual = {
        "temp": temp,
        "dewp": correlation * temp + np.sqrt(1 - correlation**2) * other,
        "wind": rng.standard_normal(count),
        "carrier": rng.choice(["AA", "UA"], count),
    }
    return pa.table(usual | columns)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture
def reference(rng: np.random.Generator) -> pa.Table:
    return rows(rng, 2000)


@pytest.fixture
def bins(reference: pa.Table) -> Bins:
    return fit_bins(reference, FIELDS)


def asked(reference: pa.Table, current: pa.Table, bins: Bins, **arguments: Any) -> SecondOpinion:
    return second_opinion(reference, current, bins, **({"effect_threshold": 0.1} | arguments))


def test_a_changed_correlation_is_seen_and_named(reference: pa.Table, bins: Bins, rng: np.random.Generator) -> None:
    found = asked(reference, rows(rng, 2000, correlation=0.8), bins)
    assert found.verdict == "drift"
    assert found.area.low > found.threshold == 0.55
    assert found.discrepancy.low > 0
    (pair,) = found.associations
    assert pair.features == ("temp", "dewp")
    assert pair.baseline == pytest.approx(0, abs=0.1)
    assert pair.current == pytest.approx(0.786, abs=0.05)  # 6 / pi * asin(0.8 / 2)
    assert str(pair).startswith("temp and dewp: correlation ")


def test_the_same_rows_are_ok(reference: pa.Table, bins: Bins, rng: np.random.Generator) -> None:
    found = asked(reference, rows(rng, 2000), bins)
    assert (found.verdict, found.associations) == ("ok", ())
    assert found.area.low < 0.5 < found.area.high
    assert (found.reference_rows, found.current_rows) == (2000, 2000)


def test_what_does_not_overlap_is_severe(reference: pa.Table, bins: Bins, rng: np.random.Generator) -> None:
    assert asked(reference, rows(rng, 500, temp=rng.normal(9, 1, 500)), bins).verdict == "severe"


def test_rows_of_one_day_are_hardly_more_than_one(reference: pa.Table, bins: Bins, rng: np.random.Generator) -> None:
    changed = rows(rng, 2000, correlation=0.8)
    found = asked(reference, changed, bins, rho=0.5, reference_blocks=90)
    assert (found.verdict, found.associations) == ("not enough data", ())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_rows_are_not_enough(reference: pa.Table, bins: Bins, rng: np.random.Generator, count: int) -> None:
    assert asked(reference, rows(rng, count), bins).verdict == "not enough data"


def test_missing_constant_and_infinite_columns_get_a_verdict(
    reference: pa.Table, bins: Bins, rng: np.random.Generator
) -> None:
    odd = rows(rng, 500, temp=[np.nan, np.inf] * 250, wind=[1.0] * 500, carrier=pa.nulls(500, pa.string()))
    assert asked(reference, odd.drop_columns(["dewp"]), bins).verdict == "severe"
    empty = pa.table({"x": pa.nulls(50)})
    assert asked(empty, empty, bins).verdict in ("ok", "not enough data")
