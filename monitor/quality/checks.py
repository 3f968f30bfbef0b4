"""All rules of data quality over one value of plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from featurestore.errors import DataError
from featurestore.types import microseconds
from monitor.quality.columns import Columns, schema_change, type_change
from monitor.quality.configuration import Configuration, configuration_drift
from monitor.quality.finding import ORDER, Finding
from monitor.quality.freshness import (
    ServedAges,
    TrainingData,
    ViewLedger,
    stale_features,
    stale_training_data,
    stopped_ingestion,
    stopped_materialization,
)
from monitor.quality.variation import FeatureSpread, ViewNewest, constant_features, frozen_view
from monitor.quality.volume import volume_findings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Statistical rules, between which the run length is shared.
_STATISTICAL = 2


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """What is let pass.

    Attributes:
        average_run_length: windows between two false alarms of all statistical rules together, on average, at least:
            the share of the budget that data quality has.
        volume_drop: the share of the expected rows that must be missing.
        stale_share: the share of a window's rows over their age limit, beyond the usual one, of which anyone is told.
        max_age: by use of a view, how old a served row may be; its TTL where there is none.
        training_age: how old the newest row of the training data may be.
        configuration_lag: for how long a server may serve an older revision of the registry.

    Raises:
        DataError: a limit is outside its range.
    """

    average_run_length: float = 2160
    volume_drop: float = 0.5
    stale_share: float = 0.1
    max_age: Mapping[str, timedelta] = field(default_factory=dict)
    training_age: timedelta = timedelta(days=14)
    configuration_lag: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        if not self.average_run_length > 1:
            raise DataError(
                f"average_run_length={self.average_run_length!r} is no budget.",
                hint="It is a number of windows, over 1.",
            )
        for name in ("volume_drop", "stale_share"):
            if not 0 < getattr(self, name) < 1:
                raise DataError(f"{name}={getattr(self, name)!r} is no share.", hint="It is a number between 0 and 1.")
        for name, length in (
            ("training_age", self.training_age),
            ("configuration_lag", self.configuration_lag),
            *((f"max_age of {view}", age) for view, age in self.max_age.items()),
        ):
            if length <= timedelta(0):
                raise DataError(f"{name} is {length!r}.", hint="It is a length of time, over 0.")


@dataclass(frozen=True, kw_only=True)
class ServedWindow:
    """What one window served, as far as ages go.

    Attributes:
        start: of the window.
        views: each use of a view.
    """

    start: datetime
    views: tuple[ServedAges, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; :meth:`from_dict` reads them back."""
        views = [
            {
                **{name: getattr(one, name) for name in ServedAges.__dataclass_fields__},
                "newest": None if one.newest is None else microseconds(one.newest),
            }
            for one in self.views
        ]
        return {"start": microseconds(self.start), "views": views}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ServedWindow:
        """Return the window that :meth:`to_dict` came from."""
        views = [
            ServedAges(**one | {"newest": None if one["newest"] is None else _instant(one["newest"])})
            for one in values["views"]
        ]
        return cls(start=_instant(values["start"]), views=tuple(views))


@dataclass(frozen=True, kw_only=True)
class QualityFacts:
    """What the rules go by. A rule whose facts are not there says nothing.

    Attributes:
        service: the service version.
        window: the length of a window.
        counts: start and rows of every closed window, those without rows as 0; ascending.
        judged_from: the first of them that is judged; None for all that have enough to compare with.
        block: the length of the baseline's blocks.
        spreads: how each feature varies.
        served: what the last windows with rows served, ascending.
        limits: by use of a view, its TTL.
        views: the ledgers of the views.
        training: what the service version is compared with; None where nothing is.
        columns: of the log; None where they were not read.
        configuration: what runs; None where it was not read.
    """

    service: str
    window: timedelta
    counts: tuple[tuple[datetime, int], ...] = ()
    judged_from: datetime | None = None
    block: timedelta = timedelta(days=1)
    spreads: tuple[FeatureSpread, ...] = ()
    served: tuple[ServedWindow, ...] = ()
    limits: Mapping[str, timedelta | None] = field(default_factory=dict)
    views: tuple[ViewLedger, ...] = ()
    training: TrainingData | None = None
    columns: Columns | None = None
    configuration: Configuration | None = None


def check_quality(facts: QualityFacts, limits: QualityLimits, *, now: datetime) -> tuple[Finding, ...]:
    """Return what every rule found, the worst first; what is ok too.

    Args:
        facts: of one service version, as of its last closed window.
        limits: what is let pass. Statistical rules have equal shares of its run length.
        now: the present; the end of the last window in a backtest.
    """
    budget = {"average_run_length": limits.average_run_length * _STATISTICAL}
    ages = {name: limits.max_age.get(name, ttl) for name, ttl in facts.limits.items()}
    found = [
        *volume_findings(
            facts.counts,
            facts.service,
            length=facts.window,
            drop=limits.volume_drop,
            judged_from=facts.judged_from,
            **budget,
        ),
        *constant_features(facts.spreads, block=facts.block, window=facts.window, **budget),
        *(frozen_view(one) for one in _newest(facts)),
        *stale_features([(one.start, one.views) for one in facts.served], threshold=limits.stale_share, limits=ages),
        *(stopped_ingestion(one, now=now) for one in facts.views if not one.pushed),
        *(stopped_materialization(one, now=now) for one in facts.views if not one.pushed),
    ]
    if facts.training is not None:
        found.append(stale_training_data(facts.training, limit=limits.training_age, now=now))
    if facts.columns is not None:
        found += [*schema_change(facts.columns), *type_change(facts.columns)]
    if facts.configuration is not None:
        found += configuration_drift(facts.configuration, lag=limits.configuration_lag, now=now)
    return tuple(sorted(found, key=lambda one: ORDER.index(one.verdict)))


def _newest(facts: QualityFacts) -> list[ViewNewest]:
    names = dict.fromkeys(one.view for window in facts.served for one in window.views)
    return [
        ViewNewest(
            view=name,
            windows=tuple(
                (window.start, one.newest)
                for window in facts.served
                for one in window.views
                if one.view == name and one.newest is not None
            ),
        )
        for name in names
    ]


def _instant(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)
