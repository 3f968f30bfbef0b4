"""Whether anything has changed: one short text, which is another one when a page would show something new."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from featurestore.errors import FeatureStoreError
from monitor import schema
from monitor.dashboard.reading import Reader

#: For how long a marker is taken for current, in seconds: however many pages are open, it is asked for so often.
FRESH_SECONDS = 0.5
#: After so many of its rounds without a sign a monitor is taken for one that does not run.
MISSED_ROUNDS = 3


class Marker:
    """Says whether anything has changed.

    Args:
        reader: what pages read.
        clock: seconds of a clock that only goes forward.
    """

    def __init__(self, reader: Reader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = threading.Lock()
        self._text = ""
        self._until = 0.0

    def current(self) -> str:
        """Return the marker of now; one that is half a second old at most."""
        with self._lock:
            if self._clock() >= self._until:
                self._text = self._look()
                self._until = self._clock() + FRESH_SECONDS
            return self._text

    def renew(self) -> None:
        """Let the next one be asked for anew: something was just done."""
        with self._lock:
            self._until = 0.0

    def _look(self) -> str:
        facts: list[object] = []
        try:
            registry = self._reader.registry
            facts += [registry.revision(), *(one.sequence for one in registry.audit(limit=1))]
        except FeatureStoreError as error:
            facts.append(error.message)
        try:
            if self._reader.has_history():
                with self._reader.history.read() as connection:
                    facts += _monitored(connection, self._reader.config.monitor.poll_seconds)
        except FeatureStoreError as error:
            facts.append(error.message)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _monitored(connection: Connection, poll_seconds: float) -> list[object]:
    """Return what changes with whatever the monitor does: each is one row, or a small table."""
    streams, alerts, silences = schema.streams, schema.alerts, schema.silences
    acceptances, outbox, actions = schema.acceptances, schema.outbox, schema.actions
    queries = (
        # A sum, as the one that moves may be behind the others; in milliseconds, so that it holds thousands of them.
        select(func.sum(streams.c.next_start // 1_000), func.sum(streams.c.next_offset), func.count()),
        select(func.max(alerts.c.changed_at), func.sum(alerts.c.episode), func.count()),
        select(func.max(schema.timeline.c.id)),
        select(func.max(schema.signal_cursor.c.value)),
        select(func.max(silences.c.id), func.sum(silences.c.expires_at)),
        select(func.max(acceptances.c.id), func.count(acceptances.c.revoked_at)),
        select(func.max(outbox.c.id)),
        select(outbox.c.state, func.count()).where(outbox.c.state == "pending").group_by(outbox.c.state),
        select(func.max(actions.c.number), func.count(actions.c.undone_at)),
    )
    facts: list[object] = [tuple(row) for query in queries for row in connection.execute(query)]
    beat = connection.execute(select(schema.heartbeats.c.beat_at)).scalar()
    return [*facts, is_alive(beat, poll_seconds, datetime.now(UTC))]


def is_alive(beat: int | None, poll_seconds: float, now: datetime) -> bool:
    """Return whether a monitor gave a sign lately.

    Args:
        beat: its last one, in microseconds since 1970.
        poll_seconds: the length of its rounds.
        now: the wall clock.
    """
    if beat is None:
        return False
    return now.timestamp() - beat / 1e6 < MISSED_ROUNDS * timedelta(seconds=max(poll_seconds, 1)).total_seconds()
