"""Retraining signals."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text

from monitor.schema.base import metadata

#: Retraining signals, once a cause: the primary key is the signal's idempotent id.
signals = Table(
    "signals",
    metadata,
    Column("id", String, primary_key=True),
    Column("policy", String, nullable=False),
    Column("service", String, nullable=False),
    Column("baseline", String, nullable=False),
    Column("incident", String, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
