"""Version 3: whether retraining helped."""

from __future__ import annotations

from sqlalchemy import Connection

from monitor import schema


def step(connection: Connection) -> None:
    """Bring the tables of version 2 up to date."""
    schema.signal_results.create(connection)
