"""Who works on the database."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, UniqueConstraint

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

#: Who leads, on PostgreSQL; see :mod:`monitor.leading`. ``term`` grows with each change of hands, and instants are of
#: the server's clock. It is part of a key: so a transaction can hold the term without holding up who renews the lease.
leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("term", BigInteger, nullable=False),
    Column("holder", String, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    UniqueConstraint("name", "term"),
)
