"""Version 3: automatic actions."""

from __future__ import annotations

from sqlalchemy import Connection


def step(connection: Connection) -> None:
    """Bring the tables of version 2 up to date."""
