"""Messages that wait for their channels, and those that went."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from monitor.schema.base import metadata

#: Messages, one a channel, in order of ``id``. ``incident`` is the deduplication key of an incident, or the id of a
#: signal or an action. ``state`` is ``pending``, or how it ended: ``delivered``, ``dead``, ``overtaken``. ``urgency``
#: is 0 for a page. ``doubtful`` is 1 when the far side may have the message although nobody knows.
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
    Column("sequence", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("urgency", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("settled_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("doubtful", Integer, nullable=False),
    Column("last_error", String, nullable=False),
    Column("reference", String, nullable=False),
    Column("overtaken_by", String, nullable=False),
    Column("stands_in_for", String, nullable=False),
    Index("outbox_turn", "state", "channel", "urgency", "id"),
    Index("outbox_incident", "incident", "channel", "id"),
    sqlite_autoincrement=True,
)

#: What receivers said of themselves: that they want nothing more (``disabled_at``, ``reason``), or nothing before
#: ``resume_at``. A channel that said neither has no row.
receivers = Table(
    "receivers",
    metadata,
    Column("channel", String, primary_key=True),
    Column("disabled_at", BigInteger),
    Column("reason", String, nullable=False),
    Column("resume_at", BigInteger, nullable=False),
)
