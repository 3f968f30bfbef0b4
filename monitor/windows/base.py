"""What every stream of rows gives the pipeline: a watermark, closed windows, and the rows of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pyarrow as pa

from featurestore.errors import MonitorError

#: Instants before it are those of no date at all, as files that know none write 0001-01-01; their rows count as
#: undated. Nanoseconds in 64 bits begin in 1677.
FIRST_INSTANT = datetime(1900, 1, 1, tzinfo=UTC)
#: Instants from it on are those of no date either; files may hold some that no calendar of Python's reaches.
LAST_INSTANT = datetime(9999, 1, 1, tzinfo=UTC)

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, order=True)
class Position:
    """A place in a stream: every row before it has been taken.

    Attributes:
        instant: rows of earlier instants are before it, those of later ones are not; UTC.
        offset: how many rows of just that instant are before it, in the stream's own order of rows of one instant.
    """

    instant: datetime
    offset: int = 0

    @property
    def after(self) -> datetime:
        """The first instant of which no row is before the position."""
        return self.instant + MICROSECOND if self.offset else self.instant


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a stream that is judged as one.

    Attributes:
        subject: the stream's name: ``flight_delay@1``.
        begin: where its rows begin.
        stop: where they end; what comes next begins there.
        rows: how many there are.
        enough: False if fewer rows than were asked for came until the window became too old to wait.
    """

    subject: str
    begin: Position
    stop: Position
    rows: int
    enough: bool = True

    @property
    def start(self) -> datetime:
        """The first instant: of a window by time a multiple of the length, of one by count that of its first row."""
        return self.begin.instant

    @property
    def end(self) -> datetime:
        """The first instant after it; of a window by count a microsecond after its last row."""
        return self.stop.after


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a stream is cut into windows.

    Attributes:
        size: the length of a window; windows begin at its multiples since 1970, UTC. Or the number of its rows, in the
            order of time.
        minimum_rows: of windows by time. One with fewer rows is not judged: it is carried into the next, and the next,
            until there are so many.
        maximum_age: how long after its start a window waits for rows that it lacks. Then it is closed as it is, with
            ``enough`` False. None: 24 lengths; of windows by count, for ever.

    Raises:
        MonitorError: a size, a minimum or an age is not more than nothing.
    """

    size: timedelta | int
    minimum_rows: int = 0
    maximum_age: timedelta | None = None

    def __post_init__(self) -> None:
        nothing: timedelta | int = timedelta(0) if isinstance(self.size, timedelta) else 0
        if self.size <= nothing:  # type: ignore[operator]
            raise MonitorError(f"A window has the size {self.size!r}.", hint="Give a length, or a number of rows.")
        if self.minimum_rows < 0 or (self.maximum_age is not None and self.maximum_age <= timedelta(0)):
            raise MonitorError(
                f"A window has minimum_rows={self.minimum_rows} and maximum_age={self.maximum_age!r}.",
                hint="The rows are 0 or more, and the age is longer than nothing.",
            )


@dataclass(frozen=True, kw_only=True)
class Closed:
    """What has closed since a position.

    Attributes:
        windows: those that have rows, in order.
        position: where the next run goes on. Empty windows are passed over; one that is carried is not.
        undated: rows of the stream without an instant; they are in no window. They are counted whenever something may
            have closed.
    """

    windows: tuple[Window, ...]
    position: Position | None
    undated: int = 0


class Stream(Protocol):
    """Rows that come with time, whatever holds them.

    One object sees a stream as it was at the last call of :meth:`closed_windows`, :meth:`period` or :meth:`recount`:
    rows that arrive later change none of its windows.

    Every method raises :class:`~featurestore.errors.MonitorError` when a file is damaged, and names it.
    """

    @property
    def name(self) -> str:
        """The subject: a service version, a model version, or what the user calls the stream."""
        ...

    @property
    def time_column(self) -> str:
        """The column of the instants."""
        ...

    def watermark(self, *, now: datetime) -> datetime | None:
        """Return the instant before which every row is there; None where nothing can be said yet."""
        ...

    def schema(self) -> pa.Schema:
        """Return the columns; of one that has several types the newest."""
        ...

    def closed_windows(self, cut: Cut, *, since: Position | None, watermark: datetime) -> Closed:
        """Return the windows that have closed, by the watermark less the lateness that is allowed.

        The same rows give the same windows, in however many runs they are asked for.

        Args:
            cut: how the stream is cut.
            since: where the last run left off; None for the beginning.
            watermark: see :meth:`watermark`; read it before, so that its rows are among those found here.
        """
        ...

    def period(self, since: datetime | None, until: datetime | None) -> Window:
        """Return the rows from one instant on and before another as a window; None is without a bound."""
        ...

    def read(
        self, window: Window, columns: Sequence[str] | None = None, *, where: str = ""
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Open the rows of a window as a stream of batches, which may be larger than memory.

        Args:
            window: one of this stream.
            columns: features, keys, or whatever else the rows have; the instants come first in any case. Those that
                the rows have not are left out. None for all.
            where: SQL that is true for the rows to read; it may name any column.

        Raises:
            MonitorError: the condition cannot be read.
        """
        ...

    def recount(self, boundaries: Sequence[Position]) -> list[int]:
        """Return how many rows there are by now between each two neighbours of ascending positions."""
        ...

    def close(self) -> None:
        """Let go of what the stream holds in memory and on disk."""
        ...
