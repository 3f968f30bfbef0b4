"""Change notices of PostgreSQL: who waits for a change hears of it as it is committed, in place of at its next look.

A notice is worth nothing by itself. One that comes while its listener is away is lost, and a proxy that shares
connections passes none on. So it only says "look now", a listener that has found its way back says so too, and whoever
waits keeps looking now and then: a lost notice costs time, and never the change. SQLite has none; there, looking is all
there is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Connection, text

from featurestore.database import Database

#: How often a listener looks up from its line, to end when it is told to, and to see that the line is there.
_TURN_SECONDS = 1.0
#: After so many turns without a notice the server is asked for a sign of life.
_SILENT_TURNS = 15
#: How long it waits after a line broke: at first, and at most.
_BACKOFF_SECONDS = (0.1, 5.0)

_log = structlog.get_logger(__name__)


def notify(connection: Connection, channel: str, whose: str) -> None:
    """Tell listeners of a change when the transaction commits, and not if it does not.

    Args:
        connection: the transaction.
        channel: what kind of change: ``featurestore_registry``.
        whose: the project, or whatever tells those apart who share a database.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_notify(:channel, :whose)"), {"channel": channel, "whose": whose})


def listen(database: Database, channel: str, whose: str, changed: Callable[[], None]) -> Listener | None:
    """Hear of changes until the listener is closed; None where the database has no notices.

    Args:
        database: where.
        channel: see :func:`notify`.
        whose: as that; others' changes are not heard of.
        changed: called in a thread of its own; also when the line was away, and is back.
    """
    return Listener(database, channel, whose, changed) if database.dialect == "postgresql" else None


class Listener:
    """A connection beside the pool's, on which notices come; see :func:`listen`."""

    def __init__(self, database: Database, channel: str, whose: str, changed: Callable[[], None]) -> None:
        self._database = database
        self._channel = channel
        self._whose = whose
        self._changed = changed
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"listen-{channel}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear no more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        broken: type[Exception] = self._database.engine.dialect.loaded_dbapi.Error
        wait, told = _BACKOFF_SECONDS[0], False
        while not self._ending.is_set():
            try:
                # Not the pool's: there it would be one of the few that whoever works here has.
                connection = self._database.connect()
            except broken as error:
                if not told:  # whoever looks for changes tells of the database
                    _log.warning("no notices of changes", channel=self._channel, error=type(error).__name__)
                told = True
                self._ending.wait(wait)
                wait = min(wait * 2, _BACKOFF_SECONDS[1])
                continue
            wait, told = _BACKOFF_SECONDS[0], False
            try:
                self._hear(connection)
            except broken:
                self._ending.wait(wait)
            finally:
                connection.close()

    def _hear(self, connection: Any) -> None:
        connection.autocommit = True
        connection.execute(f'LISTEN "{self._channel}"')
        self._changed()  # what changed while nobody listened
        silent = 0
        while not self._ending.is_set():
            silent += 1
            for notice in connection.notifies(timeout=_TURN_SECONDS, stop_after=1):
                silent = 0
                if notice.payload == self._whose:
                    self._changed()
            if silent >= _SILENT_TURNS:
                connection.execute("SELECT 1")
                silent = 0
