"""What a comparison of served rows with the join found: which features, how often, why; and what of it may leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import NormalDist
from typing import Any, Literal, get_args

from featurestore import markup
from featurestore.statistics.estimate import Estimate

#: Why a served value is another one than the join gives, the likeliest first where several would do.
Cause = Literal[
    "lag",
    "late data",
    "superseded",
    "erased",
    "ttl",
    "transformation version",
    "type",
    "default",
    "unexplained",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

#: Those that are a fault of a pipeline or of a deployment: serving was wrong by what it could know.
BUGS: frozenset[Cause] = frozenset({"ttl", "transformation version", "type", "default", "unexplained"})

#: What people do about each.
ADVICE: Mapping[Cause, str] = {
    "lag": "materialize more often, or look why materialization is behind: featurestore status",
    "late data": "nothing is wrong here; ask for rows in time, or train with known_at='row', which hides late rows",
    "superseded": "nothing is wrong here: rows were corrected after they had been served",
    "erased": "nothing is wrong here: rows that were served are not in the table any more, or not yet",
    "ttl": "compare the view's ttl in the version that is served with the one that is joined, and the servers' clocks",
    "transformation version": "restart or redeploy the servers: they compute with another version of the definition",
    "type": "compare the types of the source, the view and the client; a value was cast on one of the two ways",
    "default": "compare the field's default, and what makes nulls, on both ways",
    "unexplained": "look at the examples with: featurestore monitor parity",
}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One differing value; it holds keys, so it is for local display only.

    Attributes:
        request_id: the request.
        row: the entity row within it.
        keys: its join keys.
        feature: what differs.
        served: what was served.
        joined: what the join gives.
        cause: why, as far as can be told.
        detail: more of that: the version that gives what was served, the hours of a shift.
        served_at: when.
        served_event_time: of the row that was served; None if there was none, or for computed features.
        joined_event_time: of the row that the join finds.
    """

    request_id: str
    row: int
    keys: Mapping[str, Any]
    feature: str
    served: Any
    joined: Any
    cause: Cause = "unexplained"
    detail: str = ""
    served_at: datetime | None = None
    served_event_time: datetime | None = None
    joined_event_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureSkew:
    """What is wrong with one feature.

    Attributes:
        feature: its name.
        view: the view, or the use of one, that it is of.
        views: the stored views that its values come from.
        rows: rows with another value than the join's, by cause; the most frequent first.
        details: what more is known of causes: ``{"transformation version": "as of flight_delay@2"}``.
        requests: requests with such a row, whatever the cause.
        wrong_requests: those whose cause is one of :data:`BUGS`.
        share: of the requests, how many are wrong, with its 95 % interval: rows of one request share keys and instant,
            so it is requests that are counted.
    """

    feature: str
    view: str
    views: tuple[str, ...]
    rows: Mapping[Cause, int]
    details: Mapping[Cause, str] = field(default_factory=dict)
    requests: int
    wrong_requests: int
    share: Estimate

    @property
    def wrong(self) -> int:
        """Rows whose cause is one of :data:`BUGS`."""
        return sum(count for cause, count in self.rows.items() if cause in BUGS)


@dataclass(frozen=True, kw_only=True)
class Ages:
    """How old something was, in seconds: of so many rows the median, the 95th percentile and the greatest."""

    rows: int
    median: float
    p95: float
    greatest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Ages:
        """Return the ages of rows; all are NaN where there are none. Percentiles are values that occur."""
        ordered = sorted(seconds)
        if not ordered:
            return cls(rows=0, median=math.nan, p95=math.nan, greatest=math.nan)
        median, p95, greatest = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95, 1.0))
        return cls(rows=len(ordered), median=median, p95=p95, greatest=greatest)


@dataclass(frozen=True, kw_only=True)
class ViewLag:
    """How far the online rows of one use of a view were behind what was known.

    Attributes:
        view: the use.
        rows: served rows of which a newer one was known offline when they were served.
        share: of the requests, how many have one, with its 95 % interval.
        served_age: how old the served rows were by their event times; rows that were not there at all have none.
        waited: for how long the newest known row had been available, and was not yet online.
        stale: how many of the rows were served from a local copy, as the online store was away.
    """

    view: str
    rows: int
    share: Estimate
    served_age: Ages
    waited: Ages
    stale: int = 0


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """What a check found.

    Attributes:
        service: the service version.
        checked: rows compared.
        values: values compared.
        requests: requests that these rows are of.
        since: when the first of them was served; None where there is none.
        until: when the last was.
        mismatches: rows with a value that is wrong: its cause is one of :data:`BUGS`.
        lagged: other rows with a value that lags: a newer row was known offline, and was not yet online.
        stale: rows compared that were served from a local copy, as the online store was away: they lag as it did.
        late: other rows with a value that differs for late, corrected or erased data: nothing was wrong when it was
            served.
        by_feature: mismatched rows of each feature that has some.
        features: each feature with a value that differs, whatever the cause; the most wrong first.
        lag: each use of a view that lags.
        examples: some of the differing values, those that are wrong first.
    """

    service: str
    checked: int
    values: int
    requests: int = 0
    since: datetime | None = None
    until: datetime | None = None
    mismatches: int
    lagged: int
    late: int = 0
    stale: int = 0
    by_feature: Mapping[str, int]
    features: tuple[FeatureSkew, ...] = ()
    lag: tuple[ViewLag, ...] = ()
    examples: tuple[Example, ...]

    def _repr_html_(self) -> str:
        """What a notebook shows: counts by feature and cause; examples, which hold join keys, are not in it."""
        caption = (
            f"{self.service}: {self.checked:,} rows ({self.values:,} values) compared, "
            f"{self.mismatches:,} mismatches, {self.lagged:,} lagged"
        )
        rows = [
            (one.feature, one.view, ", ".join(f"{count:,} {cause}" for cause, count in one.rows.items()))
            for one in self.features
        ]
        return markup.text_of(markup.table(("feature", "view", "values that differ"), rows, caption=caption))

    @property
    def causes(self) -> dict[Cause, int]:
        """Differing values by cause, over all features, the most frequent first."""
        found = {cause: sum(one.rows.get(cause, 0) for one in self.features) for cause in CAUSES}
        return {cause: count for cause, count in sorted(found.items(), key=lambda item: -item[1]) if count}


def share_of(count: int, total: int, confidence: float = 0.95) -> Estimate:
    """Return a share with its Wilson score interval (Wilson 1927), 0 to 1 where there is nothing to take a share of."""
    if total <= 0:
        return Estimate(0.0, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, scale = count / total, 1 + z * z / total
    centre = rate + z * z / (2 * total)
    spread = z * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    # At 0 and 1 the end is known exactly, and rounding must not move it.
    low = 0.0 if count == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if count == total else min(1.0, (centre + spread) / scale)
    return Estimate(rate, low, high)
