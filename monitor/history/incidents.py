"""Incidents, their alerts, and what happened in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from featurestore.types import microseconds
from monitor import schema
from monitor.alerts.incident_state import Incident, Member
from monitor.history.upserting import add
from monitor.history.values import EPOCH, instant

#: What the timeline calls it when somebody says that an incident is over.
CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of an incident's timeline.

    Attributes:
        at: when it was so.
        noted_at: the wall clock's time when it was written down.
        what: in a word: ``onset``, ``evidence``, ``fired``, ``joined``, ``acknowledged``, ``signal``, ``action`` ...
        who: whose doing it is; "" for the monitor's.
        text: the rest, in a line.
        details: for programs, JSON values.
    """

    at: datetime
    noted_at: datetime
    what: str
    who: str
    text: str
    details: Mapping[str, Any]


class Incidents:
    """What people are told of; every method works in the caller's transaction."""

    def open_new_incident(self, connection: Connection, incident: Incident) -> Incident:
        """Write an incident that has begun, with its alerts, and return it with its number."""
        values = _columns(incident) | {"key": incident.key, "cause_group": incident.group, "episode": incident.episode}
        result = connection.execute(insert(schema.incidents).values(**values))
        assert result.inserted_primary_key is not None  # noqa: S101 - one row was written
        numbered = replace(incident, number=int(result.inserted_primary_key[0]))
        for one in incident.members:
            _keep_member(connection, numbered, one)
        return numbered

    def save_incident(self, connection: Connection, incident: Incident, joined: Member | None = None) -> None:
        """Keep an incident.

        Args:
            connection: the transaction.
            incident: as it is.
            joined: the alert that it has got, where it has got one.
        """
        table = schema.incidents
        connection.execute(update(table).where(table.c.number == incident.number).values(**_columns(incident)))
        if joined is not None:
            _keep_member(connection, incident, joined)

    def incident(self, connection: Connection, number: int) -> Incident | None:
        """Return an incident by its number."""
        return _one(connection, schema.incidents.c.number == number)

    def incident_by_key(self, connection: Connection, key: str) -> Incident | None:
        """Return an incident by its deduplication key."""
        return _one(connection, schema.incidents.c.key == key)

    def incident_of(self, connection: Connection, alert: str, episode: int | None = None) -> Incident | None:
        """Return the incident that an alert is of: in an episode, or in its newest one if that goes on."""
        table = schema.members
        query = select(table.c.incident).where(table.c.alert == alert)
        query = query.where(table.c.episode == episode) if episode is not None else query
        number = connection.execute(query.order_by(table.c.episode.desc()).limit(1)).scalar()
        found = None if number is None else self.incident(connection, number)
        return found if found is None or episode is not None or found.open else None

    def open_incidents(self, connection: Connection) -> list[Incident]:
        """Return the incidents that go on, the oldest first."""
        return _all(connection, schema.incidents.c.resolved_at.is_(None))

    def unsettled_incidents(self, connection: Connection) -> list[Incident]:
        """Return the incidents of which something may still be said, the oldest first."""
        return _all(connection, ~schema.incidents.c.settled)

    def newest_incidents(self, connection: Connection, count: int) -> list[Incident]:
        """Return the newest incidents, the oldest of them first."""
        table = schema.incidents
        query = select(table.c.number, table.c.machine).order_by(table.c.number.desc()).limit(count)
        return [_read(row) for row in connection.execute(query)][::-1]

    def last_episode(self, connection: Connection, group: str) -> int:
        """Return how many incidents of a group there were."""
        table = schema.incidents
        query = select(func.coalesce(func.max(table.c.episode), 0)).where(table.c.cause_group == group)
        return int(connection.execute(query).scalar_one())

    def note(
        self,
        connection: Connection,
        what: str,
        text: str,
        *,
        incident: int = 0,
        alert: str = "",
        episode: int = 0,
        who: str = "",
        at: datetime,
        now: datetime,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a line to the timeline of an incident, or of an episode of an alert, which is one of its incident.

        Args:
            connection: the transaction of what it tells.
            what: in a word.
            text: the rest, in a line; no key, and no value of a ``pii`` field.
            incident: the incident's number; 0 where it is not known.
            alert: the alert's key, where the incident is not known.
            episode: the alert's.
            who: whose doing it is; "" for the monitor's.
            at: when it was so.
            now: the wall clock.
            details: for programs, JSON values.
        """
        connection.execute(
            insert(schema.timeline).values(
                incident=incident,
                alert=alert,
                episode=episode,
                at=microseconds(at),
                noted_at=microseconds(now),
                what=what,
                who=who,
                text=text,
                details=json.dumps(details or {}),
            )
        )

    def closed_by(self, connection: Connection, number: int) -> tuple[str, str] | None:
        """Return who said that an incident is over, and why; None where nobody did."""
        table = schema.timeline
        said = select(table.c.who, table.c.text).where(table.c.incident == number, table.c.what == CLOSED)
        row = connection.execute(said.order_by(table.c.id.desc()).limit(1)).one_or_none()
        return None if row is None else (row.who, row.text)

    def timeline(self, connection: Connection, number: int) -> list[Line]:
        """Return what happened in an incident and to its alerts, in the order in which it was so."""
        table, known = schema.timeline, schema.members
        mine = select(known.c.alert, known.c.episode).where(known.c.incident == number).subquery()
        of_members = (table.c.alert == mine.c.alert) & (table.c.episode == mine.c.episode) & (table.c.incident == 0)
        rows = [
            *connection.execute(select(table).where(table.c.incident == number)).all(),
            *connection.execute(select(table).join(mine, of_members)).all(),
        ]
        return [
            Line(
                at=_time(row.at),
                noted_at=_time(row.noted_at),
                what=row.what,
                who=row.who,
                text=row.text,
                details=json.loads(row.details),
            )
            for row in sorted(rows, key=lambda row: (row.at, row.id))
        ]


def _keep_member(connection: Connection, incident: Incident, member: Member) -> None:
    """Keep of which incident an episode of an alert is; it stays that one's."""
    key = {"alert": member.alert, "episode": member.episode}
    joined = {"incident": incident.number, "joined_at": microseconds(member.joined_at)}
    add(connection, schema.members, key | joined)


def _columns(incident: Incident) -> dict[str, Any]:
    return {
        "cause": incident.cause,
        "severity": incident.severity,
        "opened_at": microseconds(incident.opened_at),
        "resolved_at": None if incident.resolved_at is None else microseconds(incident.resolved_at),
        "settled": incident.settled,
        "machine": json.dumps(incident.to_dict()),
    }


def _one(connection: Connection, which: Any) -> Incident | None:
    query = select(schema.incidents.c.number, schema.incidents.c.machine).where(which)
    row = connection.execute(query).one_or_none()
    return None if row is None else _read(row)


def _all(connection: Connection, which: Any) -> list[Incident]:
    table = schema.incidents
    query = select(table.c.number, table.c.machine).where(which).order_by(table.c.number)
    return [_read(row) for row in connection.execute(query)]


def _read(row: Any) -> Incident:
    return replace(Incident.from_dict(json.loads(row.machine)), number=row.number)


def _time(value: int) -> datetime:
    found = instant(value)
    return EPOCH if found is None else found
