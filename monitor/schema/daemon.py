"""Who works on the database."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from monitor.schema.base import metadata

#: One row: the daemon that works, or worked last, on this database.
heartbeats = Table(
    "heartbeats",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False),
)
