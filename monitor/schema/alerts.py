"""What is wrong."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from monitor.schema.base import metadata

alerts = Table(
    "alerts",
    metadata,
    Column("key", String, primary_key=True),
    Column("policy", String, nullable=False),
    Column("service", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("slice", String, nullable=False),
    Column("state", String, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("onset", BigInteger),
    Column("span", Integer, nullable=False),
    Column("held", Integer, nullable=False),
    Column("quiet", Integer, nullable=False),
)
