"""From readings of counters to rates and quantiles: histograms whose answer is known, restarts, and two releases."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.serving.metrics.calls import ENTITY_ROWS, LATENCY, REFUSED, STALE
from monitor.dashboard.traffic import Followed, Growth, Reading, growth, quantile, traffic

_BOUNDS = (0.1, 0.2, 0.5, 1.0)


def counted(*seconds: float, bounds: tuple[float, ...] = _BOUNDS) -> dict[float, float]:
    """Return a histogram of observations."""
    return {bound: float(sum(one <= bound for one in seconds)) for bound in (*bounds, math.inf)}


def latencies(method: str, service: str, histogram: dict[float, float]) -> dict[tuple[str, ...], float]:
    """Return a histogram as counters."""
    return {
        (LATENCY.name, method, service, "+Inf" if math.isinf(bound) else str(bound)): count
        for bound, count in histogram.items()
    }


def test_a_quantile_is_where_prometheus_has_it() -> None:
    histogram = {0.1: 10.0, 0.2: 30.0, 0.5: 40.0, math.inf: 40.0}
    # Rank 20 of 40: half of the 20 that lie between 0.1 and 0.2 are below it.
    assert quantile(0.5, histogram) == pytest.approx(0.15)
    # The lowest bucket begins at 0: rank 4 of the 10 in it.
    assert quantile(0.1, histogram) == pytest.approx(0.04)
    assert quantile(0.95, histogram) == pytest.approx(0.2 + 0.3 * 8 / 10)
    assert quantile(1.0, histogram) == pytest.approx(0.5)
    # What is over the last bound is nowhere in particular.
    assert quantile(0.99, {0.1: 1.0, math.inf: 5.0}) == 0.1
    assert quantile(0.5, {0.1: 0.0, math.inf: 0.0}) is None
    assert quantile(0.5, {}) is None


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_observation_that_it_estimates(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[math.ceil(share * len(seconds) - 1e-9) - 1]
    low, high = next(pair for pair in zip((0.0, *_BOUNDS), _BOUNDS, strict=False) if pair[0] < exact <= pair[1])
    estimate = quantile(share, counted(*seconds))
    assert estimate is not None
    assert low - 1e-9 <= estimate <= high + 1e-9


def test_a_server_that_was_started_anew_has_counted_from_nothing() -> None:
    a, b = ("a",), ("b",)
    # At the third look b is gone, and a is less.
    looks = [{a: 100.0, b: 5.0}, {a: 130.0, b: 5.0}, {a: 7.0}, {a: 9.0, b: 1.0}]
    followed = Followed()
    readings = [Reading(at=10.0 * number, totals=followed.take(totals)) for number, totals in enumerate(looks)]
    found = growth(readings[0], readings[-1])
    assert (dict(found.counts), found.seconds) == ({a: 30 + 7 + 2, b: 1.0}, 30)
    assert dict(growth(readings[1], readings[2]).counts) == {a: 7.0, b: 0.0}
    # Only the other counter tells of it, and the one has passed what it was meanwhile.
    followed = Followed()
    before, after = (Reading(at=0, totals=followed.take(one)) for one in ({a: 1.0, b: 5.0}, {a: 4.0, b: 1.0}))
    assert dict(growth(before, after).counts) == {a: 4.0, b: 1.0}


def test_servers_and_methods_are_added_up_by_service() -> None:
    get, stream, push = "GetOnlineFeatures", "StreamOnlineFeatures", "PushFeatures"
    one = Growth(
        seconds=10,
        counts={
            **latencies(get, "delay@1", counted(0.05, 0.05, 0.3)),
            **latencies(stream, "delay@1", counted(0.3)),
            **latencies(push, "", counted(0.15)),
            (ENTITY_ROWS.name, "delay@1"): 40.0,
            (REFUSED.name, get, "NOT_FOUND"): 3.0,
            (REFUSED.name, get, "INTERNAL"): 0.0,
        },
    )
    # This one was looked at for half the time, and has a bound less.
    other = Growth(
        seconds=5,
        counts={
            **latencies(get, "delay@1", counted(0.05, 0.05, bounds=(0.1, 0.5))),
            (ENTITY_ROWS.name, "delay@1"): 5.0,
            (STALE.name, "delay@1"): 2.0,
            (REFUSED.name, get, "NOT_FOUND"): 1.0,
        },
    )
    found = traffic([one, other])
    assert found["seconds"] == 10
    delay, pushes = found["services"]
    assert (delay["service"], delay["stale"]) == ("delay@1", 2)
    assert delay["requests_per_second"] == pytest.approx(4 / 10 + 2 / 5)
    assert delay["rows_per_second"] == pytest.approx(4 + 1)
    # Four of six are at or below 0.1, the others between 0.1 and 0.5, as both servers can tell.
    assert delay["p50"] == pytest.approx(0.1 * 3 / 4)
    assert delay["p95"] == pytest.approx(0.1 + 0.4 * (5.7 - 4) / 2)
    assert (pushes["service"], pushes["method"], pushes["rows_per_second"]) == ("", push, None)
    (refused,) = found["refused"]
    assert (refused["code"], refused["count"]) == ("NOT_FOUND", 4)
    assert refused["per_second"] == pytest.approx(3 / 10 + 1 / 5)


def test_what_is_slower_than_the_last_bound_is_said_to_be() -> None:
    found = traffic([Growth(seconds=1, counts=latencies("Get", "slow@1", counted(0.05, 0.05, 99.0)))])
    assert found["services"][0]["beyond"] == ["p95", "p99"]
    assert found["services"][0]["p99"] == 1.0
    assert traffic([]) == {"seconds": 0.0, "services": [], "refused": []}
