"""Joined rows -> windows of matured predictions with their metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import Evaluation
from featurestore.errors import MonitorError
from featurestore.types import microseconds
from monitor.performance.joining import Coverage, Joined, coverage_of
from monitor.performance.measuring import measure
from monitor.performance.reference import Reference, losses_of
from monitor.performance.sample import Sample, to_sample
from monitor.performance.scored import Metric

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_MICROSECONDS = 86_400_000_000
#: Effective rows below which a window's metrics say nothing.
MINIMUM_ROWS = 30.0


@dataclass(frozen=True, kw_only=True)
class PerformanceWindow:
    """Predictions of a time, all of them matured.

    Attributes:
        start: first instant (of ``predicted_at``); a multiple of the length since 1970, UTC.
        end: first instant after it.
        coverage: of the window's predictions; what is counted by outcome alone is in the whole's.
        metrics: by name.
        losses: of each prediction with an outcome, from 0 to 1, in the order of time.
        verdict: ``not enough data`` where predictions with an outcome are worth too few independent ones.
    """

    start: datetime
    end: datetime
    coverage: Coverage
    metrics: Mapping[str, Metric]
    losses: NDArray[np.float64]
    verdict: Literal["ok", "not enough data"]


@dataclass(frozen=True, kw_only=True)
class ExpectedWindow:
    """What is to be expected of the predictions of some time that has not matured as a whole.

    Attributes:
        start: first instant.
        end: first instant after it.
        rows: predictions in it.
        metrics: estimates, by name, as confidence-based performance estimation gives them.
    """

    start: datetime
    end: datetime
    rows: int
    metrics: Mapping[str, Metric]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """All that is known of a model's performance in a period.

    Attributes:
        coverage: of all predictions and outcomes.
        metrics: of all matured predictions.
        windows: in order of time, those that have predictions.
        sample: the predictions with outcomes.
        blocks: the day of each, counted since 1970.
    """

    coverage: Coverage
    metrics: Mapping[str, Metric]
    windows: tuple[PerformanceWindow, ...]
    sample: Sample
    blocks: NDArray[np.int64]


def evaluate(
    joined: Joined,
    evaluation: Evaluation,
    *,
    window: timedelta,
    watermark: datetime,
    reference: Reference | None = None,
    confidence: float = 0.95,
) -> Evaluated:
    """Return the metrics of windows, each of which has matured as a whole, and of all matured predictions.

    Predictions of one day resemble each other, so intervals are widened by a design effect per metric: as it was
    measured on the reference's days, else on these days where there are several; else rows count as independent.

    Args:
        joined: predictions and outcomes.
        evaluation: what the model declares.
        window: its length.
        watermark: that they were joined at.
        reference: the model's own baseline.
        confidence: of each interval by itself.

    Raises:
        MonitorError: the model declares no task, or a window has no length.
    """
    if window <= timedelta(0):
        raise MonitorError(f"A window of {window} has no length.", hint="Give one above 0, such as 1d.")
    sample = to_sample(joined.rows, evaluation)
    instants = _instants(joined.rows)[sample.places]
    blocks = instants // _DAY_MICROSECONDS
    days = len(np.unique(blocks))
    whole = measure(sample, confidence=confidence, blocks=blocks if days > 1 else None)
    rho = {name: one.rho for name, one in whole.items()} if days > 1 else {}
    if reference is not None:
        rho |= reference.rho
    unit = 1.0 if reference is None else reference.risk.unit
    windows = []
    for start, part in _windows(joined.rows, window, watermark - evaluation.label_delay):
        rows = joined.rows.slice(part.start, part.stop - part.start)
        inside = to_sample(rows, evaluation)
        metrics = measure(inside, confidence=confidence, rho=rho, rows_per_block=sample.rows / max(1, days))
        windows.append(
            PerformanceWindow(
                start=start,
                end=start + window,
                coverage=_with_unusable(coverage_of(rows, evaluation), inside),
                metrics=metrics,
                losses=losses_of(inside, unit),
                verdict="ok" if _enough(metrics) else "not enough data",
            )
        )
    return Evaluated(
        coverage=_with_unusable(joined.coverage, sample),
        metrics=whole,
        windows=tuple(windows),
        sample=sample,
        blocks=blocks,
    )


def _enough(metrics: Mapping[str, Metric]) -> bool:
    first = next(iter(metrics.values()))
    return first.estimate is not None and first.effective_rows >= MINIMUM_ROWS


def _with_unusable(coverage: Coverage, sample: Sample) -> Coverage:
    return replace(coverage, unusable=coverage.with_outcome + coverage.assumed_negative - sample.rows)


def _windows(rows: pa.Table, window: timedelta, until: datetime) -> Iterator[tuple[datetime, slice]]:
    """Yield the start and the rows of each window that ends at ``until`` or before, in order of time."""
    size = window // _MICROSECOND
    numbers = _instants(rows) // size
    numbers = numbers[: np.searchsorted(numbers, microseconds(until) // size)]
    found, starts, counts = np.unique(numbers, return_index=True, return_counts=True)
    for number, start, count in zip(found.tolist(), starts.tolist(), counts.tolist(), strict=True):
        yield _EPOCH + number * window, slice(start, start + count)


def _instants(rows: pa.Table) -> NDArray[np.int64]:
    instants: NDArray[np.int64] = rows.column("predicted_at").cast(pa.int64()).to_numpy()
    return instants
