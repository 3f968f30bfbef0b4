"""Values that are missing where none ever was."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore import types
from featurestore.definitions import Field
from featurestore.profiles import Baseline, fit_baseline, profile
from monitor.decisions import Decision, decide
from monitor.detector import Evidence, fit_limits

START = datetime(2013, 1, 1, tzinfo=UTC)
FIELDS = [Field(name="temp", dtype=types.Float64), Field(name="carrier", dtype=types.String)]
QUIET = Evidence(0.0, math.log(2160), 40, False, {"temp": 0.0, "carrier": 0.0}, None)


def fitted(rows: int = 10_000, *, nulls: int = 0) -> Baseline:
    random = np.random.default_rng(1)
    temp = [None if row < nulls else value for row, value in enumerate(random.normal(40, 5, rows))]
    times = pa.array([START + timedelta(days=row // 250) for row in range(rows)], pa.timestamp("us", "UTC"))
    carrier = random.choice(["AA", "UA"], rows)
    table = pa.table({"temp": pa.array(temp, pa.float64()), "carrier": carrier, "event_timestamp": times})
    return fit_baseline(table, FIELDS)


def decided(baseline: Baseline, temp: list[float | None], evidence: Evidence = QUIET, **arguments: Any) -> Decision:
    random = np.random.default_rng(2)
    rows = pa.table({"temp": pa.array(temp, pa.float64()), "carrier": random.choice(["AA", "UA"], len(temp))})
    return decide(
        baseline,
        profile(rows, baseline.bins),
        evidence,
        fit_limits(baseline, smallest_change=0.02),
        # So many rows a block that a window of some is worth nothing.
        **({"effect_threshold": 0.1, "rows_per_block": 1e8} | arguments),
    )


def with_nulls(share: float, rows: int = 1_000) -> list[float | None]:
    random = np.random.default_rng(3)
    return [None if row < share * rows else value for row, value in enumerate(random.normal(40, 5, rows).tolist())]


def test_it_needs_no_evidence() -> None:
    decision = decided(fitted(), with_nulls(0.8))
    temp = decision.findings[0]
    assert (decision.verdict, decision.kind, temp.feature) == ("severe", "null spike", "temp")
    assert (temp.certain, temp.statistic, temp.effect, temp.direction) == (True, "null_rate", 0.8, "up")
    assert 0.7 < temp.effect_low < 0.8 < temp.effect_high < 0.9
    assert not decision.findings[1].certain


def test_values_that_are_no_numbers_are_missing_too() -> None:
    temp = [math.nan if one is None else one for one in with_nulls(0.3)]
    finding = decided(fitted(), temp).findings[0]
    assert (finding.certain, finding.statistic, finding.verdict) == (True, "nan_rate", "drift")


@pytest.mark.parametrize(
    ("baseline", "temp", "settings"),
    [
        (fitted(nulls=1), with_nulls(0.8), {}),  # there was one before
        (fitted(rows=999), with_nulls(0.8), {}),  # nobody knows whether there never is one
        (fitted(), with_nulls(0.8, rows=29), {}),  # too few to tell a share
        (fitted(), with_nulls(0.11), {}),  # not surely over the threshold
        (fitted(), with_nulls(0.8), {"thresholds": {"temp:null_rate": 0.85}}),
        (fitted(), with_nulls(0.8), {"statistics": {"temp": "wasserstein"}}),  # judged by something else
    ],
)
def test_elsewhere_it_needs_both_keys(baseline: Baseline, temp: list[float | None], settings: dict[str, Any]) -> None:
    decision = decided(baseline, temp, **settings)
    assert decision.verdict not in ("drift", "severe")
    assert not any(one.certain for one in decision.findings)


def test_a_threshold_of_its_own_counts() -> None:
    assert decided(fitted(), with_nulls(0.05), thresholds={"*:null_rate": 0.01}).verdict == "drift"


def test_what_both_keys_say_is_said() -> None:
    random = np.random.default_rng(4)
    moved: list[float | None] = [None if row < 150 else 52 + one for row, one in enumerate(random.normal(0, 5, 1_000))]
    evidence = Evidence(11.0, math.log(2160), 40, True, {"temp": 12.0, "carrier": 0.0}, START + timedelta(days=60))
    temp = decided(fitted(), moved, evidence, rows_per_block=250).findings[0]
    assert (temp.kind, temp.certain) == ("drift", False)
    assert "null spike" in temp.kinds
