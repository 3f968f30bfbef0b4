"""Retraining signals in the monitor's database: where each stands, and every event of its life, in order.

Every function works in the caller's transaction. Nothing of the past is ever changed: an event is a line of its own,
with a cursor that grows, and events become visible in the order of their cursors.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, update

from featurestore.errors import MonitorError
from featurestore.types import microseconds
from monitor import schema
from monitor.history.upserting import add
from monitor.retraining.records import Cause, SignalEvent, StoredSignal, event_of, signal_of
from monitor.retraining.states import OF_RECEIVERS, SignalState, may_follow
from monitor.schema import signals

__all__ = [
    "ALL",
    "Cause",
    "SignalEvent",
    "StoredSignal",
    "acknowledge",
    "find_signal",
    "known",
    "latest_cursor",
    "list_signals",
    "move",
    "note",
    "record_cause",
    "refresh",
    "signal_events",
]

#: How much of an id names a signal.
LEAST_DIGITS = 6
#: Events that one signal may have; a reader of one wants them all.
ALL = 100_000


def record_cause(connection: Connection, cause: Cause, *, reason: str, now: datetime) -> bool:
    """Keep what asks for a new model, until it may go out; return False if it is known already.

    Args:
        connection: the transaction.
        cause: what asks for it.
        reason: why it waits.
        now: the wall clock.
    """
    values = {
        "id": cause.id,
        "policy": cause.policy,
        "policy_version": cause.policy_version,
        "service": cause.service,
        "slice": cause.slice,
        "cause": cause.cause,
        "subject": cause.subject,
        "attempt": cause.attempt,
        "baseline": cause.baseline,
        "model": cause.model,
        "incident": cause.incident,
        "asked_by": cause.asked_by,
        "approved_by": "",
        "state": str(SignalState.HELD),
        "held": reason,
        "payload": json.dumps(dict(cause.payload)),
        "created_at": microseconds(now),
        "sent_at": None,
        "expires_at": None,
        "decided_at": None,
    }
    if not add(connection, signals, values):
        return False
    _append(connection, find_signal(connection, cause.id), who=cause.asked_by, reason=reason, now=now)
    return True


def refresh(connection: Connection, signal: StoredSignal, payload: Mapping[str, Any]) -> None:
    """Replace the payload of a signal that waits by what is known by now; that is no event."""
    kept = dict(payload) | {"createdAt": signal.payload["createdAt"]}
    mine = (signals.c.id == signal.id) & (signals.c.state == str(SignalState.HELD))
    connection.execute(update(signals).where(mine).values(payload=json.dumps(kept)))


def move(
    connection: Connection,
    signal: StoredSignal,
    state: SignalState,
    *,
    who: str = "",
    reason: str,
    now: datetime,
    payload: Mapping[str, Any] | None = None,
    dataset: str = "",
    model: str = "",
    expires_at: datetime | None = None,
    approved_by: str = "",
) -> StoredSignal:
    """Bring a signal to another state, with an event that says so; return it as it is then.

    The row is changed only if it stands where the caller has seen it, so that of two who decide at once one does.

    Args:
        connection: the transaction.
        signal: as it was read in this transaction.
        state: where it goes; HELD again for another reason to wait.
        who: who did it; "" for the monitor.
        reason: why.
        now: the wall clock.
        payload: what replaces its payload, without the state.
        dataset: what was made of it.
        model: the same.
        expires_at: until when somebody may agree.
        approved_by: who has.

    Raises:
        MonitorError: it cannot go there from where it stands.
    """
    again = state is signal.state is SignalState.HELD
    if not again and not may_follow(signal.state, state):
        raise MonitorError(
            f"Retraining signal {signal.id[:12]} is {signal.state}, and cannot become {state}.",
            hint=f"See what became of it: featurestore monitor signal {signal.id[:12]}",
        )
    decided = signal.state is SignalState.PENDING
    shown = dict(signal.payload if payload is None else payload) | {"state": state.wire}
    values: dict[str, Any] = {
        "state": str(state),
        "held": reason if state is SignalState.HELD else "",
        "payload": json.dumps(shown),
        "approved_by": approved_by or signal.approved_by,
    }
    if state in (SignalState.PENDING, SignalState.APPROVED):
        values["sent_at"] = microseconds(now)
    if expires_at is not None:
        values["expires_at"] = microseconds(expires_at)
    if decided:
        values["decided_at"] = microseconds(now)
    mine = (signals.c.id == signal.id) & (signals.c.state == str(signal.state))
    if connection.execute(update(signals).where(mine).values(**values)).rowcount != 1:
        raise MonitorError(f"Retraining signal {signal.id[:12]} was decided by somebody else at this moment.")
    moved = find_signal(connection, signal.id)
    _append(connection, moved, who=who, reason=reason, now=now, dataset=dataset, model=model)
    return moved


def note(
    connection: Connection, reference: str, *, who: str, reason: str, now: datetime, dataset: str = "", model: str = ""
) -> int:
    """Add an event that changes no state, and return its cursor."""
    signal = find_signal(connection, reference)
    return _append(connection, signal, who=who, reason=reason, now=now, dataset=dataset, model=model)


def acknowledge(
    connection: Connection,
    reference: str,
    state: SignalState,
    *,
    who: str,
    reason: str = "",
    dataset: str = "",
    model: str = "",
    now: datetime,
) -> tuple[SignalState, int]:
    """Keep what a receiver says of a signal; saying the same twice is saying it once.

    Args:
        connection: the transaction.
        reference: the signal.
        state: ``ACCEPTED``, ``RUNNING``, ``DONE`` or ``FAILED``.
        who: who says it.
        reason: in a sentence.
        dataset: the new training data, ``delays@2``.
        model: the new model, ``ridge@2``.
        now: the wall clock.

    Returns:
        Where the signal stands, and the cursor of the event that says so.

    Raises:
        MonitorError: there is no such signal, it was never sent, or it cannot become that any more.
    """
    if state not in OF_RECEIVERS:
        raise MonitorError(
            f"A receiver cannot say that a signal is {state}.",
            hint=f"It says {', '.join(one.name for one in OF_RECEIVERS)}.",
        )
    signal = find_signal(connection, reference)
    said = [one for one in signal_events(connection, signal=signal.id, limit=ALL) if one.state is state]
    same = [
        one
        for one in said
        if all(not new or new == old for new, old in ((reason, one.reason), (dataset, one.dataset), (model, one.model)))
    ]
    if same and (signal.state is state or not may_follow(signal.state, state)):
        return signal.state, same[0].cursor  # said before, and perhaps overtaken since
    if signal.state is state:
        # The same state with more to say, as the dataset that was made meanwhile.
        cursor = _append(connection, signal, who=who, reason=reason, now=now, dataset=dataset, model=model)
        return signal.state, cursor
    moved = move(connection, signal, state, who=who, reason=reason, now=now, dataset=dataset, model=model)
    return moved.state, latest_cursor(connection)


def find_signal(connection: Connection, reference: str) -> StoredSignal:
    """Return a signal by its id, or by a beginning of it that no other one has.

    Raises:
        MonitorError: there is none, or several, or it is too short to tell.
    """
    given = reference.strip().lower()
    rows = connection.execute(select(signals).where(signals.c.id == given)).all()
    if not rows and len(given) >= LEAST_DIGITS:
        begins = func.substr(signals.c.id, 1, len(given)) == given
        rows = connection.execute(select(signals).where(begins).limit(2)).all()
    if len(rows) == 1:
        return signal_of(rows[0])
    if 0 < len(given) < LEAST_DIGITS:
        raise MonitorError(
            f'"{reference}" is too short to name a retraining signal.',
            hint=f"Give {LEAST_DIGITS} digits of its id at least: featurestore monitor signals",
        )
    what = "There is no retraining signal" if not rows else "There are several retraining signals"
    raise MonitorError(
        f'{what} "{reference}".',
        hint="List them: featurestore monitor signals" + ("" if not rows else "; and give more of its id."),
    )


def known(connection: Connection, ids: Collection[str]) -> list[StoredSignal]:
    """Return those of some ids that are there."""
    return [signal_of(row) for row in connection.execute(select(signals).where(signals.c.id.in_(list(ids))))]


def list_signals(
    connection: Connection,
    *,
    policy: str = "",
    services: Collection[str] = (),
    states: Collection[SignalState] = (),
    since: datetime | None = None,
    newest: int | None = None,
) -> list[StoredSignal]:
    """Return signals, the oldest first. They are kept for ever: name what bounds them where they are asked for often.

    Args:
        connection: the transaction.
        policy: only of this one.
        services: only of these, by name or version.
        states: only those that stand there.
        since: only those that went out, or were asked about, then or later.
        newest: at most so many, those whose causes were found last.
    """
    query = select(signals)
    if newest is not None:
        query = query.order_by(signals.c.created_at.desc(), signals.c.id.desc()).limit(newest)
    if policy:
        query = query.where(signals.c.policy == policy)
    if services:
        query = query.where(_is_of(signals.c.service, services))
    if states:
        query = query.where(signals.c.state.in_([str(one) for one in states]))
    if since is not None:
        query = query.where(signals.c.sent_at >= microseconds(since))
    # Sorted here: SQLite would rather read the whole table in this order than look up the few rows.
    return sorted(map(signal_of, connection.execute(query)), key=lambda one: (one.noted_at, one.id))


def signal_events(
    connection: Connection,
    *,
    after: int = 0,
    services: Collection[str] = (),
    signal: str = "",
    limit: int = 1000,
    every: bool = False,
) -> list[SignalEvent]:
    """Return events, ascending by cursor.

    Args:
        connection: the transaction.
        after: the cursor of the last one that was seen; 0 for all.
        services: only of signals of these, by name or version.
        signal: only of this one.
        limit: at most so many.
        every: also events that are nobody's business but ours: why a signal waits, and that its cause was gone.
    """
    table = schema.signal_events
    query = select(table).where(table.c.cursor > after).order_by(table.c.cursor).limit(limit)
    if signal:
        query = query.where(table.c.signal == signal)
    if services:
        query = query.where(_is_of(table.c.service, services))
    if not every:
        query = query.where(table.c.state.in_([str(one) for one in SignalState if one.told]))
    return [event_of(row) for row in connection.execute(query)]


def latest_cursor(connection: Connection) -> int:
    """Return the cursor of the newest event; 0 before the first."""
    return int(connection.execute(select(schema.signal_cursor.c.value)).scalar_one())


def _append(
    connection: Connection,
    signal: StoredSignal,
    *,
    who: str,
    reason: str,
    now: datetime,
    dataset: str = "",
    model: str = "",
) -> int:
    counter = schema.signal_cursor
    # The row is ours until the transaction ends: a later event waits, and becomes visible after this one.
    connection.execute(update(counter).values(value=counter.c.value + 1))
    cursor = latest_cursor(connection)
    connection.execute(
        insert(schema.signal_events).values(
            cursor=cursor,
            signal=signal.id,
            service=signal.service,
            state=str(signal.state),
            at=microseconds(now),
            who=who,
            reason=reason,
            dataset=dataset,
            model=model,
            payload=json.dumps(dict(signal.payload)),
        )
    )
    return cursor


def _is_of(column: Any, services: Collection[str]) -> ColumnElement[bool]:
    """Return what is true for the versions of some services, by name or version."""
    versions = [func.substr(column, 1, len(one) + 1) == f"{one}@" for one in services]
    return or_(column.in_(list(services)), *versions)
