"""A lease in the monitor's database: who has it works, and who lets it run out has lost it.

For PostgreSQL, where monitors of several hosts share a database. Time is the server's, so that no two clocks need to
agree. Each change of hands adds 1 to the term, which is a fencing token: every transaction of the holder begins by
looking whether the term is still his and holds it until it ends, so that who was stopped, and goes on after another has
taken over, can write nothing more. (M. Kleppmann, "How to do distributed locking", 2016.)
"""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection, text

from featurestore.errors import FeatureStoreError, LeadershipLostError
from monitor.history import History
from monitor.history.upserting import add
from monitor.schema import leases

#: The one lease of a database.
_NAME = "monitor"

#: The holder renews the lease so many times before it would run out.
_RENEWALS = 3

#: How long who takes over waits for a transaction of the one before.
_BLOCKED_MILLISECONDS = 1_000

#: Counts on while the machine sleeps, where the system has such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_log = structlog.get_logger("monitor.lease")


@dataclass(frozen=True)
class _Holding:
    """Who has the lease, as the database has it.

    Attributes:
        holder: the process: ``host:pid``.
        term: grows with each change of hands.
        seconds: until it runs out; 0 or less when it has.
    """

    holder: str
    term: int
    seconds: float


class Lease:
    """The lease of a database, to be taken; close it in the end.

    Args:
        history: the database, of PostgreSQL.
        seconds: how long it lasts when it is not renewed.
    """

    def __init__(self, history: History, *, seconds: float) -> None:
        self._history = history
        self._seconds = seconds
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._term = 0
        self._valid_until = 0.0
        self._lost = threading.Event()
        self._closing = threading.Event()
        self._renewing: threading.Thread | None = None
        with history.transaction() as connection:
            add(connection, leases, {"name": _NAME, "term": 0, "holder": "", "expires_at": 0})

    def holder(self) -> str:
        """Return who has it: ``host:4711``."""
        return self._holding().holder

    def take(self) -> bool:
        """Take it if it is free or has run out, and renew it from then on; return whether it is ours.

        A transaction that who had it before has left open is ended: the server takes it back.
        """
        found = self._holding()
        if found.seconds > 0:
            return False
        asked_at = time.clock_gettime(_CLOCK)
        if not self._change_hands(found.term):
            return False
        self._term = found.term + 1
        self._valid_until = asked_at + self._seconds
        self._renewing = threading.Thread(target=self._renew_until_closed, name="lease", daemon=True)
        self._renewing.start()
        return True

    def valid(self) -> bool:
        """Return whether it is ours and has surely not run out, by a clock that began before the server's."""
        return not self._lost.is_set() and time.clock_gettime(_CLOCK) < self._valid_until

    def lost(self) -> bool:
        """Return whether another one has taken it."""
        return self._lost.is_set()

    def fence(self, connection: Connection) -> None:
        """Begin a transaction of the holder: nobody takes the lease before it has ended.

        Raises:
            LeadershipLostError: another one has taken it.
        """
        row = connection.execute(text(_FENCED), {"name": _NAME, "term": self._term}).one_or_none()
        if row is None:
            self._lost.set()
            raise LeadershipLostError(
                f"Another monitor has taken over {self._history.name}.", hint="This one stands by; nothing was written."
            )

    def close(self) -> None:
        """Give it back, if it is ours."""
        self._closing.set()
        if self._renewing is None:
            return
        self._renewing.join()
        self._valid_until = 0.0
        try:
            with self._history.transaction() as connection:
                connection.execute(text(_GIVEN_BACK), {"name": _NAME, "term": self._term})
        except FeatureStoreError as error:
            # It runs out by itself.
            _log.warning("the lease cannot be given back", error=error.message)

    def _holding(self) -> _Holding:
        with self._history.read() as connection:
            row = connection.execute(text(_HELD), {"name": _NAME}).one()
        return _Holding(row.holder, row.term, row.seconds)

    def _change_hands(self, term: int) -> bool:
        values = {"name": _NAME, "term": term, "holder": self._holder, "microseconds": round(self._seconds * 1e6)}
        while True:
            try:
                with self._history.transaction() as connection:
                    connection.execute(text(f"SET LOCAL lock_timeout = {_BLOCKED_MILLISECONDS}"))
                    return connection.execute(text(_TAKEN), values).rowcount == 1
            except FeatureStoreError:
                if not self._ended_open_transactions():
                    raise

    def _ended_open_transactions(self) -> int:
        """End the transactions that hold the term of a lease that has run out, and return how many there were."""
        with self._history.transaction() as connection:
            return len(connection.execute(text(_ENDED), {"name": _NAME}).all())

    def _renew_until_closed(self) -> None:
        while not self._closing.wait(self._seconds / _RENEWALS):
            asked_at = time.clock_gettime(_CLOCK)
            try:
                with self._history.transaction() as connection:
                    values = {"name": _NAME, "term": self._term, "microseconds": round(self._seconds * 1e6)}
                    ours = connection.execute(text(_RENEWED), values).rowcount == 1
            except FeatureStoreError as error:
                # Until it has run out we work, and then only wait: nobody else can reach the database either, perhaps.
                _log.warning("the lease cannot be renewed", error=error.message, hint=error.hint)
                continue
            if not ours:
                self._lost.set()
                return
            self._valid_until = asked_at + self._seconds


_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_HELD = f"SELECT holder, term, (expires_at - {_NOW}) / 1000000.0::float AS seconds FROM leases WHERE name = :name"  # noqa: S608 - constants
_TAKEN = f"""
    UPDATE leases SET term = term + 1, holder = :holder, expires_at = {_NOW} + :microseconds
    WHERE name = :name AND term = :term AND expires_at <= {_NOW}
"""  # noqa: S608 - constants
_RENEWED = f"UPDATE leases SET expires_at = {_NOW} + :microseconds WHERE name = :name AND term = :term"  # noqa: S608 - constants
_GIVEN_BACK = "UPDATE leases SET expires_at = 0 WHERE name = :name AND term = :term"
#: The weakest lock that a change of the term, which is part of a key, waits for; a renewal does not.
_FENCED = "SELECT term FROM leases WHERE name = :name AND term = :term FOR KEY SHARE"
#: Idle are those whose process has stopped: one that only waits for another's lock is active.
_ENDED = f"""
    SELECT pg_terminate_backend(one.pid) FROM pg_stat_activity AS one
    WHERE one.datname = current_database() AND one.state LIKE 'idle in transaction%' AND one.pid <> pg_backend_pid()
        AND EXISTS (
            SELECT FROM pg_locks AS locked
            WHERE locked.pid = one.pid AND locked.locktype = 'relation' AND locked.relation = 'leases'::regclass
                AND locked.granted AND locked.mode IN ('RowShareLock', 'RowExclusiveLock')
        )
        AND EXISTS (SELECT FROM leases WHERE name = :name AND expires_at <= {_NOW})
"""  # noqa: S608 - constants
