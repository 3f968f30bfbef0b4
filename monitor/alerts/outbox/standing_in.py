"""A page that its channel does not take in time also goes to the channel's fallback."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, FromClause, exists, or_, select

from featurestore.types import microseconds
from monitor.alerts.base import Kind
from monitor.alerts.incidents import stood_in
from monitor.alerts.outbox.entries import STATES, MessageState
from monitor.alerts.outbox.writing import enqueue
from monitor.history import History
from monitor.schema import outbox

#: How long a page may be under way before its fallback is told as well.
PATIENCE = timedelta(minutes=5)

#: What wakes somebody: that an incident is over, or that somebody has it, does not.
_WAKING = (str(Kind.FIRING), str(Kind.UPDATED))


def late(
    connection: Connection, fallbacks: Mapping[str, str], *, now: datetime, untried: bool
) -> Iterator[tuple[str, str]]:
    """Yield the channel and the incident of pages that were not taken in time and of which no fallback was told.

    The time runs from the first page that nobody got: one that an update has overtaken was not taken either.

    Args:
        connection: a transaction.
        fallbacks: by channel.
        now: the wall clock.
        untried: whether pages count that were never tried: not those that a monitor finds when it begins.
    """
    for channel, fallback in fallbacks.items():
        pages = (
            select(outbox.c.incident)
            .where(
                outbox.c.state == MessageState.PENDING,
                outbox.c.channel == channel,
                _page(),
                _since(now - PATIENCE, untried=untried),
                ~_told(fallback),
            )
            .distinct()
        )
        for incident in connection.execute(pages).scalars().all():
            yield channel, incident


def stand_in(
    history: History, connection: Connection, incidents: Iterable[str], channel: str, fallback: str, *, now: datetime
) -> int:
    """Write the pages that a channel did not take for its fallback, and return how many there were.

    Of each incident it is the newest message, under a key of the fallback's own, and once: where the fallback was told
    of the incident already, by its policy or for another channel, it hears the rest as it is. From now on it hears what
    the channel does. Nobody is woken for an incident that is over, or that somebody has.

    Args:
        history: the database.
        connection: a transaction that writes.
        incidents: deduplication keys.
        channel: which did not take them.
        fallback: another channel.
        now: the wall clock.
    """
    written = 0
    for incident in incidents:
        query = (
            select(outbox)
            .where(
                outbox.c.incident == incident, outbox.c.channel == channel, outbox.c.kind.in_(STATES), ~_told(fallback)
            )
            .order_by(outbox.c.id.desc())
            .limit(1)
        )
        row = connection.execute(query.where(outbox.c.incident != "")).one_or_none()
        if row is None or row.severity != "page" or row.kind not in _WAKING or row.state == MessageState.DELIVERED:
            continue
        going_on = history.incident_by_key(connection, incident)
        if going_on is not None:
            if not going_on.open:
                continue
            history.save_incident(connection, stood_in(going_on, fallback, channel))
        written += enqueue(
            connection,
            instance=history.instance,
            channel=fallback,
            kind=Kind(row.kind),
            project=row.project,
            service=row.service,
            incident=incident,
            # The fallback's own messages of the incident are counted by themselves.
            sequence=f"{row.sequence} for {channel}",
            severity=row.severity,
            payload=json.loads(row.payload),
            now=now,
            stands_in_for=channel,
        )
    return written


def _page(messages: FromClause = outbox) -> ColumnElement[bool]:
    page: ColumnElement[bool] = (
        (messages.c.severity == "page") & messages.c.kind.in_(_WAKING) & (messages.c.incident != "")
    )
    return page


def _since(instant: datetime, *, untried: bool) -> ColumnElement[bool]:
    """Say that the channel of a row has got nothing of its incident since a page that was written by an instant."""
    first, later = outbox.alias("first"), outbox.alias("later")
    got = exists(
        select(later.c.id).where(
            later.c.incident == first.c.incident,
            later.c.channel == first.c.channel,
            later.c.kind.in_(STATES),
            later.c.id >= first.c.id,
            later.c.state == MessageState.DELIVERED,
        )
    )
    pages = select(first.c.id).where(
        first.c.incident == outbox.c.incident,
        first.c.channel == outbox.c.channel,
        _page(first),
        first.c.created_at <= microseconds(instant),
        ~got,
    )
    if not untried:
        tried = (first.c.attempts > 0) | (first.c.doubtful == 1)
        pages = pages.where(or_(tried, outbox.c.attempts > 0, outbox.c.doubtful == 1))
    return exists(pages.correlate(outbox))


def _told(fallback: str) -> ColumnElement[bool]:
    """Say that a channel was told of the incident of a row of the outbox."""
    other = outbox.alias("other")
    return exists(select(other.c.id).where(other.c.incident == outbox.c.incident, other.c.channel == fallback))
