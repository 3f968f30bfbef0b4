"""A rehearsal's online store: it holds what was known at its clock, and nothing from later.

The clock stands in the store. An advance writes every row with event time in (clock, now] and moves the clock in one
transaction, so a lookup, which reads both in one snapshot, can hold no row that is newer than its clock.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from featurestore import types
from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import ConfigError, InvalidRequestError, OnlineStoreError
from featurestore.materialize import EncodedBatch, OfflineReader, encoded_batches
from featurestore.online import OnlineStore
from featurestore.online.base import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = types.microseconds(datetime.max.replace(tzinfo=UTC))


def instant(microseconds: int) -> datetime:
    """Return the instant that a number of microseconds since 1970 stands for."""
    return _EPOCH + timedelta(microseconds=microseconds)


@contextmanager
def sole_holder(name: str, folder: Path) -> Iterator[None]:
    """Hold a rehearsal while the block runs: a second server of its name would empty the store under the first.

    Args:
        name: the rehearsal's.
        folder: has its store and its log; made when it is not there.

    Raises:
        ConfigError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "serve.lock").open("a")
    except OSError as error:
        raise ConfigError(f"The folder {folder} of the replay cannot be written: {error.strerror}.") from error
    # The system frees the lock when the process ends, however it ends.
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f'Another server holds replay "{name}" now.', hint="Stop it, or take another name: --replay NAME."
            ) from None
        yield


class _Cursor:
    """Walks once over a view's rows in the order of event time."""

    def __init__(self, batches: Generator[EncodedBatch, None, None]) -> None:
        self._batches = batches
        self._batch: EncodedBatch | None = None
        self._at = 0

    def take(self, after: int, until: int) -> list[Row]:
        """Return the rows with event time in (after, until]; earlier ones are passed over, later ones wait."""
        taken: list[Row] = []
        while True:
            if self._batch is None or self._at == len(self._batch.rows):
                self._batch = next(self._batches, None)
                self._at = 0
                if self._batch is None:
                    return taken
                continue
            events, rows = self._batch
            if events[self._at] > until:
                return taken
            end = int(np.searchsorted(events, until, side="right"))
            begin = max(self._at, int(np.searchsorted(events, after, side="right")))
            taken += [row for row in rows[begin:end] if row is not None]
            self._at = end

    def close(self) -> None:
        self._batches.close()


class ReplayFeed:
    """Feeds a rehearsal's online store from the offline store as its clock moves.

    Several workers share one store: each has a feed, and whichever moves the clock skips its own cursors to where
    the clock stood.

    Args:
        offline: where rows come from.
        online: the rehearsal's store.
    """

    def __init__(self, offline: OfflineReader, online: OnlineStore) -> None:
        self._offline = offline
        self._online = online
        self._lock = threading.Lock()
        self._cursors: dict[str, _Cursor] = {}

    def start(self, clock: datetime) -> None:
        """Empty the store and set its clock; once, before any worker follows.

        Raises:
            OnlineStoreError: the store cannot be written.
        """
        self._online.clear()
        self._online.advance(None, types.microseconds(clock), {})

    def follow(self, views: Iterable[FeatureView]) -> None:
        """Serve these views too: write the newest rows that are not after the clock.

        Raises:
            OfflineStoreError: the rows cannot be read.
            OnlineStoreError: the store has no clock, or cannot be written.
        """
        with self._lock:
            for view in views:
                name = storage_id(view)
                if name in self._cursors:
                    continue
                clock = instant(self._clock())
                for _, rows in encoded_batches(view, self._offline.newest_rows(view, until=clock)):
                    self._online.put_newest(name, [row for row in rows if row is not None])
                self._cursors[name] = _Cursor(
                    encoded_batches(view, self._offline.rows_by_event_time(view, after=clock))
                )

    def advance(self, now: int) -> int:
        """Move the clock to ``now`` and return how many rows entered the store.

        Args:
            now: microseconds since 1970.

        Raises:
            InvalidRequestError: the clock stands later already, or there is no such instant.
            OfflineStoreError: the rows cannot be read.
            OnlineStoreError: the store has no clock, or cannot be written.
        """
        if now > _LATEST:
            raise InvalidRequestError(
                f"The replay's clock cannot move to {now} microseconds since 1970: that is after the year 9999."
            )
        with self._lock:
            taken: dict[str, list[Row]] = {}
            while True:
                clock = self._clock()
                if now < clock:
                    raise InvalidRequestError(
                        f"The replay's clock stands at {instant(clock).isoformat()} and cannot go back.",
                        hint="Start another rehearsal to begin earlier.",
                    )
                for name, cursor in self._cursors.items():
                    rows = cursor.take(clock, now)
                    if rows:
                        taken.setdefault(name, []).extend(rows)
                counts = self._online.advance(clock, now, taken)
                if counts is not None:
                    return counts.written

    def close(self) -> None:
        """Let go of the offline store's readers."""
        with self._lock:
            for cursor in self._cursors.values():
                cursor.close()
            self._cursors.clear()

    def _clock(self) -> int:
        clock = self._online.clock()
        if clock is None:
            raise OnlineStoreError(
                "The online store has no clock, so it is not a rehearsal's.", hint="featurestore serve --replay NAME"
            )
        return clock
