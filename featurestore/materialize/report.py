"""What a materialization tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from featurestore.markup import Printed


class Mode(StrEnum):
    """Which rows a materialization looks at, and what becomes of those that are online.

    ``incremental``: rows that were loaded since the last one, however old they are. ``full``: all rows. ``rebuild``:
    all rows, in the place of those that are online. ``restored``: all rows of the keys of loads that came or were taken
    back since the last one, in the place of what these keys have online. ``range``: rows with event times in a range.
    """

    incremental = "incremental"
    full = "full"
    rebuild = "rebuild"
    restored = "restored"
    range = "range"


@dataclass(frozen=True, kw_only=True)
class MaterializeReport(Printed):
    """What became of a view's rows: ``read = written + older + expired + rejected``.

    Attributes:
        view: the view's name.
        mode: which rows were looked at.
        read: how many that were, with event times up to now.
        written: rows that are now served.
        older: rows of keys that have one as new, or newer: among those that were read, or online.
        expired: rows past the view's TTL.
        rejected: rows that no request can ask for: of keys with a null part, or of someone who was erased.
        seconds: how long it took.
        resumed: whether it went on with one that had been interrupted; the counts are those of both.
        table_version: the version of the table that was read; None if it was never ingested.
        interval: the range of event times that was asked for; None if there was none.
        removed: rows that were online and are removed, as they are past the longest TTL that may serve them.
        also: what became of the rows of other live versions of the view, which have rows of their own.
    """

    view: str
    mode: Mode
    read: int
    written: int
    older: int
    expired: int
    rejected: int
    seconds: float
    resumed: bool = False
    table_version: int | None = None
    interval: tuple[datetime | None, datetime | None] | None = None
    removed: int = 0
    also: tuple[MaterializeReport, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.view}: {self.written:,} of {self.read:,} rows written"]
        if not self.read and self.mode is Mode.incremental:
            parts = [f"{self.view}: nothing new"]
        for count, what in (
            (self.older, "no newer than what is online"),
            (self.expired, "past the TTL"),
            (self.rejected, "that nobody can ask for"),
        ):
            if count:
                parts.append(f"{count:,} {what}")
        if self.removed:
            parts.append(f"{self.removed:,} expired rows removed")
        if self.mode is Mode.rebuild:
            parts.append("in the place of those that were online")
        if self.mode is Mode.restored:
            parts.append("in the place of what the keys of loads that came or went had online")
        if self.resumed:
            parts.append("gone on with after an interruption")
        return "; ".join([", ".join(parts), *(f"also {other}" for other in self.also)])
