"""What is measured of a stream: the profile of a window, and the rows that came too late for theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurestore.profiles import Bins, Profile, profile_stream
from monitor.windows.base import Position, Stream, Window


def profiled(stream: Stream, window: Window, bins: Bins, *, where: str = "") -> Profile:
    """Return the profile of a window's rows, read as a stream.

    A column that the rows have not counts as null, and as absent; one that cannot be read as the field's type counts as
    null, and as mistyped.

    Args:
        stream: whose window it is.
        window: the window.
        bins: the cells.
        where: SQL that is true for the rows that count.
    """
    with stream.read(window, list(bins.columns), where=where) as reader:
        return profile_stream(reader, bins, on_type_error="null")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the ledger keeps of a window: its place, and how many rows it was judged with."""

    begin: Position
    stop: Position
    rows: int


@dataclass(frozen=True, kw_only=True)
class Late:
    """Rows that came when their window had been judged, or passed over as empty: they count nowhere else.

    Attributes:
        by_window: for each line of the ledger, the rows that lie in it by now beyond those it was judged with. A line
            that has lost rows since, by an erasure or by retention, has none.
        between: rows in what was passed over.
    """

    by_window: tuple[int, ...]
    between: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_window) + self.between


def late_rows(
    stream: Stream, ledger: Sequence[Judged], *, since: Position | None = None, reached: Position | None = None
) -> Late:
    """Return the rows that came too late.

    Args:
        stream: the stream.
        ledger: windows that were judged, in order; the last days of them, say.
        since: where to begin to look; None for the first of the windows.
        reached: up to where the stream was judged; None for the end of the last window.
    """
    places = [] if since is None else [since]
    for one in ledger:
        places += [one.begin, one.stop]
    if reached is not None:
        places.append(reached)
    if len(places) < 2:
        return Late(by_window=(0,) * len(ledger), between=0)
    counts = stream.recount(places)
    first = 0 if since is None else 1
    inside = counts[first::2][: len(ledger)]
    return Late(
        by_window=tuple(max(0, now - one.rows) for now, one in zip(inside, ledger, strict=True)),
        between=sum(counts) - sum(inside),
    )
