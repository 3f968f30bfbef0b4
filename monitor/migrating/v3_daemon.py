"""Version 3: who works."""

from __future__ import annotations

from sqlalchemy import Connection

from monitor import schema


def step(connection: Connection) -> None:
    """Monitors may have a lease."""
    schema.leases.create(connection)
