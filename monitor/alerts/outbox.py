"""Messages wait here from the transaction that decides them until a channel has taken them.

At least once: a message is marked as delivered after its channel took it, so a monitor that dies in between sends it
again, under the same key. In order: of one incident and channel, only the oldest open message may go.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, func, insert, select, update

from featurestore.types import microseconds
from monitor.alerts.base import Channel, Kind, Message, Outcome, Status
from monitor.alerts.states import Alert
from monitor.history import History, instant
from monitor.schema import outbox

#: Seconds to wait after the first, second ... failed attempt; after the last one the message is dead. Standard
#: Webhooks' schedule.
BACKOFF = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)

#: Each wait is up to this share longer, by chance, so that what failed together does not return together.
JITTER = 0.2

#: The longest wait that a receiver may ask for, in seconds.
LONGEST_RETRY_AFTER = 86_400.0

_log = structlog.get_logger("monitor.outbox")


@dataclass(frozen=True, kw_only=True)
class DeliveryReport:
    """What one pass over the outbox did: messages delivered, put off, and given up."""

    delivered: int = 0
    delayed: int = 0
    dead: int = 0


def enqueue(
    connection: Connection,
    *,
    instance: str,
    channels: Iterable[str],
    kind: Kind,
    project: str,
    service: str,
    incident: Alert,
    payload: Mapping[str, Any],
    now: datetime,
) -> None:
    """Add one message a channel, in the caller's transaction.

    Args:
        connection: the transaction that changes the incident's state.
        instance: the database's name; keys of one database are not those of another.
        channels: names of channels.
        kind: what the message says.
        project: the namespace.
        service: the service version.
        incident: what it is about; a kind is said once an episode.
        payload: see :class:`monitor.alerts.base.Message`.
        now: the wall clock.
    """
    for channel in channels:
        connection.execute(
            insert(outbox).values(
                key=_key(instance, incident.key, str(incident.episode), kind, channel),
                channel=channel,
                kind=str(kind),
                project=project,
                service=service,
                incident=incident.key,
                episode=incident.episode,
                payload=json.dumps(payload),
                created_at=microseconds(now),
                attempts=0,
                next_at=microseconds(now),
                last_error="",
            )
        )


def told(connection: Connection, incident: Alert) -> list[str]:
    """Return the channels that were sent the present episode of an incident, or are going to be."""
    query = (
        select(outbox.c.channel)
        .where(
            outbox.c.incident == incident.key, outbox.c.episode == incident.episode, outbox.c.kind == str(Kind.FIRING)
        )
        .order_by(outbox.c.id)
    )
    return list(connection.execute(query).scalars())


def counts(connection: Connection) -> dict[str, int]:
    """Return how many messages are pending, delivered and dead."""
    total, delivered, dead = connection.execute(
        select(func.count(), func.count(outbox.c.delivered_at), func.count(outbox.c.dead_at))
    ).one()
    return {"pending": total - delivered - dead, "delivered": delivered, "dead": dead}


class Courier:
    """Takes messages from the outbox to their channels.

    Args:
        history: the database.
        channels: by name.
        clock: the wall clock.
        chance: the source of jitter.
    """

    def __init__(
        self,
        history: History,
        channels: Mapping[str, Channel],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: random.Random | None = None,
    ) -> None:
        self._history = history
        self._channels = channels
        self._clock = clock
        self._chance = chance if chance is not None else random.Random()  # noqa: S311 - jitter, not a secret

    def deliver_due(self, *, stop: Callable[[], bool] = lambda: False) -> DeliveryReport:
        """Try every message that is due; a failed attempt puts it off, so each is tried once.

        Args:
            stop: asked before each attempt; True ends the pass.
        """
        done = {"delivered": 0, "delayed": 0, "dead": 0}
        while not stop():
            row = self._next()
            if row is None:
                break
            done[self._attempt(row)] += 1
        return DeliveryReport(**done)

    def _next(self) -> Any | None:
        older = outbox.alias("older")
        waits_for_older = (
            select(older.c.id)
            .where(
                older.c.incident == outbox.c.incident,
                older.c.channel == outbox.c.channel,
                older.c.id < outbox.c.id,
                older.c.delivered_at.is_(None),
                older.c.dead_at.is_(None),
            )
            .exists()
        )
        query = (
            select(outbox)
            .where(
                outbox.c.delivered_at.is_(None),
                outbox.c.dead_at.is_(None),
                outbox.c.next_at <= microseconds(self._clock()),
                ~waits_for_older,
            )
            .order_by(outbox.c.id)
            .limit(1)
        )
        with self._history.read() as connection:
            return connection.execute(query).one_or_none()

    def _attempt(self, row: Any) -> str:
        if row.kind == Kind.RESOLVED and self._firing_died(row):
            return self._give_up(row, "its alert was never delivered")
        channel = self._channels.get(row.channel)
        if channel is None:
            outcome = Outcome(Status.RETRY, f'there is no channel "{row.channel}" in featurestore.toml')
        else:
            outcome = channel.deliver(_message(row), now=self._clock())
        now = self._clock()
        if outcome.status is Status.DELIVERED:
            with self._history.write() as connection:
                connection.execute(
                    update(outbox)
                    .where(outbox.c.id == row.id)
                    .values(delivered_at=microseconds(now), attempts=row.attempts + 1, last_error="")
                )
            return "delivered"
        if outcome.status is Status.GONE:
            return self._give_up(row, outcome.reason, whole_channel=True)
        if row.attempts >= len(BACKOFF):
            return self._give_up(row, outcome.reason)
        wait = BACKOFF[row.attempts] * (1 + JITTER * self._chance.random())
        wait = max(wait, min(outcome.retry_after or 0.0, LONGEST_RETRY_AFTER))
        _log.warning(
            "delivery failed", channel=row.channel, key=row.key, reason=outcome.reason, retry_in=round(wait, 1)
        )
        with self._history.write() as connection:
            connection.execute(
                update(outbox)
                .where(outbox.c.id == row.id)
                .values(
                    attempts=row.attempts + 1,
                    next_at=microseconds(now + timedelta(seconds=wait)),
                    last_error=outcome.reason,
                )
            )
        return "delayed"

    def _firing_died(self, row: Any) -> bool:
        query = select(outbox.c.dead_at).where(
            outbox.c.incident == row.incident,
            outbox.c.episode == row.episode,
            outbox.c.channel == row.channel,
            outbox.c.kind == str(Kind.FIRING),
        )
        with self._history.read() as connection:
            return connection.execute(query).scalar() is not None

    def _give_up(self, row: Any, reason: str, *, whole_channel: bool = False) -> str:
        """Keep the message as a dead letter; with ``whole_channel`` all that wait for its channel."""
        _log.error("message is dead", channel=row.channel, key=row.key, reason=reason)
        which = outbox.c.id == row.id
        if whole_channel:
            which = (outbox.c.channel == row.channel) & outbox.c.delivered_at.is_(None) & outbox.c.dead_at.is_(None)
        with self._history.write() as connection:
            connection.execute(
                update(outbox).where(which).values(dead_at=microseconds(self._clock()), last_error=reason)
            )
        return "dead"


def _message(row: Any) -> Message:
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
    )


def _key(*parts: str) -> str:
    return "msg_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
