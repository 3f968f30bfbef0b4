"""Dead letters are sent again when somebody says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from featurestore.errors import MonitorError
from featurestore.types import microseconds
from monitor.alerts.outbox.entries import STATES, MessageState
from monitor.alerts.outbox.turns import enable
from monitor.schema import outbox


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What is sent again, by keys.

    Attributes:
        again: messages that wait for their channel again.
        overtaken: messages whose incident has gone on since, so that a newer one says, or has said, what there is.
        enabled: channels that had been disabled.
    """

    again: tuple[str, ...] = ()
    overtaken: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()


def replay_one(connection: Connection, key: str, *, now: datetime) -> Replayed:
    """Send one message again, under its key, whether it is dead, delivered or waits; its channel takes messages again.

    Args:
        connection: a transaction that writes.
        key: the message's, or the beginning of it that no other has.
        now: the wall clock.

    Raises:
        MonitorError: there is no such message, or a newer one says what has become of its incident.
    """
    rows = connection.execute(select(outbox).where(outbox.c.key.startswith(key, autoescape=True)).limit(2)).all()
    if len(rows) != 1:
        found = "several messages whose keys begin" if rows else "no message whose key begins"
        raise MonitorError(
            f'The outbox has {found} with "{key}".', hint="See the keys: featurestore monitor outbox list"
        )
    (row,) = rows
    newer = _newer(connection, row)
    if newer is not None:
        raise MonitorError(
            f"Message {row.key} is of the past: {newer.key} says what became of its incident, and is {newer.state}.",
            hint=f"Send that one again: featurestore monitor outbox replay {newer.key}",
        )
    if row.state == MessageState.OVERTAKEN:
        raise MonitorError(
            f"Message {row.key} has nothing to say: {row.last_error}.", hint="There is nothing to do: nobody was told."
        )
    _again(connection, row, now)
    return Replayed(again=(row.key,), enabled=_enabled(connection, {row.channel}))


def replay_dead(connection: Connection, *, channel: str = "", now: datetime) -> Replayed:
    """Send all dead messages again; their channels take messages again.

    Args:
        connection: a transaction that writes.
        channel: only those of one channel, which takes messages again even where it has no dead ones.
        now: the wall clock.
    """
    query = select(outbox).where(outbox.c.state == MessageState.DEAD).order_by(outbox.c.id)
    if channel:
        query = query.where(outbox.c.channel == channel)
    rows = connection.execute(query).all()
    again, overtaken = [], []
    for row in rows:
        newer = _newer(connection, row)
        # One that is dead itself is sent again by this very command; where one waits, their turn decides, which knows
        # what may have arrived.
        if newer is not None and newer.state not in (MessageState.DEAD, MessageState.PENDING):
            gone = {"state": str(MessageState.OVERTAKEN), "overtaken_by": newer.key}
            connection.execute(update(outbox).where(outbox.c.id == row.id).values(**gone))
            overtaken.append(row.key)
        else:
            _again(connection, row, now)
            again.append(row.key)
    channels = {channel} if channel else {row.channel for row in rows}
    return Replayed(again=tuple(again), overtaken=tuple(overtaken), enabled=_enabled(connection, channels))


def _newer(connection: Connection, row: Any) -> Any:
    """Return the newest message about a message's incident that was written after it, if there is one."""
    if not row.incident or row.kind not in STATES:
        return None
    query = (
        select(outbox.c.key, outbox.c.state)
        .where(
            outbox.c.incident == row.incident,
            outbox.c.channel == row.channel,
            outbox.c.kind.in_(STATES),
            outbox.c.id > row.id,
        )
        .order_by(outbox.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).one_or_none()


def _again(connection: Connection, row: Any, now: datetime) -> None:
    pending = {"state": str(MessageState.PENDING), "settled_at": None, "attempts": 0, "next_at": microseconds(now)}
    # What was delivered has arrived, whatever comes of it now.
    pending["doubtful"] = int(row.doubtful or row.state == MessageState.DELIVERED)
    connection.execute(update(outbox).where(outbox.c.id == row.id).values(**pending))


def _enabled(connection: Connection, channels: set[str]) -> tuple[str, ...]:
    return tuple(one for one in sorted(channels) if enable(connection, one))
