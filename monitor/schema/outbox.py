"""Messages that wait for their channels, and those that went."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from monitor.schema.base import metadata

#: Messages to deliver, in order of ``id``.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True),
    Column("channel", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("project", String, nullable=False),
    Column("service", String, nullable=False),
    Column("incident", String, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    Column("dead_at", BigInteger),
    Column("last_error", String, nullable=False),
    Index("outbox_open", "delivered_at", "dead_at", "id"),
    sqlite_autoincrement=True,
)
