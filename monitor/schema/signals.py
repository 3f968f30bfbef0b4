"""Retraining signals: what asks for them, where each stands, and what became of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Table, Text, event, insert

from monitor.schema.base import metadata

#: Retraining signals, once a cause: the primary key is the signal's idempotent id. ``held`` says why one waits; ``""``
#: where it does not. ``payload`` is the JSON form of ``featurestore.v1.RetrainingSignal``, as it is now.
signals = Table(
    "signals",
    metadata,
    Column("id", String, primary_key=True),
    Column("policy", String, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("slice", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("baseline", String, nullable=False),
    Column("model", String, nullable=False),
    Column("incident", String, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("approved_by", String, nullable=False),
    Column("state", String, nullable=False),
    Column("held", String, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("decided_at", BigInteger),
    # They are kept for ever, so what is asked again and again is found by time.
    Index("signals_state", "state", "sent_at"),
    Index("signals_sent", "sent_at"),
    Index("signals_noted", "created_at", "id"),
)

#: The life of each signal, one line an event. Nothing in it is ever changed.
signal_events = Table(
    "signal_events",
    metadata,
    Column("cursor", BigInteger, primary_key=True, autoincrement=False),
    Column("signal", String, nullable=False),
    Column("service", String, nullable=False),
    Column("state", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("dataset", String, nullable=False),
    Column("model", String, nullable=False),
    Column("payload", Text, nullable=False),
    Index("signal_events_of", "signal", "cursor"),
)

#: One row: the cursor of the newest event. Whoever writes an event locks it until the commit, so that events become
#: visible in the order of their cursors, and a reader that goes on from one steps over none.
signal_cursor = Table(
    "signal_cursor",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)


@event.listens_for(signal_cursor, "after_create")
def _first(target: Table, connection: Connection, **_: Any) -> None:
    connection.execute(insert(target).values(id=1, value=0))


#: When each alert fired: what no model is to learn from is left out of training by these. ``accepted`` is 1 where
#: somebody has said that this is the new normal. ``views`` and ``features`` are JSON lists of names.
alert_episodes = Table(
    "alert_episodes",
    metadata,
    Column("alert", String, primary_key=True),
    Column("episode", Integer, primary_key=True, autoincrement=False),
    Column("policy", String, nullable=False),
    Column("service", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("slice", String, nullable=False),
    Column("fault", Integer, nullable=False),
    Column("views", Text, nullable=False),
    Column("features", Text, nullable=False),
    Column("incident", String, nullable=False),
    Column("name", String, nullable=False),
    Column("onset", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("accepted", Integer, nullable=False),
    Index("alert_episodes_open", "fault", "ended_at"),
)
