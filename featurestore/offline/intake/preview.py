"""What a backfill would change, as plain values: counts, a few examples of each feature, and what was made before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from featurestore.markup import Printed
from featurestore.offline.intake.comparing import Counts
from featurestore.offline.sources.intervals import Interval, shown
from featurestore.registry.records import Load


@dataclass(frozen=True, kw_only=True)
class Example:
    """One value that would change: of which key, at which event time, from what to what."""

    keys: Mapping[str, Any]
    event_timestamp: datetime
    before: Any
    after: Any

    def __str__(self) -> str:
        row = ", ".join(f"{key}={value}" for key, value in self.keys.items())
        return f"{row}{' ' if row else ''}at {shown(self.event_timestamp)}: {self.before} -> {self.after}"


@dataclass(frozen=True, kw_only=True)
class FeatureChange:
    """In how many rows that stay a feature's value would change; ``examples`` are None where it is personal data."""

    name: str
    rows: int
    examples: tuple[Example, ...] | None

    def __str__(self) -> str:
        told = "its values are personal data" if self.examples is None else "; ".join(map(str, self.examples))
        return f"{self.name}: {self.rows:,} values change ({told})"


@dataclass(frozen=True, kw_only=True)
class Preview(Printed):
    """What a backfill of an interval would change.

    Attributes:
        view: the view's name.
        interval: the event times.
        counts: rows by what becomes of them; each stands for one key and event time.
        quarantined: rows of the source that fail the view's checks, by reason; they are not among the new ones.
        features: those of which values change.
        datasets: training datasets that were made from these rows.
        models: models that were trained on them.
        notes: what the user should know of how the source was read.
        following: what a backfill of the event times after the interval would change, as their rows are computed from
            source rows of the interval too; None if none are, or if they stand in the table as they should.
    """

    view: str
    interval: Interval
    counts: Counts
    quarantined: Mapping[str, int]
    features: tuple[FeatureChange, ...]
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    notes: tuple[str, ...] = ()
    following: Preview | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no row would be another one."""
        return not (self.counts.added or self.counts.changed or self.counts.removed)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; those of examples as texts."""
        bounds = (self.interval.start, self.interval.end)
        start, end = (None if at is None else at.isoformat() for at in bounds)
        return {
            "view": self.view,
            "from": start,
            "to": end,
            "added": self.counts.added,
            "changed": self.counts.changed,
            "removed": self.counts.removed,
            "unchanged": self.counts.unchanged,
            "quarantined": dict(self.quarantined),
            "features": {
                one.name: {
                    "changed": one.rows,
                    "examples": None if one.examples is None else [str(example) for example in one.examples],
                }
                for one in self.features
            },
            "datasets": list(self.datasets),
            "models": list(self.models),
            "notes": list(self.notes),
            "following": None if self.following is None else self.following.to_json(),
        }

    def __str__(self) -> str:
        counts = self.counts
        summary = f"{counts.added:,} rows added, {counts.changed:,} changed, {counts.removed:,} removed"
        lines = [f"{self.view} {self.interval}: {summary}, {counts.unchanged:,} stay as they are"]
        if self.quarantined:
            listed = ", ".join(f"{count:,} {why}" for why, count in self.quarantined.items())
            lines.append(f"  {sum(self.quarantined.values()):,} rows go to quarantine ({listed})")
        lines += [f"  {one}" for one in self.features]
        lines += [f"  note: {note}" for note in self.notes]
        if self.datasets:
            lines.append(f"  made from these rows: {', '.join(self.datasets)}")
        if self.models:
            lines.append(f"  trained on them: {', '.join(self.models)}")
        if self.following is not None:
            after = self.following
            wrong = after.counts.changed + after.counts.removed
            lines.append(
                f"  not enough: {wrong:,} rows {after.interval} are computed from source rows of this interval too, "
                "and are wrong as they stand; backfill them as well"
            )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class BackfillReport(Printed):
    """What became of a backfill.

    Attributes:
        preview: what it changed, or would have.
        load: the load that brought the rows; None if nothing was published.
        also: other live versions of the view, which have rows of their own and were not touched.
        seconds: how long it took.
    """

    preview: Preview
    load: Load | None
    also: tuple[str, ...] = ()
    seconds: float

    @property
    def published(self) -> bool:
        """Whether the table has the new rows."""
        return self.load is not None

    def __str__(self) -> str:
        if self.load is None:
            return f"{self.preview}\nNothing was published."
        return f"{self.preview}\nPublished as load {self.load.load_id}: {self.load.rows_written:,} rows."
