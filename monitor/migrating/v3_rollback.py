"""Version 3: automatic actions."""

from __future__ import annotations

from sqlalchemy import Connection

from monitor import schema


def step(connection: Connection) -> None:
    """The monitor may act by itself."""
    schema.actions.create(connection)
    schema.action_looks.create(connection)
