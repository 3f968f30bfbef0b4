"""Whose turn it is in a channel, and what came of it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from featurestore.types import microseconds
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.outbox.entries import STATES, MessageState
from monitor.history import instant
from monitor.history.upserting import put
from monitor.schema import outbox, receivers

#: Seconds to wait after the first, second ... failed attempt; after the last one the message is dead. Standard
#: Webhooks' schedule.
BACKOFF: tuple[float, ...] = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)

#: Each wait is up to this share longer, by chance, so that what failed together does not return together.
JITTER = 0.2

#: The longest wait that a receiver may ask for, in seconds.
LONGEST_RETRY_AFTER = 86_400.0

#: Clocks of several hosts that write to one outbox may differ by so much.
AHEAD = timedelta(minutes=1)

#: The longest time for which a message may wait, in microseconds: one that waits longer was written by a clock that
#: has been set back since.
_LONGEST_WAIT = round(1e6 * max(LONGEST_RETRY_AFTER, max(BACKOFF) * (1 + JITTER)))

_OVER = "its incident was over before anyone was told"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A message whose turn it is; the database says by now that it may arrive.

    Attributes:
        id: of its row.
        channel: its name.
        message: what to deliver.
        attempts: how often it failed before.
        doubtful: whether it may have arrived before.
    """

    id: int
    channel: str
    message: Message
    attempts: int
    doubtful: bool


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What came of an attempt.

    Attributes:
        state: where the message is now.
        wait: seconds until it is tried again, while it is pending.
        dead: the incident of each message that its channel will never take.
    """

    state: MessageState
    wait: float = 0.0
    dead: tuple[str, ...] = ()


def due(connection: Connection, *, now: datetime) -> list[str]:
    """Return the channels that have a message to deliver, or to give up, and whose receivers did not ask to wait."""
    waits = select(receivers.c.channel).where(
        receivers.c.disabled_at.is_(None), ~_reached(receivers.c.resume_at, microseconds(now))
    )
    query = select(outbox.c.channel).where(
        outbox.c.state == MessageState.PENDING,
        _reached(outbox.c.next_at, microseconds(now)),
        outbox.c.channel.not_in(waits),
    )
    return list(connection.execute(query.distinct().order_by(outbox.c.channel)).scalars())


def take(connection: Connection, channel: str, *, now: datetime) -> tuple[Turn | None, int]:
    """Return the message of a channel whose turn it is, if there is one, and how many others it has overtaken.

    The transaction must be kept before the message is sent.

    Args:
        connection: a transaction that writes.
        channel: its name; where its receiver asked to wait, nobody has a turn.
        now: the wall clock.
    """
    overtaken = 0
    if channel not in due(connection, now=now):
        return None, 0
    while (row := connection.execute(_next(channel, now)).one_or_none()) is not None:
        if row.incident and row.kind in STATES:
            # All of them surely have not arrived: otherwise it would not be this one's turn.
            older = _of_its_incident(row) & (outbox.c.id < row.id) & (outbox.c.state == MessageState.PENDING)
            overtaken += _overtake(connection, older, by=row.key, now=now)
            newer = _newest(connection, row)
            if not row.doubtful and (newer or _tells_of_nothing(connection, row)):
                overtaken += _overtake(connection, outbox.c.id == row.id, by=newer, now=now)
                continue
        connection.execute(update(outbox).where(outbox.c.id == row.id).values(doubtful=1))
        message = message_of(connection, row)
        turn = Turn(id=row.id, channel=channel, message=message, attempts=row.attempts, doubtful=bool(row.doubtful))
        return turn, overtaken
    return None, overtaken


def settle(connection: Connection, turn: Turn, outcome: Outcome, *, now: datetime, chance: random.Random) -> Settled:
    """Keep what came of an attempt.

    Args:
        connection: a transaction that writes.
        turn: the attempt.
        outcome: what the channel said.
        now: the wall clock, after the attempt.
        chance: the source of jitter.
    """
    mine = outbox.c.id == turn.id
    reason = outcome.reason.replace("\x00", "")  # which PostgreSQL cannot keep
    if outcome.status is Status.DELIVERED:
        said = {"reference": outcome.reference.replace("\x00", ""), "doubtful": 0, "last_error": ""}
        _end(connection, mine, MessageState.DELIVERED, now, **said)
        return Settled(state=MessageState.DELIVERED)
    doubtful = int(turn.doubtful or (outcome.status is Status.RETRY and not outcome.untaken))
    connection.execute(
        update(outbox).where(mine).values(attempts=turn.attempts + 1, doubtful=doubtful, last_error=reason)
    )
    if outcome.status is Status.GONE:
        rest = {"disabled_at": microseconds(now), "reason": reason, "resume_at": 0}
        put(connection, receivers, {"channel": turn.channel}, rest)
        everything = outbox.c.channel == turn.channel
        return Settled(state=MessageState.DEAD, dead=bury(connection, everything, reason, now=now))
    if outcome.status is Status.REFUSED or turn.attempts >= len(BACKOFF):
        return Settled(state=MessageState.DEAD, dead=bury(connection, mine, reason, now=now))
    wait = BACKOFF[turn.attempts] * (1 + JITTER * chance.random())
    if outcome.retry_after is not None:
        asked = max(0.0, min(outcome.retry_after, LONGEST_RETRY_AFTER))
        wait = max(wait, asked)
        # It is the receiver that asked, whatever the message.
        rest = {"disabled_at": None, "reason": reason, "resume_at": microseconds(now + timedelta(seconds=asked))}
        put(connection, receivers, {"channel": turn.channel}, rest)
    connection.execute(update(outbox).where(mine).values(next_at=microseconds(now + timedelta(seconds=wait))))
    return Settled(state=MessageState.PENDING, wait=wait)


def bury(connection: Connection, which: ColumnElement[bool], reason: str, *, now: datetime) -> tuple[str, ...]:
    """Give up pending messages, and return the incident that each of them is of."""
    pending = which & (outbox.c.state == MessageState.PENDING)
    incidents = connection.execute(select(outbox.c.incident).where(pending).order_by(outbox.c.id)).scalars()
    found = tuple(incidents)
    _end(connection, pending, MessageState.DEAD, now, last_error=reason)
    return found


def enable(connection: Connection, channel: str) -> bool:
    """Forget what a channel's receiver said of itself, and return whether it had said that it wants nothing more."""
    mine = receivers.c.channel == channel
    disabled = connection.execute(select(receivers.c.disabled_at).where(mine)).scalar() is not None
    connection.execute(delete(receivers).where(mine))
    return disabled


def _next(channel: str, now: datetime) -> Any:
    """Select the most urgent message that is due and waits for no older one of its incident."""
    older = outbox.alias("older")
    waits = (
        select(older.c.id)
        .where(
            older.c.incident == outbox.c.incident,
            older.c.channel == outbox.c.channel,
            older.c.id < outbox.c.id,
            older.c.state == MessageState.PENDING,
            # One that surely has not arrived, and says less than this one, is no reason to wait.
            or_(older.c.doubtful == 1, older.c.kind.not_in(STATES), outbox.c.kind.not_in(STATES)),
        )
        .exists()
    )
    return (
        select(outbox)
        .where(
            outbox.c.state == MessageState.PENDING,
            outbox.c.channel == channel,
            _reached(outbox.c.next_at, microseconds(now)),
            or_(outbox.c.incident == "", ~waits),
        )
        .order_by(outbox.c.urgency, outbox.c.id)
        .limit(1)
    )


def _reached(instant: ColumnElement[int], now: int) -> ColumnElement[bool]:
    """Say that an instant to which something waits has come, or lies further off than anything waits."""
    return or_(instant <= now, instant > now + _LONGEST_WAIT)


def set_back(connection: Connection, *, now: datetime) -> int:
    """Let what seems to be written in time to come be written now, and return how many messages there were.

    The clock was set back: they would wait until it is again where it was, and so would their fallbacks.

    Args:
        connection: a transaction that writes.
        now: the wall clock.
    """
    values = {"created_at": microseconds(now), "next_at": microseconds(now)}
    return connection.execute(update(outbox).where(_to_come(now)).values(**values)).rowcount


def was_set_back(connection: Connection, *, now: datetime) -> bool:
    """Return whether there is anything for :func:`set_back`."""
    return connection.execute(select(outbox.c.id).where(_to_come(now)).limit(1)).first() is not None


def _to_come(now: datetime) -> ColumnElement[bool]:
    ahead: ColumnElement[bool] = outbox.c.created_at > microseconds(now + AHEAD)
    return (outbox.c.state == MessageState.PENDING) & ahead


def _of_its_incident(row: Any) -> ColumnElement[bool]:
    mine: ColumnElement[bool] = (
        (outbox.c.incident == row.incident) & (outbox.c.channel == row.channel) & outbox.c.kind.in_(STATES)
    )
    return mine


def _newest(connection: Connection, row: Any) -> str:
    """Return the key of the newest state of a message's incident after it that is not given up; "" for none."""
    query = (
        select(outbox.c.key)
        .where(_of_its_incident(row), outbox.c.id > row.id, outbox.c.state != MessageState.DEAD)
        .order_by(outbox.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() or ""


def _tells_of_nothing(connection: Connection, row: Any) -> bool:
    """Return whether a message says that something is over of which nothing can have arrived."""
    if row.kind != Kind.RESOLVED:
        return False
    arrived = (outbox.c.state == MessageState.DELIVERED) | (outbox.c.doubtful == 1)
    query = select(outbox.c.id).where(_of_its_incident(row), outbox.c.id != row.id, arrived).limit(1)
    return connection.execute(query).first() is None


def _overtake(connection: Connection, which: ColumnElement[bool], *, by: str, now: datetime) -> int:
    said = {"overtaken_by": by} if by else {"last_error": _OVER}
    return _end(connection, which, MessageState.OVERTAKEN, now, **said)


def _end(connection: Connection, which: ColumnElement[bool], state: MessageState, now: datetime, **values: Any) -> int:
    ended = update(outbox).where(which).values(state=str(state), settled_at=microseconds(now), **values)
    return connection.execute(ended).rowcount


def _references(connection: Connection, row: Any) -> tuple[str, str]:
    """Return what the channel called its first message of the incident, and its last one."""
    if not row.incident:
        return "", ""
    query = (
        select(outbox.c.reference)
        .where(outbox.c.incident == row.incident, outbox.c.channel == row.channel, outbox.c.reference != "")
        .limit(1)
    )
    first, last = (connection.execute(query.order_by(by)).scalar() for by in (outbox.c.id, outbox.c.id.desc()))
    return first or "", last or ""


def message_of(connection: Connection, row: Any) -> Message:
    """Return the message of a row."""
    thread, latest = _references(connection, row)
    created_at = instant(row.created_at)
    assert created_at is not None  # noqa: S101 - the column has no nulls
    return Message(
        key=row.key,
        kind=Kind(row.kind),
        project=row.project,
        service=row.service,
        incident=row.incident,
        created_at=created_at,
        payload=json.loads(row.payload),
        severity=row.severity,
        thread=thread,
        latest=latest,
    )
