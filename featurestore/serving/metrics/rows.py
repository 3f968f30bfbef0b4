"""Statuses and ages of the rows that were served: of some of them, looked at once a second, off the path of lookups."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from featurestore.online.base import event_time
from featurestore.serving.lookup import LogEntry
from featurestore.serving.metrics.samples import Metric, Sample

#: Entity rows that a worker looks at between two reports, which holds lookups up for 0.1 ms a view.
BUDGET = 100
_SAMPLED = f"of the first {BUDGET} entity rows that a worker answers each second; compare shares, not numbers"

AGE_BOUNDS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, *(86400.0 * days for days in (1, 2, 7, 30, 90, 365)))

STATUS = Metric(
    name="featurestore_row_status_total",
    help=f"Rows of views by status, {_SAMPLED}.",
    kind="counter",
    labels=("service", "view", "status"),
)
AGE = Metric(
    name="featurestore_feature_age_seconds",
    help=f"Age of features when they were asked for (served at, less true at), too old ones included, {_SAMPLED}.",
    kind="histogram",
    labels=("service", "view"),
    bounds=AGE_BOUNDS,
)

_SECONDS = 1e-6
_STATUSES = ("NOT_FOUND", "OUTSIDE_MAX_AGE", "PRESENT")


class ServedRows:
    """The statuses and ages of one worker's rows. Only the thread that serves may call it."""

    def __init__(self) -> None:
        self._left = BUDGET
        self._held: list[LogEntry] = []
        self._statuses: dict[tuple[str, str], list[int]] = {}
        self._ages: dict[tuple[str, str], list[float]] = {}

    def answered(self, entry: LogEntry) -> None:
        """Keep a lookup to be looked at, if there is room."""
        if self._left > 0:
            self._left -= entry.row_count
            self._held.append(entry)

    def samples(self) -> Iterator[Sample]:
        """Look at the lookups that were kept, and yield the totals."""
        left = BUDGET
        for entry in self._held:
            self._look_at(entry, left)
            left -= entry.row_count
        self._held.clear()
        self._left = BUDGET
        for labels, counts in self._statuses.items():
            for status, count in zip(_STATUSES, counts, strict=True):
                yield STATUS.sample(count, *labels, status)
        for labels, series in self._ages.items():
            yield Sample(AGE, labels, tuple(series))

    def _look_at(self, entry: LogEntry, rows: int) -> None:
        for view, answered, oldest in zip(entry.plan.stored, entry.rows, entry.oldest, strict=True):
            labels = (entry.plan.id, view.name)
            statuses = self._statuses.setdefault(labels, [0] * len(_STATUSES))
            ages = self._ages.setdefault(labels, [0.0] * (len(AGE_BOUNDS) + 2))
            looked = answered[:rows]
            found = [row.order for row in looked if row.record is not None]
            present = sum([order >= oldest for order in found])
            statuses[0] += len(looked) - len(found)
            statuses[1] += len(found) - present
            statuses[2] += present
            served_at = entry.served_at
            for order in found:
                # A row may lie a moment ahead of our clock; a sum that went back would look like a restart.
                age = max(0, served_at - event_time(order)) * _SECONDS
                ages[bisect_left(AGE_BOUNDS, age)] += 1
                ages[-1] += age
