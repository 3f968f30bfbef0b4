"""Version 3: alerts and incidents."""

from __future__ import annotations

from sqlalchemy import Connection, text


def step(connection: Connection) -> None:
    """Bring the tables of version 2 up to date."""
    connection.execute(text("ALTER TABLE incidents RENAME TO alerts"))
