"""Version 4: signals are found by time."""

from __future__ import annotations

from sqlalchemy import Connection, text


def step(connection: Connection) -> None:
    """Bring the tables of version 3 up to date."""
    for statement in _ADDED:
        connection.execute(text(statement))


_ADDED = (
    "DROP INDEX signals_state",
    "CREATE INDEX signals_state ON signals (state, sent_at)",
    "CREATE INDEX signals_sent ON signals (sent_at)",
    "CREATE INDEX signals_noted ON signals (created_at, id)",
)
