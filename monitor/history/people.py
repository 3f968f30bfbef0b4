"""What people said: silences, who works on an incident, and what is normal from now on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from featurestore.types import microseconds
from monitor import schema
from monitor.alerts.silences import Silence, parse
from monitor.history.values import EPOCH, instant


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A period of serving that somebody said is normal.

    Attributes:
        id: its name for commands.
        incident: the number of the incident that it ended; 0 for none.
        policy: whose windows.
        service: of which stream.
        slice: which rows; "" for all.
        since: first instant of the period.
        until: first instant after it.
        author: who said so.
        reason: why.
        made_at: when.
        expires_at: from when on the baseline is again what it was before.
        revoked_at: when somebody took it back; None if nobody did.
        revoked_by: who; "" for nobody.
    """

    id: int = 0
    incident: int
    policy: str
    service: str
    slice: str
    since: datetime
    until: datetime
    author: str
    reason: str
    made_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""

    def holds(self, now: datetime) -> bool:
        """Return whether it says what is normal at an instant."""
        return self.revoked_at is None and now < self.expires_at


class People:
    """What people said; every method works in the caller's transaction."""

    def add_silence(self, connection: Connection, silence: Silence, *, now: datetime) -> int:
        """Keep a silence, and return its number."""
        return _inserted(
            connection,
            schema.silences,
            {
                "matchers": json.dumps([str(one) for one in silence.matchers]),
                "starts_at": microseconds(silence.starts_at),
                "expires_at": microseconds(silence.expires_at),
                "author": silence.author,
                "reason": silence.reason,
                "made_at": microseconds(now),
                "ended_by": "",
            },
        )

    def end_silence(self, connection: Connection, number: int, *, by: str, now: datetime) -> bool:
        """End a silence now; return False where it is over already, or never was."""
        table = schema.silences
        mine = (table.c.id == number) & (table.c.expires_at > microseconds(now))
        result = connection.execute(update(table).where(mine).values(expires_at=microseconds(now), ended_by=by))
        return result.rowcount == 1

    def silences(self, connection: Connection, *, after: datetime | None = None) -> list[Silence]:
        """Return silences in the order of their numbers; with ``after`` those that end later than that."""
        table = schema.silences
        query = select(table).order_by(table.c.id)
        if after is not None:
            query = query.where(table.c.expires_at > microseconds(after))
        return [
            Silence(
                id=row.id,
                matchers=tuple(parse(one) for one in json.loads(row.matchers)),
                starts_at=_time(row.starts_at),
                expires_at=_time(row.expires_at),
                author=row.author,
                reason=row.reason,
            )
            for row in connection.execute(query)
        ]

    def acknowledge(self, connection: Connection, incident: int, *, who: str, reason: str, now: datetime) -> None:
        """Keep that somebody works on an incident."""
        values = {"incident": incident, "who": who, "at": microseconds(now), "reason": reason}
        connection.execute(insert(schema.acknowledgements).values(**values))

    def add_acceptance(self, connection: Connection, acceptance: Acceptance) -> int:
        """Keep what is normal from now on, and return its number."""
        return _inserted(
            connection,
            schema.acceptances,
            {
                "incident": acceptance.incident,
                "policy": acceptance.policy,
                "service": acceptance.service,
                "slice": acceptance.slice,
                "since": microseconds(acceptance.since),
                "until": microseconds(acceptance.until),
                "author": acceptance.author,
                "reason": acceptance.reason,
                "made_at": microseconds(acceptance.made_at),
                "expires_at": microseconds(acceptance.expires_at),
                "revoked_at": None,
                "revoked_by": "",
            },
        )

    def revoke_acceptance(self, connection: Connection, number: int, *, by: str, now: datetime) -> None:
        """Keep that what was accepted is not normal any more."""
        table = schema.acceptances
        connection.execute(
            update(table).where(table.c.id == number).values(revoked_at=microseconds(now), revoked_by=by)
        )

    def acceptances(self, connection: Connection, *, policy: str = "", service: str = "") -> list[Acceptance]:
        """Return what was ever accepted, in order, of a policy and a stream or of all."""
        table = schema.acceptances
        query = select(table).order_by(table.c.id)
        query = query.where(table.c.policy == policy) if policy else query
        query = query.where(table.c.service == service) if service else query
        return [_acceptance(row) for row in connection.execute(query)]

    def acceptance(self, connection: Connection, number: int) -> Acceptance | None:
        """Return one by its number."""
        which: ColumnElement[bool] = schema.acceptances.c.id == number
        row = connection.execute(select(schema.acceptances).where(which)).one_or_none()
        return None if row is None else _acceptance(row)


def _inserted(connection: Connection, table: Any, values: dict[str, Any]) -> int:
    result = connection.execute(insert(table).values(**values))
    assert result.inserted_primary_key is not None  # noqa: S101 - one row was written
    return int(result.inserted_primary_key[0])


def _acceptance(row: Any) -> Acceptance:
    return Acceptance(
        id=row.id,
        incident=row.incident,
        policy=row.policy,
        service=row.service,
        slice=row.slice,
        since=_time(row.since),
        until=_time(row.until),
        author=row.author,
        reason=row.reason,
        made_at=_time(row.made_at),
        expires_at=_time(row.expires_at),
        revoked_at=instant(row.revoked_at),
        revoked_by=row.revoked_by,
    )


def _time(value: int) -> datetime:
    found = instant(value)
    return EPOCH if found is None else found
