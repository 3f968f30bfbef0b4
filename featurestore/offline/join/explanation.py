"""What a point-in-time join did: files and rows read, matches, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from featurestore.markup import Printed


@dataclass(frozen=True, kw_only=True)
class UseExplanation:
    """How one use of a view was joined.

    Attributes:
        name: the use's; the view's, if it has no name of its own.
        view: the view.
        storage_id: its table.
        table_version: the version of the table that was read; None when nothing was ever ingested.
        files_read: names of the data files that were read.
        files_skipped: names of those that could not matter, by the event times or loads in them.
        rows_read: rows of the files that were read.
        passes: how often keys and event times were read: once, unless memory holds only a share of them.
        ties_checked: whether rows tie with a match, so that all that do had to be looked at.
        present: entity rows with a row that counts.
        outside_max_age: entity rows whose newest row is past its TTL; 0 unless statuses were asked for.
        features: how many of the view's features were read.
        seconds: by step.
    """

    name: str
    view: str
    storage_id: str
    table_version: int | None
    files_read: tuple[str, ...]
    files_skipped: tuple[str, ...]
    rows_read: int
    passes: int
    ties_checked: bool
    present: int
    outside_max_age: int
    features: int
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Explanation(Printed):
    """How a join was done; ``print`` shows it.

    Attributes:
        service: the service version.
        entity_rows: how many.
        as_of: rows ingested later were not seen; None saw all.
        known_at: ``row`` or None.
        uses: each use of a view, in order.
        seconds: of the whole, the consumer's own time not counted.
    """

    service: str
    entity_rows: int
    as_of: datetime | None
    known_at: str | None
    uses: tuple[UseExplanation, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {"as_of": None if self.as_of is None else self.as_of.isoformat()}

    def __str__(self) -> str:
        asked = f"{self.service}: {self.entity_rows:,} entity rows in {self.seconds:.2f} s"
        if self.as_of is not None:
            asked += f", as of {self.as_of.isoformat()}"
        if self.known_at is not None:
            asked += ", as known at each row's instant"
        return "\n".join([asked, *(_lines(use) for use in self.uses)])


def _lines(use: UseExplanation) -> str:
    title = use.name if use.name == use.view else f"{use.name} ({use.view})"
    if use.table_version is None:
        return f"  {title}: never ingested"
    read, skipped = len(use.files_read), len(use.files_skipped)
    ties = "ties looked for" if use.ties_checked else "no need to look for ties"
    passes = "" if use.passes < 2 else f" in {use.passes} passes"
    files = f"{read:,} file{'' if read == 1 else 's'}{passes}, skipped {skipped:,}"
    steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in use.seconds.items())
    return (
        f"  {title}: {use.storage_id}, version {use.table_version}\n"
        f"    read {use.rows_read:,} rows of {files}; {ties}\n"
        f"    present for {use.present:,}; {use.features:,} feature{'' if use.features == 1 else 's'}; {steps}"
    )
