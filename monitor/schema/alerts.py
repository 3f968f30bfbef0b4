"""What is wrong, what people are told of it, and what they said."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from monitor.schema.base import metadata

#: One rule of a policy, on one stream and slice; see :class:`monitor.alerts.states.Alert`. ``finding`` is the message
#: ``featurestore.v1.Alert`` of this alert alone, as of the last window that showed the effect, and ``about`` what the
#: incident machine needs to know of it: both are JSON.
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
    Column("unseen", Integer, nullable=False),
    Column("before", String, nullable=False),
    Column("fires", Boolean, nullable=False),
    Column("decided_at", BigInteger),
    Column("changed_at", BigInteger),
    Column("finding", Text, nullable=False),
    Column("about", Text, nullable=False),
    Index("alerts_firing", "fires", "service"),
)

#: What people are told of, a row an episode: ``number`` is its name in commands, ``key`` its deduplication key.
#: ``machine`` is :class:`monitor.alerts.incident_state.Incident`, as JSON; the columns are for questions.
incidents = Table(
    "incidents",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True),
    Column("cause_group", String, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("cause", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    Column("settled", Boolean, nullable=False),
    Column("machine", Text, nullable=False),
    Index("incidents_unsettled", "settled"),
    Index("incidents_of_group", "cause_group", "episode"),
    sqlite_autoincrement=True,
)

#: The alerts of each incident: an episode of an alert is of one incident.
members = Table(
    "members",
    metadata,
    Column("alert", String, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("incident", Integer, nullable=False),
    Column("joined_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("alert", "episode"),
    Index("members_of_incident", "incident"),
)

#: What happened in an incident, or to an alert that was in none by then (``incident`` is 0): never changed.
timeline = Table(
    "timeline",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("incident", Integer, nullable=False),
    Column("alert", String, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Column("what", String, nullable=False),
    Column("who", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("details", Text, nullable=False),
    Index("timeline_of_incident", "incident"),
    Index("timeline_of_alert", "alert", "episode"),
    sqlite_autoincrement=True,
)

#: Who has taken an incident on, each time.
acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("incident", Integer, nullable=False),
    Column("who", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", String, nullable=False),
    Index("acknowledgements_of_incident", "incident"),
    sqlite_autoincrement=True,
)

#: What nobody is to be told of, and until when; ``matchers`` are texts in a JSON list. It is ended by its expiry, which
#: then is earlier than what was asked for.
silences = Table(
    "silences",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("matchers", Text, nullable=False),
    Column("starts_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("author", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("ended_by", String, nullable=False),
    sqlite_autoincrement=True,
)

#: Periods of serving that somebody said are normal: they are the baseline of a stream or slice until they expire or are
#: revoked.
acceptances = Table(
    "acceptances",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("incident", Integer, nullable=False),
    Column("policy", String, nullable=False),
    Column("service", String, nullable=False),
    Column("slice", String, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("author", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revoked_by", String, nullable=False),
    Index("acceptances_of_stream", "policy", "service", "slice"),
    sqlite_autoincrement=True,
)
