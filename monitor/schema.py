"""The tables of the monitor's database. Instants are microseconds since 1970, UTC; structured values are JSON text.

``service`` is the name of a stream of rows: a service version, or what a policy with a source of its own watches.
``slice`` is "" for all rows of the stream, or says which: ``carrier=AA``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

#: Grows with each change of these tables; :mod:`monitor.migrating` has a step for each.
VERSION = 2

metadata = MetaData()

#: Facts about the database itself: ``schema_version``, ``instance`` (its random name).
meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))

#: The ledger: a window of a policy, a stream and a slice counts once, whatever restarts do. ``window_offset`` tells
#: windows of so many rows apart that begin within one instant; the next one begins at ``stop_at`` and ``stop_offset``.
windows = Table(
    "windows",
    metadata,
    Column("policy", String, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("slice", String, nullable=False),
    Column("window_start", BigInteger, nullable=False),
    Column("window_offset", BigInteger, nullable=False),
    Column("window_end", BigInteger, nullable=False),
    Column("stop_at", BigInteger, nullable=False),
    Column("stop_offset", BigInteger, nullable=False),
    Column("baseline", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("late_rows", BigInteger, nullable=False),
    Column("profile", LargeBinary, nullable=False),
    Column("verdict", String, nullable=False),
    Column("decision", Text, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("policy", "policy_version", "service", "slice", "window_start", "window_offset"),
)

#: How far each policy has come in each stream: everything before ``next_start`` and ``next_offset`` is done with, empty
#: windows too. ``baseline`` is "" where there is none yet.
streams = Table(
    "streams",
    metadata,
    Column("policy", String, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("baseline", String, nullable=False),
    Column("next_start", BigInteger),
    Column("next_offset", BigInteger, nullable=False),
    PrimaryKeyConstraint("policy", "policy_version", "service"),
)

#: What each detector has gathered. ``subject`` says which of them: ``features``, or a check's.
detectors = Table(
    "detectors",
    metadata,
    Column("policy", String, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("slice", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("baseline", String, nullable=False),
    Column("state", Text, nullable=False),
    PrimaryKeyConstraint("policy", "policy_version", "service", "slice", "subject"),
)

#: What checks of facts found, of each stream up to each instant: quality, the comparison with the join, outcomes.
checks = Table(
    "checks",
    metadata,
    Column("policy", String, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("verdict", String, nullable=False),
    Column("findings", Text, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("policy", "policy_version", "service", "subject", "at"),
)

incidents = Table(
    "incidents",
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
