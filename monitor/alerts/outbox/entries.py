"""What the outbox holds, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, select

from monitor.alerts.base import OF_INCIDENTS, Kind
from monitor.history import instant
from monitor.schema import outbox, receivers

#: Kinds of which a later one says all that an earlier one did, as the database has them.
STATES = tuple(sorted(str(one) for one in OF_INCIDENTS))


class MessageState(StrEnum):
    """Where a message is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up; kept, and can be sent again
    OVERTAKEN = "overtaken"  # not sent: a newer one says what it would have said, or it was over before it went


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A message of the outbox.

    Attributes:
        key: its idempotency key.
        channel: where it goes.
        kind: what it says.
        service: ``flight_delay@1``.
        incident: the deduplication key of an incident, or the id of a signal or an action.
        severity: ``page``, ``ticket`` or ``info``.
        state: where it is.
        created_at: when it was written.
        settled_at: when it was delivered, given up or overtaken; None while it waits.
        next_at: when it may go, while it waits.
        attempts: how often the channel answered that it was not delivered.
        doubtful: whether it may have arrived although nobody knows.
        last_error: why it was not delivered, or why it never will be.
        reference: what the far side calls it, if it does.
        overtaken_by: the key of the message that says what it would have said; "" for none.
        stands_in_for: the channel that did not take it in time, where this one is the fallback; "" for none.
    """

    key: str
    channel: str
    kind: Kind
    service: str
    incident: str
    severity: str
    state: MessageState
    created_at: datetime
    settled_at: datetime | None
    next_at: datetime
    attempts: int
    doubtful: bool
    last_error: str
    reference: str
    overtaken_by: str
    stands_in_for: str


def counts(connection: Connection) -> dict[str, int]:
    """Return how many messages are pending, delivered, dead and overtaken."""
    query = select(outbox.c.state, func.count()).group_by(outbox.c.state)
    found = {row[0]: row[1] for row in connection.execute(query)}
    return {str(state): found.get(str(state), 0) for state in MessageState}


def disabled(connection: Connection) -> dict[str, str]:
    """Return the channels whose receiver wants nothing more, and what it said."""
    query = select(receivers.c.channel, receivers.c.reason).where(receivers.c.disabled_at.is_not(None))
    return {row.channel: row.reason for row in connection.execute(query.order_by(receivers.c.channel))}


def listed(
    connection: Connection,
    *,
    state: MessageState | None = None,
    channel: str = "",
    incident: str = "",
    limit: int | None = None,
) -> list[Entry]:
    """Return messages, the oldest first.

    Args:
        connection: a transaction.
        state: only of one state.
        channel: only of one channel.
        incident: only of one incident, signal or action.
        limit: at most so many, the newest.
    """
    query = select(outbox)
    for column, value in ((outbox.c.state, state), (outbox.c.channel, channel), (outbox.c.incident, incident)):
        if value:
            query = query.where(column == str(value))
    rows = connection.execute(query.order_by(outbox.c.id.desc()).limit(limit)).all()
    return [_entry(row) for row in reversed(rows)]


def _entry(row: Any) -> Entry:
    return Entry(
        key=row.key,
        channel=row.channel,
        kind=Kind(row.kind),
        service=row.service,
        incident=row.incident,
        severity=row.severity,
        state=MessageState(row.state),
        created_at=_instant(row.created_at),
        settled_at=instant(row.settled_at),
        next_at=_instant(row.next_at),
        attempts=row.attempts,
        doubtful=bool(row.doubtful),
        last_error=row.last_error,
        reference=row.reference,
        overtaken_by=row.overtaken_by,
        stands_in_for=row.stands_in_for,
    )


def _instant(value: int) -> datetime:
    found = instant(value)
    assert found is not None  # noqa: S101 - the column has no nulls
    return found
