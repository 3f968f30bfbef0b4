"""What was judged: windows, how far each stream has come, detectors, and checks of facts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, String, Table, Text

from monitor.schema.base import metadata

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
