"""What became of a load's rows, counted as they pass; and whether the load is refused as a whole for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from featurestore.definitions import FeatureView
from featurestore.errors import LoadRefusedError
from featurestore.offline.intake.checks import CheckedBatch


class Counts:
    """What was counted so far.

    Attributes:
        written: good rows.
        suppressed: rows that were dropped, because they are of someone who was erased.
        reasons: bad rows by reason.
        warned: good rows that break a check of values, by reason.
        nulls: by feature, in how many of the rows that were not dropped it is null.
        notes: what is to be said of the rows, each once.
    """

    def __init__(self) -> None:
        self.written = 0
        self.suppressed = 0
        self.reasons: Counter[str] = Counter()
        self.warned: Counter[str] = Counter()
        self.nulls: Counter[str] = Counter()
        self.notes: dict[str, None] = {}

    @property
    def read(self) -> int:
        """Rows that came, but for those that were dropped."""
        return self.written + self.reasons.total()

    def add(self, parts: CheckedBatch) -> None:
        """Count a checked batch."""
        self.written += parts.good.num_rows
        self.suppressed += parts.suppressed
        self.reasons.update(parts.reasons)
        self.warned.update(parts.warned)
        self.nulls.update(parts.nulls)
        self.note(parts.notes)

    def hold(self, reason: str) -> None:
        """Count the good rows as kept aside."""
        self.reasons[reason] += self.written
        self.written = 0
        self.warned.clear()

    def note(self, notes: Iterable[str]) -> None:
        """Keep what is to be said."""
        self.notes.update(dict.fromkeys(notes))


def refuse_bad(view: FeatureView, counts: Counts) -> None:
    """Refuse a load as a whole for its rows, if the view does.

    Raises:
        LoadRefusedError: a feature has more nulls than it may, or rows are bad and the view rejects such loads.
    """
    what, rows = f'The load for feature view "{view.name}" has', counts.read
    empty = [
        f"{counts.nulls[one.name]:,} of {rows:,} rows ({counts.nulls[one.name] / rows:.3%}) where {one.name} is null, "
        f"over {one.max_null_rate:.3%}"
        for one in view.schema
        if rows and one.max_null_rate is not None and counts.nulls[one.name] / rows > one.max_null_rate
    ]
    if empty:
        raise LoadRefusedError(
            f"{what} {', '.join(empty)}; nothing was published.",
            reasons=empty,
            hint="Find out why they are missing, or raise max_null_rate.",
        )
    if counts.reasons and view.on_bad_rows == "reject":
        listed = [f"{count} where {why}" for why, count in counts.reasons.most_common()]
        raise LoadRefusedError(
            f"{what} {counts.reasons.total():,} bad {'row' if counts.reasons.total() == 1 else 'rows'} "
            f"({', '.join(listed[:5])}); nothing was published.",
            reasons=listed,
            hint='Mend the rows, or set on_bad_rows="quarantine" to publish the others.',
        )
