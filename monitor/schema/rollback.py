"""What the monitor did by itself, would have done, or took back."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from monitor.schema.base import metadata

#: Actions, by a number of their own. ``incident`` is the incident's deduplication key: one incident has one action at
#: most. ``state`` is written before anything is done (``begun``, ``undoing``), so that what a dead monitor left is
#: found. ``subject`` is what it is done to, in a form that can be compared; ``details`` what it needs to be done, done
#: again, and undone.
actions = Table(
    "actions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("incident", String, nullable=False, unique=True),
    Column("incident_number", Integer, nullable=False),
    Column("policy", String, nullable=False),
    Column("service", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("target", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("state", String, nullable=False),
    Column("summary", Text, nullable=False),
    Column("held", Text, nullable=False),
    Column("severity", String, nullable=False),
    Column("details", Text, nullable=False),
    Column("channels", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("undone_at", BigInteger),
    Column("undone_by", String, nullable=False),
    Index("actions_of_policy", "policy", "begun_at"),
    sqlite_autoincrement=True,
)

#: Alerts of open incidents that were looked at and justified nothing, up to which window they were judged then: what
#: cannot have changed since is not read again at each run.
action_looks = Table(
    "action_looks",
    metadata,
    Column("incident", String, nullable=False),
    Column("service", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("slice", String, nullable=False),
    Column("judged", BigInteger, nullable=False),
    PrimaryKeyConstraint("incident", "service", "rule", "slice"),
)
