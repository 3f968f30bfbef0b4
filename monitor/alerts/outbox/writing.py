"""Messages are written in the transaction that decides them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from featurestore.types import microseconds
from monitor.alerts.base import Kind
from monitor.alerts.outbox.entries import STATES, MessageState
from monitor.history.upserting import add
from monitor.schema import outbox

#: By severity: what goes first where several messages wait for one channel.
_URGENCY = {"page": 0, "ticket": 1}


def enqueue(
    connection: Connection,
    *,
    instance: str,
    channel: str,
    kind: Kind,
    project: str,
    service: str,
    incident: str,
    sequence: str,
    severity: str,
    payload: Mapping[str, Any],
    now: datetime,
    stands_in_for: str = "",
) -> bool:
    """Add a message for a channel, in the caller's transaction; return whether it was not there yet.

    Args:
        connection: the transaction that changes what the message tells of.
        instance: the database's name; keys of one database are not those of another.
        channel: its name in ``featurestore.toml``.
        kind: what the message says.
        project: the namespace.
        service: ``flight_delay@1``.
        incident: the incident's deduplication key, or the id of a signal or an action; messages of one go to a channel
            in the order in which they were written. "" for a message that is in no order with any other.
        sequence: tells messages of a kind of one incident apart: the same again is the same message, written once.
        severity: ``page``, ``ticket`` or ``info``.
        payload: see :class:`monitor.alerts.base.Message`.
        now: the wall clock.
        stands_in_for: the channel that did not take the message in time.
    """
    values = {
        "key": _key(instance, incident, sequence, kind, channel),
        "channel": channel,
        "kind": str(kind),
        "project": project,
        "service": service,
        "incident": incident,
        "sequence": sequence,
        "severity": severity,
        "urgency": _URGENCY.get(severity, len(_URGENCY)),
        "payload": json.dumps(payload),
        "created_at": microseconds(now),
        "state": str(MessageState.PENDING),
        "attempts": 0,
        "next_at": microseconds(now),
        "doubtful": 0,
        "last_error": "",
        "reference": "",
        "overtaken_by": "",
        "stands_in_for": stands_in_for,
    }
    return add(connection, outbox, values)


def told(connection: Connection, incident: str, *, kinds: Collection[str] = STATES) -> list[str]:
    """Return the channels that were told of an incident, or are going to be; the first one first.

    What comes of an incident later goes to these: where it was told, not where its policy routes by now. Whether there
    is anything to resolve at a channel is decided when its turn comes.

    Args:
        connection: a transaction.
        incident: its deduplication key, or the id of a signal.
        kinds: by which messages: of a signal those that say where it stands.
    """
    query = (
        select(outbox.c.channel)
        .where(outbox.c.incident == incident, outbox.c.kind.in_(kinds))
        .group_by(outbox.c.channel)
        .order_by(func.min(outbox.c.id))
    )
    return list(connection.execute(query).scalars())


def _key(*parts: str) -> str:
    return "msg_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
