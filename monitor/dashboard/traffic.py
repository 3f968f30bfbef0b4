"""Readings of servers' counters -> requests a second, quantiles of latency, refusals. Pure.

A counter says how much there was since its server started, so what a time had is the difference of two readings. One
that went back, or is gone, says that the server was started anew: all that it has counted since counts then.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.serving.metrics.calls import ENTITY_ROWS, LATENCY, REFUSED, STALE
from featurestore.serving.metrics.parsing import Series

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


class Followed:
    """The counters of one server, followed through its restarts: what is returned never goes back."""

    def __init__(self) -> None:
        self._last: Mapping[Series, float] = {}
        self._so_far: Mapping[Series, float] = {}

    def take(self, totals: Mapping[Series, float]) -> Mapping[Series, float]:
        """Return each counter as if the server had never been started anew since it was first read.

        Args:
            totals: what it has counted since it started.
        """
        anew = any(totals.get(one, 0.0) < total for one, total in self._last.items())
        last: Mapping[Series, float] = {} if anew else self._last
        grown = {one: self._so_far.get(one, 0.0) + total - last.get(one, 0.0) for one, total in totals.items()}
        self._last, self._so_far = totals, {**self._so_far, **grown}
        return self._so_far


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One look at a server.

    Attributes:
        at: seconds of a clock that only goes forward.
        totals: its counters; see :class:`Followed`.
    """

    at: float
    totals: Mapping[Series, float]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """By how much the counters of one server grew.

    Attributes:
        counts: of each counter.
        seconds: in how many.
    """

    counts: Mapping[Series, float]
    seconds: float


def growth(first: Reading, last: Reading) -> Growth:
    """Return by how much the counters of a server grew between two readings."""
    counts = {one: total - first.totals.get(one, 0.0) for one, total in last.totals.items()}
    return Growth(counts=counts, seconds=last.at - first.at)


def quantile(share: float, counts: Mapping[float, float]) -> float | None:
    """Return an estimate of a quantile from a histogram, as Prometheus' ``histogram_quantile`` makes it.

    Within the bucket in which it lies observations are taken for evenly spread; the lowest one begins at 0. In the last
    bucket, which has no upper bound, it is the lower bound.

    Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile

    Args:
        share: 0.95 for the 95th percentile.
        counts: observations at or below each upper bound; that of infinity counts all.

    Returns:
        It, in the unit of the bounds; None where nothing was observed.
    """
    total = counts.get(math.inf, 0.0)
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for bound in sorted(counts):
        if math.isinf(bound):
            break
        # Buckets that were read at different instants may seem to hold less than nothing.
        count = max(counts[bound], below)
        if count >= rank and count > below:
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


def traffic(servers: Iterable[Growth]) -> dict[str, Any]:
    """Return the traffic of all servers together, as JSON values.

    Returns:
        ``seconds``, the longest time that was looked at; ``services``, by version, and by method what belongs to none,
        each with ``requests_per_second``, ``rows_per_second``, quantiles in seconds, those of them that lie ``beyond``
        the last bound, and the ``stale`` responses; ``refused``, by method and code.
    """
    found = list(servers)
    seconds = max((one.seconds for one in found), default=0.0)
    # Servers that were started at different instants were looked at for different times, so rates are added.
    rates: dict[Series, float] = defaultdict(float)
    counts: dict[Series, float] = defaultdict(float)
    for one in found:
        for series, count in one.counts.items():
            counts[series] += count
            rates[series] += count / one.seconds if one.seconds > 0 else 0.0
    histograms = _histograms(found)
    return {
        "seconds": seconds,
        "services": [
            {
                "service": service,
                "method": method,
                "requests_per_second": _of(rates, LATENCY.name, service, method, last="+Inf"),
                "rows_per_second": rates.get((ENTITY_ROWS.name, service), 0.0) if service else None,
                **_quantiles(histograms[service, method]),
                "stale": round(counts.get((STALE.name, service), 0.0)) if service else 0,
            }
            # What has a name first.
            for service, method in sorted(histograms, key=lambda one: (not one[0], one))
        ],
        "refused": [
            {"method": series[1], "code": series[2], "count": round(count), "per_second": rates[series]}
            for series, count in sorted(counts.items())
            if series[0] == REFUSED.name and count > 0
        ],
    }


def _whose(method: str, service: str) -> tuple[str, str]:
    """Return what a call is counted under: its service; its method where it is of none."""
    return (service, "") if service else ("", method)


def _histograms(servers: Iterable[Growth]) -> dict[tuple[str, str], dict[float, float]]:
    """Return the latencies of each service, all servers and methods together.

    Servers of two releases may have different bounds: those that both have are right of both.
    """
    parts: dict[tuple[str, str], list[dict[float, float]]] = defaultdict(list)
    for one in servers:
        apart: dict[tuple[str, str], dict[float, float]] = defaultdict(dict)
        for series, count in one.counts.items():
            if series[0] == LATENCY.name:
                _, method, service, bound = series
                apart[method, service][float(bound)] = count
        for (method, service), histogram in apart.items():
            parts[_whose(method, service)].append(histogram)
    return {
        whose: {
            bound: sum(one[bound] for one in histograms)
            for bound in set.intersection(*(set(one) for one in histograms))
        }
        for whose, histograms in parts.items()
    }


def _of(values: Mapping[Series, float], name: str, service: str, method: str, *, last: str) -> float:
    return sum(
        value
        for series, value in values.items()
        if series[0] == name and series[-1] == last and _whose(series[1], series[2]) == (service, method)
    )


def _quantiles(counts: Mapping[float, float]) -> dict[str, Any]:
    found = {name: quantile(share, counts) for name, share in QUANTILES.items()}
    most = max((bound for bound in counts if not math.isinf(bound)), default=0.0)
    below, total = counts.get(most, 0.0), counts.get(math.inf, 0.0)
    return {**found, "beyond": [name for name, share in QUANTILES.items() if share * total > below]}
