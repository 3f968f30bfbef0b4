"""Some far sides forget what they are not told again: Alertmanager keeps alerts in memory, and lets them expire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from monitor.alerts.base import Channel, Kind, Message
from monitor.alerts.outbox.entries import STATES, MessageState
from monitor.alerts.outbox.turns import message_of
from monitor.schema import outbox


class Refresher:
    """Knows which channels forget, and when each was last told all that is open there.

    It is kept in memory: a monitor that has just begun tells again, which is what a far side that restarted with it
    needs.

    Args:
        channels: by name; one that forgets has ``refresh_seconds``.
    """

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        found: dict[str, Any] = {name: getattr(one, "refresh_seconds", None) for name, one in channels.items()}
        self._every = {name: timedelta(seconds=seconds) for name, seconds in found.items() if seconds is not None}
        self._told: dict[str, datetime] = {}

    def due(self, now: datetime) -> list[str]:
        """Return the channels that are to be told again."""
        # One that seems to have been told in time to come was told by a clock that has been set back since.
        return [
            one
            for one, every in self._every.items()
            if one not in self._told or not timedelta(0) <= now - self._told[one] < every
        ]

    def told(self, channel: str, now: datetime) -> None:
        """Note that a channel was told again, or that this was tried."""
        self._told[channel] = now


def open_in(connection: Connection, channel: str) -> list[Message]:
    """Return the newest delivered message of each incident that a channel has heard of and that is not over there.

    Where its end was written, whatever became of that message, nothing is told again: the far side may have it already,
    and is to forget the rest.

    Args:
        connection: a transaction.
        channel: its name.
    """
    newest = (
        select(func.max(outbox.c.id))
        .where(
            outbox.c.channel == channel,
            outbox.c.kind.in_(STATES),
            outbox.c.incident != "",
            outbox.c.state == MessageState.DELIVERED,
        )
        .group_by(outbox.c.incident)
    )
    over = (
        select(outbox.c.incident)
        .where(outbox.c.channel == channel, outbox.c.kind == str(Kind.RESOLVED))
        .scalar_subquery()
    )
    query = select(outbox).where(outbox.c.id.in_(newest), outbox.c.incident.not_in(over)).order_by(outbox.c.id)
    return [message_of(connection, row) for row in connection.execute(query)]
