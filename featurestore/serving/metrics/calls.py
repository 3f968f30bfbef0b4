"""Calls counted by what became of them. It is done with each call, so in lists and without a lock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from featurestore.serving.metrics.samples import Metric, Sample

#: Seconds: a lookup in the process takes microseconds, and a client's patience ends within ten seconds.
LATENCY_BOUNDS = (50e-6, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

LATENCY = Metric(
    name="featurestore_request_duration_seconds",
    help="Seconds from when a request reached its handler until its response was ready; each of a stream's counts.",
    kind="histogram",
    labels=("method", "service"),
    bounds=LATENCY_BOUNDS,
)
REFUSED = Metric(
    name="featurestore_requests_refused_total",
    help="Requests that ended with a status in the place of a response.",
    kind="counter",
    labels=("method", "code"),
)
ENTITY_ROWS = Metric(
    name="featurestore_entity_rows_total",
    help="Entity rows that lookups answered.",
    kind="counter",
    labels=("service",),
)

STALE = Metric(
    name="featurestore_stale_responses_total",
    help="Responses from a local copy of the online store, as that was away.",
    kind="counter",
    labels=("service",),
)

#: A latency's buckets, then the sum of seconds, then the sum of entity rows.
_SECONDS, _ROWS = len(LATENCY_BOUNDS) + 1, len(LATENCY_BOUNDS) + 2


class CallCounts:
    """The calls of one worker. Only the thread that serves may call it."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str], list[float]] = {}
        self._refused: dict[tuple[str, str], int] = {}
        self._stale: dict[str, int] = {}

    def answered(self, method: str, service: str, rows: int, seconds: float) -> None:
        """Count a response.

        Args:
            method: the call's.
            service: the version that answered; empty where none did.
            rows: entity rows.
            seconds: how long it took.
        """
        try:
            series = self._answered[method, service]
        except KeyError:
            series = self._answered[method, service] = [0.0] * (_ROWS + 1)
        series[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        series[_SECONDS] += seconds
        series[_ROWS] += rows

    def stale(self, service: str) -> None:
        """Count a response, which was counted already, as one from a local copy."""
        self._stale[service] = self._stale.get(service, 0) + 1

    def refused(self, method: str, code: str) -> None:
        """Count a status in the place of a response."""
        self._refused[method, code] = self._refused.get((method, code), 0) + 1

    def samples(self) -> Iterator[Sample]:
        """Yield the totals."""
        rows: dict[str, float] = {}
        for (method, service), series in self._answered.items():
            yield Sample(LATENCY, (method, service), tuple(series[:_ROWS]))
            if service:
                rows[service] = rows.get(service, 0) + series[_ROWS]
        for service, count in rows.items():
            yield ENTITY_ROWS.sample(count, service)
        for service, count in self._stale.items():
            yield STALE.sample(count, service)
        for labels, refusals in self._refused.items():
            yield REFUSED.sample(refusals, *labels)
